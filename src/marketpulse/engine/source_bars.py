"""One bar of a source that only has bars: it enters where the bars that we build do (docs/semantics.md, 5)."""

import numpy as np

from marketpulse.compiled import bare_kernel
from marketpulse.engine.bar_quality import judge_bar
from marketpulse.engine.check import accepts, refuse
from marketpulse.engine.closing import build_larger, emit_bar
from marketpulse.engine.exact_sum import add_exact
from marketpulse.engine.forming import find_bar, free_bar, larger_bar, open_bar, open_larger, stretch
from marketpulse.engine.layout import (
    LATE,
    N_CLOSED,
    ORIGIN_BARS,
    OTHER_ORIGIN,
    QUALITY_RULE,
    TOO_LATE,
    UNKNOWN_TIMEFRAME,
    MarketColumns,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.prevailing import quote_closed
from marketpulse.engine.sessions import find_session, session_of_date
from marketpulse.engine.watermark import watermark_of
from marketpulse.engine.window import window_floor


@bare_kernel
def take_bar(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    output: Output,
    i: int,
    symbol: int,
    source: int,
) -> None:
    """One bar of a source that only has bars: it enters where the bars that we build do."""
    frame = rows.frame_of[rows.timeframe[i]]
    if frame < plan.ticks:
        refuse(tables, output, i, UNKNOWN_TIMEFRAME, 0)
        return
    if not accepts(tables, plan, symbol, ORIGIN_BARS, frame):
        refuse(tables, output, i, OTHER_ORIGIN, 1 << frame)
        return
    open_ns, close_ns = rows.open_time_ns[i], rows.close_time_ns[i]
    if rows.session_date[i] >= 0:
        opened, closed = session_of_date(tables, sessions, symbol, rows.session_date[i])
        if opened < closed:
            open_ns, close_ns = opened, closed
    if open_ns < tables.closed_until[symbol, frame]:
        tables.registers[LATE] += 1
        refuse(tables, output, i, TOO_LATE, 1 << frame)
        return
    if rows.final[i] and not judge_bar(tables, sessions, plan, rows, output, i, symbol, frame, open_ns):
        refuse(tables, output, i, QUALITY_RULE, 1 << frame)
        forming = find_bar(tables, symbol, frame, open_ns)
        if forming >= 0:  # what it had told of the bar before
            free_bar(tables, forming)
        return
    who = tables.symbols[symbol]
    who.dirty = 1
    who.event_ns, who.ingest_ns = rows.event_time_ns[i], rows.ingest_time_ns[i]
    slot = source_bar(tables, sessions, plan, rows, i, symbol, source, frame, open_ns, close_ns)
    if not rows.final[i]:
        return
    late = late_above(tables, plan, slot, frame)
    if late:
        tables.registers[LATE] += 1
        refuse(tables, output, i, TOO_LATE, late)
    emit_bar(tables, output, slot)
    if plan.quotes and close_ns >= window_floor(tables, plan, symbol):  # before that, quotes may be gone
        quote_closed(tables, output, tables.registers[N_CLOSED] - 1)
    tables.closed_until[symbol, frame] = close_ns
    tables.last_close[symbol, frame] = tables.bars[slot].close
    build_larger(tables, plan, slot)
    free_bar(tables, slot)


@bare_kernel
def source_bar(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    i: int,
    symbol: int,
    source: int,
    frame: int,
    open_ns: int,
    close_ns: int,
) -> int:
    """The source's values in a slot of their own, and the larger bars above it opened.

    It waits in no heap: a source's bar closes when the source says that it is final.
    """
    inside = open_ns
    opened, closed, date = find_session(tables, sessions, plan, symbol, inside)
    if opened == closed:  # outside every session: the source's own times stand, nothing is built from it
        opened, closed, date = open_ns, close_ns, open_ns // 86_400_000_000_000
    else:
        watermark = watermark_of(tables, symbol)
        open_larger(tables, sessions, plan, symbol, frame, opened, closed, date, inside, watermark, True)
    slot = find_bar(tables, symbol, frame, open_ns)
    if slot < 0:
        slot = open_bar(tables, symbol, frame, open_ns, close_ns, close_ns, date, False)
    bar = tables.bars[slot]
    bar.parts = 1
    bar.open, bar.high, bar.low, bar.close = rows.a[i], rows.b[i], rows.c[i], rows.d[i]
    bar.trade_count = rows.trade_count[i]
    bar.source = source
    bar.venue = rows.venue_of[rows.venue[i]] if rows.venue[i] >= 0 else -1
    stretch(tables, slot, rows.offset[i], rows.row[i])
    volume, vwap = rows.e[i], rows.f[i]
    bar.has_vwap = not np.isnan(vwap)
    tables.volume[slot, :] = 0
    tables.notional[slot, :] = 0
    add_exact(tables.volume[slot], volume)
    typical = vwap if bar.has_vwap else (bar.high + bar.low + bar.close) / 3.0
    add_exact(tables.notional[slot], typical * volume)
    return slot


@bare_kernel
def late_above(tables: Tables, plan: Plan, slot: int, base: int) -> int:
    """A bit for each larger timeframe whose bar over this one has closed already."""
    late = 0
    bar = tables.bars[slot]
    for frame in range(base + 1, plan.length.size):
        if plan.parent[base, frame] < 0:
            continue
        if larger_bar(tables, frame, slot) < 0 and bar.open_ns <= tables.closed_until[bar.symbol, frame]:
            late |= 1 << frame
    return late
