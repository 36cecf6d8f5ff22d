"""The correction window: how far back trades are kept, and keeping them (docs/semantics.md, 10).

It ends where either bound is reached: a time behind the symbol's watermark, or a number of its trades.
Both follow from the log alone. What lies before the end may still be in memory, but nothing can
change it any more.
"""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import N_KEPT, N_STALE, N_UNTOLD, NEVER, STALE_BARS, STALE_NOT, STALE_TOLD, Plan, Tables
from marketpulse.engine.trade_ids import remember_id
from marketpulse.engine.watermark import watermark_of


@inlined
def window_floor(tables: Tables, plan: Plan, symbol: int) -> int:
    """The oldest event time that may still enter, or be changed."""
    watermark = watermark_of(tables, symbol)
    by_time = NEVER if watermark == NEVER else watermark - plan.window_ns
    return max(by_time, tables.symbols[symbol].floor_by_count_ns)


@inlined
def keep_trade(
    tables: Tables,
    plan: Plan,
    symbol: int,
    source: int,
    venue: int,
    time_ns: int,
    price: float,
    size: float,
    offset: int,
    row: int,
    late_frames: int,
    has_id: bool,
    high: np.int64,
    low: np.int64,
) -> None:
    """One accepted trade at the end of the window. Room for it must be free."""
    place = tables.registers[N_KEPT]
    tables.registers[N_KEPT] = place + 1
    kept = tables.window[place]
    kept.symbol, kept.source, kept.venue, kept.event_ns = symbol, source, venue, time_ns
    kept.price, kept.size, kept.offset, kept.row = price, size, offset, row
    kept.cancelled, kept.changed_offset, kept.changed_row, kept.late_frames = 0, -1, 0, late_frames
    kept.has_id, kept.id_high, kept.id_low = has_id, high, low
    if has_id:
        remember_id(tables, place)
    who = tables.symbols[symbol]
    who.newest_ns = max(who.newest_ns, time_ns)
    who.taken += 1
    if who.taken % plan.window_trades == 0 or who.taken % plan.window_trades == plan.window_trades // 2:
        # Two counts of half a window's trades: between half of them and all are kept.
        who.floor_by_count_ns, who.next_floor_ns = who.next_floor_ns, who.newest_ns


@bare_kernel
def mark_untold(tables: Tables, symbol: int) -> None:
    """The symbol's rows hold a change from here on that those who read were not told."""
    who = tables.symbols[symbol]
    if who.stale == STALE_NOT:
        who.stale = STALE_TOLD
        tables.registers[N_UNTOLD] += 1


@bare_kernel
def mark_stale(tables: Tables, symbol: int) -> None:
    """The symbol's bars lack a change from here on."""
    who = tables.symbols[symbol]
    if who.stale == STALE_NOT:
        tables.registers[N_UNTOLD] += 1
    if who.stale != STALE_BARS:
        tables.registers[N_STALE] += 1
    who.stale = STALE_BARS
