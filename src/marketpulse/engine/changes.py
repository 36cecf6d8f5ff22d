"""Corrections and cancels: they name a trade of the window by its id and change it (docs/semantics.md, 12)."""

from typing import Any

import numpy as np

from marketpulse.engine.layout import TOO_LATE, UNKNOWN_TRADE, Plan
from marketpulse.engine.sessions import find_session
from marketpulse.engine.state import PartitionState
from marketpulse.engine.trade_ids import find_trade, key_of
from marketpulse.engine.trades import closed_frames
from marketpulse.engine.window import mark_stale, window_floor
from marketpulse.model.market import Kind


def take_change(
    state: PartitionState, plan: Plan, kind: Kind, source: int, record: dict[str, Any], place: tuple[int, int]
) -> int | None:
    """Change the trade that the record names; `place` is the record's (offset, row).

    Returns the reason when it is refused: no trade of the window has that id. A trade that was cancelled
    stays cancelled.
    """
    tables = state.tables
    symbol = state.symbols.find(str(record["symbol"]))
    if symbol < 0:
        return UNKNOWN_TRADE
    name = np.frombuffer(str(record["trade_id"]).encode(), np.uint8)
    high, low = key_of(name, 0, name.size)
    floor = window_floor(tables, plan, symbol)
    at = find_trade(tables, symbol, source, high, low, floor)
    if at < 0:
        return TOO_LATE if record["event_time_ns"] < floor else UNKNOWN_TRADE
    trade = tables.window[at]
    if trade["cancelled"]:
        return None
    if kind == Kind.CANCEL:
        trade["cancelled"] = 1
    else:
        trade["price"], trade["size"] = record["price"], record["size"]
    trade["changed_offset"], trade["changed_row"] = place
    who = tables.symbols[symbol]
    who["changed_offset"], who["changed_row"] = place
    time = int(trade["event_ns"])
    opened, closed, _ = find_session(tables, state.sessions, plan, symbol, time)
    trade["late_frames"] |= closed_frames(tables, state.sessions, plan, symbol, opened, closed, time)
    mark_stale(tables, symbol)
    who["dirty"] = 1
    return None
