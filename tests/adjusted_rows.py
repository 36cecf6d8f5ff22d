"""Daily bars and corporate actions of Microsoft from 2003-02-13 on, as rows of the lake."""

import json
from typing import Any

DAY_NS = 86_400 * 10**9
FEB_13_NS = 12_096 * DAY_NS  # 2003-02-13
PUBLISHED = [(0, 46.99, 23.42), (1, 48.30, 24.07), (5, 24.96, 24.88), (6, 24.53, 24.53)]
"""Yahoo's example of its adjusted closes: days, Microsoft's close, the same adjusted. It split 2 for 1 on the 18th and
paid 0.08 for a share on the 19th."""


def bar(day: int, close: float, symbol: str = "MSFT", **other: Any) -> dict[str, Any]:
    at, prices = FEB_13_NS + day * DAY_NS, dict.fromkeys(("open", "high", "low", "close", "vwap"), close)
    head = {"symbol": symbol, "timeframe": "1d", "open_time_ns": at, "close_time_ns": at + DAY_NS, "source": "files"}
    return {**head, **prices, "volume": 100.0, "trade_count": 7, "revision": 0, **other}


def event(kind: str, day: int, value: float, offset: int = 0, symbol: str = "MSFT", **other: Any) -> dict[str, Any]:
    at = FEB_13_NS + day * DAY_NS
    place = {"topic": other.pop("topic", "market"), "partition": 0, "offset": offset, "row": 0}
    head = {"type": kind, "symbol": symbol, "source": other.pop("source", "files"), "event_time_ns": at, **place}
    return {**head, "body": json.dumps({"ratio" if kind == "split" else "amount": value, "ex_time_ns": at, **other})}
