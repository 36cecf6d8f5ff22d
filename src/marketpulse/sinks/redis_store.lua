-- One partition's rows, all or nothing. KEYS: the hash of offsets. ARGV: its field, what must stand there, what will
-- stand there, seconds until keys expire (0: never), the operations as JSON; all numbers are texts, so none loses a bit.
local place, expected, following, expire = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local have = redis.call('HGET', KEYS[1], place) or ''
if have == following then return 'stored' end
if have ~= expected then return 'elsewhere' end
-- A script that has written may go on beyond maxmemory, and the server lets it take things away when it is full. So it
-- begins with a write that is refused then, and changes nothing.
redis.call('HSET', KEYS[1], place, expected)

local PUBLISHED = 500 -- rows of one message: a slow subscriber has a bounded buffer
local published = {}
local channels = {}

local function publish(channel, row)
  local rows = published[channel]
  if not rows then
    rows = {}
    published[channel] = rows
    channels[#channels + 1] = channel
  end
  rows[#rows + 1] = row
end

local function touch(key)
  if expire ~= '0' then redis.call('EXPIRE', key, expire) end
end

-- Whether a whole number, as a text, is above another.
local function above(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local function put(key, gone, pairs)
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
  if #pairs > 0 then redis.call('HSET', key, unpack(pairs)) end
  touch(key)
end

-- Rows into a sorted set: each takes the place of what stands at its score.
local function merge(key, keep, shared, scores, rows, withdrawn)
  local top = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local newest = top[2] and tonumber(top[2])
  for i, score in ipairs(scores) do
    if newest and not shared and tonumber(score) <= newest then
      redis.call('ZREMRANGEBYSCORE', key, score, score)
    end
    if withdrawn[i] == '' then redis.call('ZADD', key, score, rows[i]) end
  end
  redis.call('ZREMRANGEBYRANK', key, 0, -keep - 1)
  touch(key)
end

local operations = {}

-- The newest row of a symbol by event time, then by its place in the log.
function operations.newest(key, channel, time, offset, row, text, gone, pairs)
  local held = redis.call('HMGET', key, 'event_time_ns', 'offset', 'row')
  if held[1] then
    local newer = above(time, held[1])
    if time == held[1] then
      newer = above(offset, held[2]) or (offset == held[2] and above(row, held[3]))
    end
    if not newer then return end
  end
  put(key, gone, pairs)
  publish(channel, text)
end

-- The newest rows of a series, and the very newest as a hash. `certain`: `pairs` are that, come what may.
function operations.series(key, latest, channel, keep, shared, scores, rows, withdrawn, certain, score, pairs)
  merge(key, tonumber(keep), shared == '1', scores, rows, withdrawn)
  local top = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  if certain == '1' or (top[2] and tonumber(top[2]) == tonumber(score)) then
    redis.call('DEL', latest)
    put(latest, {}, pairs)
  end
  touch(latest)
  for _, row in ipairs(rows) do publish(channel, row) end
end

-- An alert's changes; it is raised when its newest one says so.
function operations.alert(key, active, channel, field, keep, scores, rows, withdrawn)
  merge(key, tonumber(keep), false, scores, rows, withdrawn)
  local top = redis.call('ZREVRANGE', key, 0, 0)[1]
  if top and cjson.decode(top).state == 'raised' then
    redis.call('HSET', active, field, top)
  else
    redis.call('HDEL', active, field)
  end
  for _, row in ipairs(rows) do publish(channel, row) end
end

-- A symbol's place in the rankings of a day; an empty score: it has none.
function operations.rank(days, date, day, symbol, ...)
  local rankings = {...}
  local left = 0
  for i = 1, #rankings, 2 do
    if rankings[i + 1] == '' then
      redis.call('ZREM', rankings[i], symbol)
    else
      redis.call('ZADD', rankings[i], rankings[i + 1], symbol)
    end
    left = left + redis.call('EXISTS', rankings[i])
    touch(rankings[i])
  end
  if left > 0 then redis.call('ZADD', days, day, date) else redis.call('ZREM', days, date) end
end

operations.put = put

function operations.call(...) redis.call(...) end

function operations.publish(channel, row) publish(channel, row) end

for _, operation in ipairs(cjson.decode(ARGV[5])) do
  operations[operation[1]](unpack(operation, 2))
end
redis.call('HSET', KEYS[1], place, following)
for _, channel in ipairs(channels) do
  local rows = published[channel]
  for first = 1, #rows, PUBLISHED do
    redis.call('PUBLISH', channel, '[' .. table.concat(rows, ',', first, math.min(first + PUBLISHED - 1, #rows)) .. ']')
  end
end
return 'stored'
