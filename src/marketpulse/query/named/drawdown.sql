-- Drawdown
-- Each symbol's deepest fall from a highest close before it, in percent, and when.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- timeframe (text) = '1d': which bars
-- days (count) = 365: how many days back from `until`
-- limit (count) = 10: how many symbols
-- until (time) = max(open_time_ns): the end; unset: each symbol's newest bar
WITH peaks AS (
    SELECT symbol, open_time_ns, close,
           max(close) OVER (PARTITION BY symbol ORDER BY open_time_ns) AS peak
    FROM :rows
)
SELECT symbol,
       round(100 * min(close / peak - 1), 4) AS drawdown_percent,
       min_by(peak, close / peak) AS peak_close,
       min_by(close, close / peak) AS trough_close,
       from_unixtime_nanos(min_by(open_time_ns, close / peak)) AS trough_time
FROM peaks
GROUP BY symbol
ORDER BY min(close / peak), symbol
LIMIT :limit
