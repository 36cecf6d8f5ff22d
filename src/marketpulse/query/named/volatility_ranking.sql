-- Volatility ranking
-- The symbols whose closes move most: the deviation of their logarithmic returns, per bar and per year, in percent.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- timeframe (text) = '1d': which bars
-- days (count) = 365: how many days back from `until`
-- bars_per_year (count) = 252: how many of these bars a year has
-- limit (count) = 10: how many symbols
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
WITH returns AS (
    SELECT symbol,
           ln(close / lag(close) OVER (PARTITION BY symbol ORDER BY open_time_ns)) AS log_return
    FROM :rows
)
SELECT symbol,
       round(100 * stddev_samp(log_return), 4) AS volatility_percent,
       round(100 * stddev_samp(log_return) * sqrt(:bars_per_year), 4) AS yearly_percent,
       count(log_return) AS returns
FROM returns
GROUP BY symbol
HAVING count(log_return) > 1
ORDER BY stddev_samp(log_return) DESC, symbol
LIMIT :limit
