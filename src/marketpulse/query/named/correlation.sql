-- Correlation
-- How alike two symbols move: the correlation of their logarithmic returns over bars that both have.
-- symbol (pattern) = '%': the first of each pair: a symbol, or a pattern of LIKE
-- other (pattern) = '%': the second of each pair
-- timeframe (text) = '1d': which bars
-- days (count) = 365: how many days back from `until`
-- limit (count) = 50: how many pairs
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
WITH returns AS (
    SELECT symbol, open_time_ns,
           ln(close / lag(close) OVER (PARTITION BY symbol ORDER BY open_time_ns)) AS log_return
    FROM :rows
)
SELECT a.symbol AS symbol, b.symbol AS other_symbol, round(corr(a.log_return, b.log_return), 6) AS correlation,
       count(*) AS returns
FROM returns AS a
JOIN returns AS b ON a.open_time_ns = b.open_time_ns
WHERE a.log_return IS NOT NULL AND b.log_return IS NOT NULL
  AND ((a.symbol < b.symbol AND a.symbol LIKE :symbol AND b.symbol LIKE :other)
    OR (a.symbol > b.symbol AND a.symbol LIKE :symbol AND b.symbol LIKE :other
        AND NOT (b.symbol LIKE :symbol AND a.symbol LIKE :other)))
GROUP BY a.symbol, b.symbol
HAVING count(*) > 2
ORDER BY abs(corr(a.log_return, b.log_return)) DESC, a.symbol, b.symbol
LIMIT :limit
