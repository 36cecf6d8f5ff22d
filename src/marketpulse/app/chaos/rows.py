"""Rows by seed: trades and quotes of a few symbols, some late, some twice, some without an id; and alert rules over them."""

import random
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
FIRST_NS = 1_767_571_200_000_000_000  # 2026-01-05
STEP_NS = 50_000_000
TIMEFRAMES, INDICATORS = ("10s", "1m"), "sma(3),ema(5),vwap,spread"
ALERTS: tuple[dict[str, Any], ...] = (
    {"name": "above", "expression": "close > sma_3", "timeframe": "10s"},
    {"name": "wide", "expression": "high - low > 6", "timeframe": "1m", "severity": "critical"},
)
_LATE_S = (3.0, 60.0)  # far within the correction window
_END_S = 130.0  # behind the last row, a trade of each symbol: what lay before it has closed


def draw_rows(seed: int, count: int, symbols: Sequence[str], quotes: bool) -> list[Row]:
    """So many rows in the order in which they come, and at the end a trade of each symbol."""
    draw = random.Random(f"{seed}/{symbols[0]}")
    rows: list[Row] = []
    for i in range(count):
        behind_s = draw.uniform(*_LATE_S) if draw.random() < 0.05 else draw.random()
        named = {
            "symbol": draw.choice(symbols),
            # Each row has a time of its own: of two rows of one instant the order is that of their coming.
            "event_time_ns": FIRST_NS + i * STEP_NS - int(behind_s * 1e7) * 100 + len(rows) % 97,
        }
        price = round(50 + draw.random() * 10, 2)
        if quotes and draw.random() < 0.3:
            sizes = {"bid_size": float(draw.randrange(9)), "ask_size": float(draw.randrange(9))}
            rows.append({**named, "bid": price - 0.5, "ask": price + 0.25, **sizes})
            continue
        trade = {**named, "price": price, "size": float(draw.randrange(1, 500))}
        rows.append({**trade, "trade_id": f"{i}"} if draw.random() < 0.7 else trade)
        if "trade_id" in rows[-1] and draw.random() < 0.02:
            rows.append(rows[-1])
    end_ns = FIRST_NS + count * STEP_NS + int(_END_S * 1e9)
    rows += [
        {"symbol": symbol, "event_time_ns": end_ns + n, "price": 55.0, "size": 1.0, "trade_id": f"end-{n}"}
        for n, symbol in enumerate(symbols)
    ]
    return rows


def end_ns(rows: Sequence[Row]) -> int:
    """Before which time every bar has closed: the last rows come this long behind the others."""
    return max(int(row["event_time_ns"]) for row in rows) - 60_000_000_000
