-- Most active
-- The symbols that were traded most, by value: volume times the volume-weighted price of each bar.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- timeframe (text) = '1d': which bars
-- days (count) = 30: how many days back from `until`
-- limit (count) = 10: how many symbols
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
SELECT symbol, round(sum(volume * coalesce(vwap, close)), 2) AS traded_value, sum(volume) AS volume, count(*) AS bars
FROM :rows
GROUP BY symbol
ORDER BY traded_value DESC, symbol
LIMIT :limit
