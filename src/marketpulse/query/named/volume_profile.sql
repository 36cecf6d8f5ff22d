-- Volume profile
-- How much was traded at which price: each symbol's range of prices in equal levels.
-- symbol (pattern) = '%': a symbol, or a pattern of LIKE such as 'A%'
-- levels (count) = 20: how many levels between the lowest and the highest price
-- days (count) = 1: how many days back from `until`
-- until (time) = max(event_time_ns): the end; unset: each symbol's newest trade
WITH prices AS (
    SELECT symbol, price, sum(size) AS volume, count(*) AS trades
    FROM :rows
    GROUP BY symbol, price
), ranges AS (
    SELECT symbol, min(price) AS lowest, (max(price) - min(price)) / :levels AS step
    FROM prices
    GROUP BY symbol
), levels AS (
    SELECT p.symbol, r.lowest, r.step, p.volume, p.trades,
           CASE WHEN r.step > 0
                THEN least(CAST(floor((p.price - r.lowest) / r.step) AS bigint), :levels - 1) ELSE 0 END AS level
    FROM prices AS p
    JOIN ranges AS r ON p.symbol = r.symbol
)
SELECT symbol, level + 1 AS level,
       round(lowest + level * step, 6) AS from_price, round(lowest + (level + 1) * step, 6) AS to_price,
       sum(volume) AS volume, CAST(sum(trades) AS bigint) AS trades
FROM levels
GROUP BY symbol, level, lowest, step
ORDER BY symbol, level
