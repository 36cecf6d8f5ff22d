"""Queries as people write them for Athena, each with the same question in DuckDB's words, over real rows.

The third says whether both must be equal; approximate functions need not be.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

TWINS: list[tuple[str, str, bool]] = [
    ("SELECT date_trunc('day', timestamp) AS d, count(*) AS n FROM stock_data GROUP BY 1 ORDER BY 1",
     "SELECT date_trunc('day', timestamp) AS d, count(*) AS n FROM stock_data GROUP BY d ORDER BY d", True),
    ("SELECT count(*) FROM stock_data WHERE timestamp >= date_parse('2020-12-16', '%Y-%m-%d')",
     "SELECT count(*) FROM stock_data WHERE timestamp >= TIMESTAMP '2020-12-16'", True),
    ("SELECT date_format(timestamp, '%Y-%m-%d %H:%i:%s') AS t, price FROM stock_data ORDER BY timestamp, symbol LIMIT 3",
     "SELECT strftime(timestamp, '%Y-%m-%d %H:%M:%S') AS t, price FROM stock_data ORDER BY timestamp, symbol LIMIT 3", True),
    ("SELECT symbol, approx_percentile(close, 0.5) AS median FROM bars WHERE timeframe = '1d' GROUP BY symbol ORDER BY 1",
     "SELECT symbol, quantile_cont(close, 0.5) AS median FROM bars WHERE timeframe = '1d' GROUP BY symbol ORDER BY 1", False),
    ("SELECT symbol, max_by(open_time_ns, high) AS top, min_by(open_time_ns, low) AS bottom FROM bars GROUP BY symbol ORDER BY 1",
     "SELECT symbol, arg_max(open_time_ns, high) AS top, arg_min(open_time_ns, low) AS bottom FROM bars GROUP BY ALL ORDER BY 1", True),
    ("SELECT from_unixtime(1608042600) AS t, to_unixtime(TIMESTAMP '2020-12-15 14:30:00') AS s",
     "SELECT to_timestamp(1608042600) AS t, epoch(TIMESTAMP '2020-12-15 14:30:00') AS s", True),
    (("SELECT CAST(volume AS bigint) AS v, CAST(revision AS varchar) AS c, CAST(revision AS double) / 2 AS r FROM bars "
     "WHERE timeframe = '1m' ORDER BY open_time_ns LIMIT 5"),
     ("SELECT volume::BIGINT AS v, revision::VARCHAR AS c, revision::DOUBLE / 2 AS r FROM bars WHERE timeframe = '1m' "
     "ORDER BY open_time_ns LIMIT 5"), True),
    ("SELECT count(*) FROM stock_data WHERE timestamp > date_add('day', -2, TIMESTAMP '2020-12-18 00:00:00')",
     "SELECT count(*) FROM stock_data WHERE timestamp > TIMESTAMP '2020-12-16'", True),
    (("SELECT date_add('day', -5, DATE '2024-05-06') AS a, DATE '2024-05-06' - INTERVAL '1' MONTH AS b, "
     "date_trunc('month', DATE '2024-05-06') AS c"),
     "SELECT DATE '2024-05-01' AS a, DATE '2024-04-06' AS b, DATE '2024-05-01' AS c", True),
    ("SELECT count(*) FROM stock_data WHERE timestamp > TIMESTAMP '2020-12-18 12:00:00' - INTERVAL '1' DAY",
     "SELECT count(*) FROM stock_data WHERE timestamp > TIMESTAMP '2020-12-17 12:00:00'", True),
    (("SELECT date_diff('day', TIMESTAMP '2024-01-01 23:00:00', TIMESTAMP '2024-01-02 01:00:00') AS none, "
     "date_diff('hour', TIMESTAMP '2024-01-01 23:00:00', TIMESTAMP '2024-01-02 01:30:00') AS two"),
     "SELECT 0::BIGINT AS none, 2::BIGINT AS two", True),
    (("SELECT t.level, t.n, b.symbol FROM (SELECT DISTINCT symbol FROM bars) AS b "
     "CROSS JOIN UNNEST(ARRAY[10, 20]) WITH ORDINALITY AS t(level, n) ORDER BY b.symbol, t.n"),
     "SELECT level, n, symbol FROM (SELECT DISTINCT symbol FROM bars), (VALUES (10, 1), (20, 2)) AS t(level, n) ORDER BY symbol, n", True),
    ("SELECT x FROM UNNEST(sequence(1, 5)) AS t(x) ORDER BY x", "SELECT x FROM range(1, 6) AS t(x) ORDER BY x", True),
    (("SELECT symbol, close, lag(close) OVER (PARTITION BY symbol ORDER BY open_time_ns) AS before, "
     "avg(close) OVER (PARTITION BY symbol ORDER BY open_time_ns ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) AS sma "
     "FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns OFFSET 700 LIMIT 100"),
     ("SELECT symbol, close, lag(close) OVER w AS before, avg(close) OVER (w ROWS 19 PRECEDING) AS sma FROM bars "
     "WHERE timeframe = '1d' WINDOW w AS (PARTITION BY symbol ORDER BY open_time_ns) ORDER BY symbol, open_time_ns LIMIT 100 OFFSET 700"), True),
    ("SELECT try_cast('12' AS integer) AS a, try_cast('x' AS integer) AS b, try(1 / (revision - revision)) AS c FROM bars LIMIT 1",
     "SELECT 12 AS a, NULL::INTEGER AS b, NULL::INTEGER AS c", True),
    ("SELECT hour(timestamp AT TIME ZONE 'America/New_York') AS h, count(*) AS n FROM stock_data GROUP BY 1 ORDER BY 1",
     "SELECT hour(timezone('America/New_York', timestamp::TIMESTAMPTZ)) AS h, count(*) AS n FROM stock_data GROUP BY h ORDER BY h", True),
    ("SELECT minute(at_timezone(from_unixtime_nanos(event_time_ns), 'Asia/Kolkata')) AS m, count(*) AS n FROM trades GROUP BY 1 ORDER BY 1",
     "SELECT minute(make_timestamp(event_time_ns // 1000) + INTERVAL '5 hours 30 minutes') AS m, count(*) AS n FROM trades GROUP BY m ORDER BY m", True),
    ("SELECT array_agg(close ORDER BY open_time_ns) AS closes FROM bars WHERE symbol = 'KO' AND open_time_ns < 1326000000000000000",
     "SELECT list(close ORDER BY open_time_ns) AS closes FROM bars WHERE symbol = 'KO' AND open_time_ns < 1326000000000000000", True),
    ("SELECT symbol FROM bars WHERE regexp_like(symbol, '^[AI].*') GROUP BY symbol ORDER BY symbol",
     "SELECT DISTINCT symbol FROM bars WHERE regexp_matches(symbol, '^[AI].*') ORDER BY symbol", True),
    ("SELECT regexp_extract(symbol, '^(A+)', 1) AS a, regexp_replace(symbol, 'A', '-') AS b FROM bars GROUP BY symbol ORDER BY symbol",
     "SELECT nullif(regexp_extract(symbol, '^(A+)', 1), '') AS a, replace(symbol, 'A', '-') AS b FROM bars GROUP BY symbol ORDER BY symbol", True),
    (("SELECT element_at(ARRAY['x', 'y'], 2) AS a, element_at(MAP(ARRAY['k'], ARRAY[7]), 'k') AS b, "
     "element_at(MAP(ARRAY['k'], ARRAY[7]), 'z') AS c"), "SELECT 'y' AS a, 7 AS b, NULL::INTEGER AS c", True),
    ("SELECT 7 / 2 AS a, -7 / 2 AS b, 7 / 2.0E0 AS c, 7 % 2 AS d, revision / 2 AS e FROM bars LIMIT 1",
     "SELECT 3 AS a, -3 AS b, 3.5::DOUBLE AS c, 1 AS d, 0::BIGINT AS e", True),
    ("SELECT cardinality(array_agg(DISTINCT symbol)) AS n, array_join(array_agg(DISTINCT symbol ORDER BY symbol), '-') AS s FROM bars",
     "SELECT count(DISTINCT symbol) AS n, string_agg(DISTINCT symbol, '-' ORDER BY symbol) AS s FROM bars", True),
    (("SELECT day_of_week(open_time) AS d, extract(DOW FROM open_time) AS e, count_if(close > open) AS up, "
     "sum(volume) FILTER (WHERE close > open) AS v FROM bars WHERE timeframe = '1d' GROUP BY 1, 2 ORDER BY 1"),
     ("SELECT isodow(open_time) AS d, isodow(open_time) AS e, count(*) FILTER (close > open) AS up, "
     "sum(volume) FILTER (close > open) AS v FROM bars WHERE timeframe = '1d' GROUP BY d ORDER BY d"), True),
    (("SELECT slice(ARRAY[1, 2, 3, 4], 2, 2) AS a, contains(ARRAY[1, 2], 2) AS b, reduce(ARRAY[1, 2, 3], 0, (s, x) -> s + x, s -> s) AS c, "
     "transform(ARRAY[1, 2], x -> x * 2) AS d, filter(ARRAY[1, 2, 3], x -> x > 1) AS e"),
     "SELECT [2, 3] AS a, true AS b, 6 AS c, [2, 4] AS d, [2, 3] AS e", True),
    ("SELECT symbol, stddev(close) AS s, corr(close, volume) AS c, variance(close) AS v FROM bars WHERE timeframe = '1d' GROUP BY symbol ORDER BY 1",
     "SELECT symbol, stddev_samp(close) AS s, corr(close, volume) AS c, var_samp(close) AS v FROM bars WHERE timeframe = '1d' GROUP BY symbol ORDER BY 1", True),
    ("SELECT width_bucket(close, 0, 100, 4) AS b, count(*) AS n FROM bars WHERE timeframe = '1d' GROUP BY 1 ORDER BY 1",
     "SELECT CASE WHEN close >= 100 THEN 5 ELSE floor(close / 25)::BIGINT + 1 END AS b, count(*) AS n FROM bars WHERE timeframe = '1d' GROUP BY b ORDER BY b", True),
    (("SELECT format('%.2f', close) AS f, strpos(symbol, 'P') AS p, substr(symbol, 2) AS s, lpad(symbol, 6, '.') AS l, split('a,b', ',') AS x "
     "FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns LIMIT 2"),
     ("SELECT printf('%.2f', close) AS f, instr(symbol, 'P') AS p, symbol[2:] AS s, lpad(symbol, 6, '.') AS l, string_split('a,b', ',') AS x "
     "FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns LIMIT 2"), True),
    (("SELECT json_extract_scalar('{\"a\": {\"b\": 3}}', '$.a.b') AS j, coalesce(vwap, close) AS c, if(close > 1, 'x', 'y') AS i, "
     "greatest(close, vwap) AS g FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns LIMIT 1"),
     "SELECT '3' AS j, close AS c, 'x' AS i, NULL::DOUBLE AS g FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns LIMIT 1", True),
    (("SELECT timeframe, symbol, count(*) AS n FROM bars GROUP BY GROUPING SETS ((timeframe, symbol), (timeframe), ()) "
     "ORDER BY timeframe, symbol"),
     "SELECT timeframe, symbol, count(*) AS n FROM bars GROUP BY ROLLUP (timeframe, symbol) ORDER BY timeframe, symbol", True),
]  # fmt: skip

FROM_DUCKDB: list[tuple[str, bool]] = [
    (("SELECT symbol, date(timestamp) AS trading_day, ROUND(AVG(price), 2) AS avg_daily_price FROM stock_data "
     "GROUP BY symbol, trading_day ORDER BY trading_day DESC, symbol"), True),
    ("SELECT symbol, count(*) AS n, n * 2 AS twice FROM bars GROUP BY ALL ORDER BY ALL", True),
    ("SELECT symbol, avg(close) AS a FROM bars GROUP BY symbol HAVING a > 50 ORDER BY a DESC", True),
    ("SELECT close * 2 AS c FROM bars WHERE c > 1100 AND symbol = 'AAPL' ORDER BY c", True),
    (("SELECT time_bucket(INTERVAL 1 HOUR, timestamp) AS hour, arg_min(price, event_time_ns) AS open, max(price) AS high, "
     "arg_max(price, event_time_ns) AS close, sum(size) AS volume FROM trades GROUP BY ALL ORDER BY hour"), True),
    ("SELECT * FROM stock_data QUALIFY row_number() OVER (PARTITION BY date(timestamp) ORDER BY timestamp DESC, symbol) = 1 ORDER BY timestamp", True),
    (("SELECT symbol, close, row_number() OVER (PARTITION BY symbol ORDER BY close DESC) AS place FROM bars "
     "QUALIFY place <= 3 AND close > 1 ORDER BY symbol, place LIMIT 8"), True),
    ("SELECT symbol, median(close) AS m, quantile_cont(close, 0.9) AS q FROM bars GROUP BY ALL ORDER BY symbol", False),
    (("SELECT dayofweek(open_time) AS d, isodow(open_time) AS i, date_part('month', open_time) AS m, epoch(open_time) AS e, "
     "epoch_ns(open_time) AS n FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns LIMIT 9"), True),
    (("SELECT open_time_ns // 1000000000 AS s, revision / 2 AS r, 7 / 2 AS x, make_timestamp(open_time_ns // 1000) AS t "
     "FROM bars ORDER BY symbol, open_time_ns LIMIT 5"), True),
    (("SELECT date_diff('day', open_time, TIMESTAMP '2012-01-10 01:00:00') AS d, open_time + INTERVAL 1 DAY AS t "
     "FROM bars WHERE timeframe = '1d' ORDER BY symbol, open_time_ns LIMIT 5"), True),
    ("FROM stock_data ORDER BY timestamp, symbol LIMIT 3", True),
    ("WITH d AS (SELECT symbol AS s, sum(volume) AS v FROM bars GROUP BY s) SELECT s, v, v / sum(v) OVER () AS share FROM d ORDER BY s", True),
    (("SELECT string_agg(symbol, ',' ORDER BY symbol) AS names, list(n ORDER BY symbol) AS counts FROM "
     "(SELECT symbol, count(*) AS n FROM bars GROUP BY ALL)"), True),
    ("SELECT symbol, list_transform([1, 2], lambda x: x + 1) AS l, symbol ILIKE 'a%' AS i, count() AS c FROM bars GROUP BY ALL ORDER BY 1", True),
]  # fmt: skip


DAY = timedelta(days=1)
MONDAY = datetime(2024, 5, 6, 10, tzinfo=UTC)
PRICES = [(MONDAY, 10.0, 1.0), (MONDAY + DAY / 24, 12.0, 3.0), (MONDAY + DAY, 11.0, 2.0), (MONDAY + 2 * DAY, 22.0, 4.0)]
"""(time, price, volume)"""
SYMBOLS = ("BARS", "TRADES")

_DAILY = """WITH daily AS (
    SELECT symbol, date_trunc('day', timestamp) AS trading_day, AVG(price) AS price
    FROM stock_data GROUP BY symbol, date_trunc('day', timestamp)
), changes AS (
    SELECT symbol, trading_day, price, LAG(price) OVER (PARTITION BY symbol ORDER BY trading_day) AS previous FROM daily
)
SELECT symbol, ROUND(100 * (price - previous) / previous, 2) AS change_percent
FROM changes WHERE previous IS NOT NULL ORDER BY symbol, change_percent DESC"""

QUERIES: dict[str, tuple[str, list[float]]] = {
    "average": ("SELECT symbol, AVG(price) AS average FROM stock_data GROUP BY symbol ORDER BY symbol", [13.75]),
    "latest": (
        ("SELECT symbol, price FROM (SELECT symbol, price, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY timestamp DESC) AS age "
        "FROM stock_data) AS numbered WHERE age = 1 ORDER BY symbol"), [22],
    ),
    "moving average": (
        ("SELECT symbol, AVG(price) OVER (PARTITION BY symbol ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS sma "
        "FROM stock_data ORDER BY symbol, timestamp"), [10, 11, 11.5, 16.5],
    ),
    "daily volume": (
        ("SELECT symbol, SUM(volume) AS volume FROM stock_data GROUP BY symbol, date_trunc('day', timestamp) "
        "ORDER BY symbol, date_trunc('day', timestamp)"), [4, 2, 4],
    ),
    "top movers": (_DAILY, [100, 0]),
}  # fmt: skip
"""By name: the query, and what it gives for each of the symbols. Days average 11, 11 and 22."""


def answer(name: str) -> list[tuple[str, float]]:
    return [(symbol, value) for symbol in SYMBOLS for value in QUERIES[name][1]]


def trades() -> list[dict[str, Any]]:
    return [{"symbol": "TRADES", "event_time_ns": ns(at), "price": price, "size": size} for at, price, size in PRICES]


def bars(symbol: str = "BARS", timeframe: str = "1m", minutes: int = 1, **more: Any) -> list[dict[str, Any]]:
    """The same prices as closes."""
    return [
        {
            "symbol": symbol, "timeframe": timeframe, "open_time_ns": ns(at), "close_time_ns": ns(at + minutes * DAY / 1440),
            "open": 1.0, "high": 99.0, "low": 1.0, "close": price, "volume": volume, "revision": 0, **more,
        }
        for at, price, volume in PRICES
    ]  # fmt: skip


def ns(time: datetime) -> int:
    return round(time.timestamp()) * 10**9
