"""The arithmetic of a bar's columns, from its inputs as they count (docs/semantics.md, 3 to 5).

Sums are Python's own exact sum, not the engine's: two ways to the same bits.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from marketpulse.app.receipts.time_text import show_time
from marketpulse.app.receipts.trace import Input
from marketpulse.indicators.arithmetic import listed, shown
from marketpulse.model.market import ROW_BITS_MASK

Value = float | int | None
COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trade_count")


def explain_column(name: str, inputs: Sequence[Input], *, by_count: bool) -> tuple[list[str], Value]:
    """Lines that tell how a column follows from the inputs that count, and its value (None: there is none)."""
    held = [record for record in inputs if record.counts]
    order = (lambda r: (r.offset, r.row)) if by_count else (lambda r: (r.event_time_ns, r.offset, r.row))
    held.sort(key=order)
    if not held:
        return ["nothing traded: no bar, or with engine.fill a flat one at the last close"], None
    if held[0].bar is not None:
        return _of_bars(name, [r for r in held if r.bar is not None])
    return _OF_TRADES[name](held)


def _first(held: Sequence[Input]) -> tuple[list[str], Value]:
    return [f"open = price of the first of {len(held)} trades: {_named(held[0])}"], held[0].price


def _last(held: Sequence[Input]) -> tuple[list[str], Value]:
    return [f"close = price of the last of {len(held)} trades: {_named(held[-1])}"], held[-1].price


def _highest(held: Sequence[Input]) -> tuple[list[str], Value]:
    top = max(held, key=lambda r: r.price)
    return [f"high = the highest of {len(held)} prices: {_named(top)}"], top.price


def _lowest(held: Sequence[Input]) -> tuple[list[str], Value]:
    low = min(held, key=lambda r: r.price)
    return [f"low = the lowest of {len(held)} prices: {_named(low)}"], low.price


def _volume(held: Sequence[Input]) -> tuple[list[str], Value]:
    total = math.fsum(r.size for r in held)
    return [f"volume = sum of the sizes {listed([r.size for r in held])} = {shown(total)}"], total


def _vwap(held: Sequence[Input]) -> tuple[list[str], Value]:
    notional, volume = math.fsum(r.price * r.size for r in held), math.fsum(r.size for r in held)
    lines = [
        f"sum of price * size: {listed([r.price * r.size for r in held])} = {shown(notional)}",
        f"sum of size: {listed([r.size for r in held])} = {shown(volume)}",
    ]
    if not volume > 0:
        return [*lines, "no volume: no vwap"], None
    return [*lines, f"vwap = {shown(notional)} / {shown(volume)} = {shown(notional / volume)}"], notional / volume


def _count(held: Sequence[Input]) -> tuple[list[str], Value]:
    return [f"trade_count = {len(held)} trades"], len(held)


_OF_TRADES: dict[str, Callable[[Sequence[Input]], tuple[list[str], Value]]] = {
    "open": _first, "high": _highest, "low": _lowest, "close": _last, "volume": _volume, "vwap": _vwap,
    "trade_count": _count,
}  # fmt: skip


def _of_bars(name: str, held: Sequence[Input]) -> tuple[list[str], Value]:
    """From bars that a source gave: each as it came last."""
    newest: dict[int, dict[str, Any]] = {r.event_time_ns: r.bar for r in held if r.bar is not None}
    bars = [newest[at] for at in sorted(newest)]
    head = f"{name} of {len(bars)} bars of the source"
    column = [bar[name] for bar in bars]
    if name in ("open", "close"):
        return [f"{head}: the {'first' if name == 'open' else 'last'} of {listed(column)}"], column[
            0 if name == "open" else -1
        ]
    if name in ("high", "low"):
        value = max(column) if name == "high" else min(column)
        return [f"{head}: the {name}est of {listed(column)} = {shown(value)}"], value
    if name != "trade_count" and any(math.isnan(value) for value in column):
        return [f"{head}: a part came without one"], None
    if name == "volume":
        return [f"{head}: sum of {listed(column)} = {shown(math.fsum(column))}"], math.fsum(column)
    if name == "trade_count":
        return [f"{head}: {column}"], None if min(column) < 0 else sum(column)
    if any(math.isnan(bar["volume"]) for bar in bars):
        return [f"{head}: a part came without a volume"], None
    notional = math.fsum(bar["vwap"] * bar["volume"] for bar in bars)
    volume = math.fsum(bar["volume"] for bar in bars)
    if not volume > 0:
        return [f"{head}: no volume"], None
    return [f"{head}: {shown(notional)} / {shown(volume)} = {shown(notional / volume)}"], notional / volume


def _named(record: Input) -> str:
    return f"{shown(record.price)} at {show_time(record.event_time_ns)} ({_place(record.offset)})"


def _place(offset: int) -> str:
    return f"offset {offset}" if offset >= 0 else f"file row {offset & ROW_BITS_MASK}"
