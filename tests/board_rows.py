"""Rows of the output topics, as a LiveFeed hands them over."""

from typing import Any

import pyarrow as pa

from marketpulse.model.rows import ALERT, BAR, LIVE_NAME, indicators_schema, live_schema
from marketpulse.ports import FeedBatch

SECOND_NS = 10**9
LENGTH_S = {"1s": 1, "1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400, "1t": 0}


def row(symbol: str, timeframe: str, open_s: int, close: float, **other: Any) -> dict[str, Any]:
    """A bar that trades between close - 1 and close + 1, in the session of its UTC day."""
    return {
        "symbol": symbol, "timeframe": timeframe, "open_time_ns": open_s * SECOND_NS,
        "close_time_ns": (open_s + LENGTH_S[timeframe]) * SECOND_NS, "open": close, "high": close + 1,
        "low": close - 1, "close": close, "volume": 10.0, "vwap": close, "trade_count": 2, "revision": 0,
        "source": "replay", "venue": None, "session_date": open_s // 86_400,
        "receipt": {
            "topic": "market", "partition": 0, "first_offset": open_s, "first_row": 0, "last_offset": open_s,
            "last_row": 0, "late_count": 0, "engine_version": "1",
        },
    } | other  # fmt: skip


def minute(number: int, close: float, symbol: str = "AAPL", **other: Any) -> dict[str, Any]:
    return row(symbol, "1m", 60 * number, close, **other)


def bars(*rows: dict[str, Any]) -> FeedBatch:
    return FeedBatch("bars", pa.RecordBatch.from_pylist(list(rows), BAR), 1_000)


def indicators(names: list[str], *rows: dict[str, Any]) -> FeedBatch:
    return FeedBatch("indicators", pa.RecordBatch.from_pylist(list(rows), indicators_schema(names)), 1_000)


def live(names: list[str], *rows: dict[str, Any]) -> FeedBatch:
    """Forming bars; a row's own indicators go by their names in `live`."""
    filled = [
        {"event_time_ns": r["open_time_ns"] + 1, "ingest_time_ns": 0}
        | {LIVE_NAME.get(key, key) if key in names and key != "vwap" else key: value for key, value in r.items()}
        for r in rows
    ]
    return FeedBatch("live", pa.RecordBatch.from_pylist(filled, live_schema(names)), 2_000)


def alert(second: int, state: str, symbol: str = "A", rule: str = "high", **more: Any) -> dict[str, Any]:
    """A row of ALERT, `second` seconds after the epoch."""
    time_ns = second * 10**9
    return {
        "symbol": symbol, "rule": rule, "severity": "warning", "timeframe": "1s", "open_time_ns": time_ns - 10**9,
        "event_time_ns": time_ns, "state": state, "was": None, "late": False, "value": 1.5,
        "message": f"{symbol}: {rule} is {state} at 1.5", "revision": 0,
        "receipt": {
            "topic": "market", "partition": 0, "first_offset": second, "first_row": 0, "last_offset": second, "last_row": 0,
            "late_count": 0, "engine_version": "3",
        },
    } | more  # fmt: skip


def alerts(*rows: dict[str, Any]) -> FeedBatch:
    return FeedBatch("alerts", pa.RecordBatch.from_pylist(list(rows), ALERT), 1_000)
