"""The views for people and their tools, as SQL. `{s}` is our schema, quoted."""

from marketpulse.model.timeframe import SECONDS_SQL

# The newest row of each series is found by its index, series by series, however many rows there are.
LATEST_BARS = """
CREATE OR REPLACE VIEW {s}.latest_bars AS
WITH RECURSIVE series AS (
    (SELECT symbol, timeframe FROM {s}.bars ORDER BY symbol, timeframe LIMIT 1)
    UNION ALL
    SELECT following.symbol, following.timeframe FROM series, LATERAL (
        SELECT b.symbol, b.timeframe FROM {s}.bars b
        WHERE (b.symbol, b.timeframe) > (series.symbol, series.timeframe) ORDER BY b.symbol, b.timeframe LIMIT 1
    ) following
)
SELECT newest.* FROM series, LATERAL (
    SELECT b.symbol, b.timeframe, b.open_time, b.close_time, b.open, b.high, b.low, b.close, b.volume, b.vwap,
           b.trade_count, b.revision, b.source, b.venue, b.session_date
    FROM {s}.bars b WHERE b.symbol = series.symbol AND b.timeframe = series.timeframe
    ORDER BY b.open_time DESC, b.tick DESC LIMIT 1
) newest"""

LATEST_PRICE = """
CREATE OR REPLACE VIEW {s}.latest_price AS
WITH RECURSIVE traded AS (
    (SELECT symbol FROM {s}.trades ORDER BY symbol LIMIT 1)
    UNION ALL
    SELECT following.symbol FROM traded, LATERAL (
        SELECT t.symbol FROM {s}.trades t WHERE t.symbol > traded.symbol ORDER BY t.symbol LIMIT 1
    ) following
)
SELECT traded.symbol, newest."timestamp", newest.price, newest.size, 'trade' AS seen_in FROM traded, LATERAL (
    SELECT t."timestamp", t.price, t.size FROM {s}.trades t WHERE t.symbol = traded.symbol
    ORDER BY t."timestamp" DESC, t.event_time_ns DESC, t."partition" DESC, t."offset" DESC, t."row" DESC LIMIT 1
) newest
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (symbol) symbol, close_time, close, NULL::double precision, 'bar' FROM {s}.latest_bars b
    WHERE NOT EXISTS (SELECT FROM {s}.trades t WHERE t.symbol = b.symbol) ORDER BY symbol, close_time DESC
) only_bars"""

# A day that has not closed yet is put together from its minutes.
DAILY_SUMMARY = """
CREATE OR REPLACE VIEW {s}.daily_summary AS
WITH days AS (
    SELECT symbol, coalesce(session_date, (open_time AT TIME ZONE 'UTC')::date) AS date, open, high, low, close,
           volume, vwap, trade_count::numeric AS trade_count, true AS closed
    FROM {s}.bars WHERE timeframe = '1d'
    UNION ALL
    SELECT minutes.symbol, today.* FROM {s}.latest_bars minutes
    LEFT JOIN {s}.latest_bars day ON day.symbol = minutes.symbol AND day.timeframe = '1d'
    CROSS JOIN LATERAL (
        SELECT coalesce(m.session_date, (m.open_time AT TIME ZONE 'UTC')::date) AS date,
               (array_agg(m.open ORDER BY m.open_time))[1], max(m.high), min(m.low),
               (array_agg(m.close ORDER BY m.open_time DESC))[1], sum(m.volume),
               sum(m.vwap * m.volume) / nullif(sum(m.volume) FILTER (WHERE m.vwap IS NOT NULL), 0),
               sum(m.trade_count), false
        FROM {s}.bars m
        WHERE m.symbol = minutes.symbol AND m.timeframe = '1m' AND m.open_time >= coalesce(day.close_time, '-infinity')
        GROUP BY 1
    ) today
    WHERE minutes.timeframe = '1m'
), compared AS (
    SELECT *, lag(close) OVER (PARTITION BY symbol ORDER BY date) AS previous_close FROM days
)
SELECT symbol, date, open, high, low, close, volume, vwap, trade_count, closed, previous_close,
       close - previous_close AS change, 100 * (close / nullif(previous_close, 0) - 1) AS change_percent
FROM compared"""

# Every symbol has a place, however old its newest day is: the column `date` says which day that was.
GAINERS_LOSERS = """
CREATE OR REPLACE VIEW {s}.gainers_losers AS
WITH newest AS (
    SELECT DISTINCT ON (symbol) symbol, date, previous_close, close, change, change_percent, volume
    FROM {s}.daily_summary ORDER BY symbol, date DESC
)
SELECT rank() OVER (ORDER BY change_percent DESC) AS rank, symbol, date, previous_close, close, change, change_percent,
       volume, CASE WHEN change > 0 THEN 'gainer' WHEN change < 0 THEN 'loser' ELSE 'unchanged' END AS direction
FROM newest WHERE change_percent IS NOT NULL ORDER BY rank, symbol"""

GAINERS = """
CREATE OR REPLACE VIEW {s}.gainers AS
SELECT symbol, date, previous_close, close, change, change_percent, volume FROM {s}.gainers_losers
WHERE direction = 'gainer' ORDER BY change_percent DESC, symbol"""

LOSERS = """
CREATE OR REPLACE VIEW {s}.losers AS
SELECT symbol, date, previous_close, close, change, change_percent, volume FROM {s}.gainers_losers
WHERE direction = 'loser' ORDER BY change_percent, symbol"""

VOLATILITY = """
CREATE OR REPLACE VIEW {s}.volatility AS
WITH returns AS (
    SELECT symbol, date, ln(close / previous_close) AS log_return,
           row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
    FROM {s}.daily_summary WHERE closed AND close > 0 AND previous_close > 0
)
SELECT symbol, max(date) AS date, count(*) AS sessions, stddev_samp(log_return) AS daily_volatility,
       stddev_samp(log_return) * sqrt(252) AS annual_volatility
FROM returns WHERE age <= 20 GROUP BY symbol"""

# The sink adds a row here in the transaction that stores the first bar of a series. Without the list a query for one symbol
# would walk through all series of `bars` to learn which there are.
BAR_SERIES = """
CREATE TABLE IF NOT EXISTS {s}.bar_series (
    symbol text COLLATE "C", timeframe text COLLATE "C", PRIMARY KEY (symbol, timeframe)
)"""
STORED_SERIES = "INSERT INTO {s}.bar_series SELECT symbol, timeframe FROM {s}.latest_bars ON CONFLICT DO NOTHING"

# The scalar subqueries are evaluated once for each series that is asked for, by an index. As EXISTS they would become joins,
# for which the server may read all trades.
STOCK_DATA = f"""
CREATE OR REPLACE VIEW {{s}}.stock_data AS
SELECT symbol, "timestamp", price::numeric AS price, size AS volume, 'trade' AS kind FROM {{s}}.trades
UNION ALL
SELECT b.symbol, b.open_time, b.close::numeric, b.volume, 'bar'
FROM {{s}}.bar_series series JOIN {{s}}.bars b ON b.symbol = series.symbol AND b.timeframe = series.timeframe
WHERE (SELECT true FROM {{s}}.trades t WHERE t.symbol = series.symbol LIMIT 1) IS NULL
  AND series.timeframe = (
    SELECT timeframe FROM {{s}}.bar_series other WHERE other.symbol = series.symbol
      AND (SELECT true FROM {{s}}.bars o WHERE o.symbol = other.symbol AND o.timeframe = other.timeframe LIMIT 1)
    ORDER BY {SECONDS_SQL} LIMIT 1)"""

VIEWS = {
    "latest_bars": LATEST_BARS,
    "latest_price": LATEST_PRICE,
    "daily_summary": DAILY_SUMMARY,
    "volatility": VOLATILITY,
}
"""Of the schema's first version: by name, in the order in which they need each other."""

THIRD_VERSION = (BAR_SERIES, STORED_SERIES, STOCK_DATA, GAINERS_LOSERS, GAINERS, LOSERS)
"""Statements that can be repeated, in their order. They replace the views of earlier versions."""
