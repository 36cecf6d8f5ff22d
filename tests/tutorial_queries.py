"""The queries of tutorials over `stock_data`, as they stand, for the lake, PostgreSQL and Athena, and what they give.

One symbol trades, another comes as bars; both have the same prices at the same times, so each has the same answer.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

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
