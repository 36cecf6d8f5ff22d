-- Daily average
-- Each symbol's average and volume-weighted price, and its trades, by UTC day.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- days (count) = 30: how many days back from `until`
-- until (time) = max(event_time_ns): the end; unset: each symbol's newest trade
SELECT symbol,
       CAST(from_unixtime_nanos(event_time_ns) AS date) AS trading_day,
       round(avg(price), 6) AS average_price,
       round(sum(price * size) / nullif(sum(size), 0), 6) AS vwap,
       count(*) AS trades
FROM :rows
GROUP BY 1, 2
ORDER BY trading_day DESC, symbol
