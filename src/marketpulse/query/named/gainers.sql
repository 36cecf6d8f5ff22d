-- Gainers
-- The symbols that rose most, from the first close of the days to the last, in percent.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- timeframe (text) = '1d': which bars
-- days (count) = 30: how many days back from `until`
-- limit (count) = 10: how many symbols
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
WITH ends AS (
    SELECT symbol,
           min_by(close, open_time_ns) AS first_close,
           max_by(close, open_time_ns) AS last_close,
           count(*) AS bars
    FROM :rows
    GROUP BY symbol
)
SELECT symbol, first_close, last_close, round(100 * (last_close / first_close - 1), 4) AS change_percent, bars
FROM ends
WHERE last_close > first_close
ORDER BY last_close / first_close DESC, symbol
LIMIT :limit
