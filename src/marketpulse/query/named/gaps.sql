-- Gaps
-- Bars that opened away from the close before them, the widest first, in percent.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- timeframe (text) = '1d': which bars
-- days (count) = 365: how many days back from `until`
-- percent (number) = 1: the least gap
-- limit (count) = 20: how many bars
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
WITH neighbours AS (
    SELECT symbol, open_time_ns, open,
           lag(close) OVER (PARTITION BY symbol ORDER BY open_time_ns) AS previous_close
    FROM :rows
)
SELECT symbol, from_unixtime_nanos(open_time_ns) AS open_time, previous_close, open,
       round(100 * (open / previous_close - 1), 4) AS gap_percent
FROM neighbours
WHERE abs(100 * (open / previous_close - 1)) >= :percent
ORDER BY abs(open / previous_close - 1) DESC, symbol, open_time_ns
LIMIT :limit
