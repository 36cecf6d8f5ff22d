-- Intraday seasonality
-- What a day looks like on average: volume, range and absolute return of the bars, by time of day.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- timeframe (text) = '1m': which bars
-- minutes (count) = 30: the length of a slot of the day
-- zone (text) = 'UTC': the clock, such as 'America/New_York'
-- days (count) = 30: how many days back from `until`
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
WITH clocked AS (
    SELECT symbol, volume, open, high, low, close,
           at_timezone(from_unixtime_nanos(open_time_ns), :zone) AS local_time
    FROM :rows
), slots AS (
    SELECT symbol, volume, open, high, low, close,
           (hour(local_time) * 60 + minute(local_time)) / :minutes * :minutes AS minute_of_day
    FROM clocked
)
SELECT symbol,
       lpad(CAST(minute_of_day / 60 AS varchar), 2, '0') || ':' || lpad(CAST(minute_of_day % 60 AS varchar), 2, '0')
           AS time_of_day,
       round(avg(volume), 4) AS average_volume,
       round(100 * avg((high - low) / open), 4) AS average_range_percent,
       round(100 * avg(abs(close / open - 1)), 4) AS average_move_percent,
       count(*) AS bars
FROM slots
GROUP BY symbol, minute_of_day
ORDER BY symbol, minute_of_day
