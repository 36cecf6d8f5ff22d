"""One trade into its bars and into the correction window (docs/semantics.md, 3 and 10 to 12)."""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.check import accepts, refuse, set_aside
from marketpulse.engine.closing import emit_bar
from marketpulse.engine.forming import find_bar, free_bar, open_bar, open_larger, put_trade
from marketpulse.engine.layout import (
    DUPLICATES,
    LATE,
    NEVER,
    ORIGIN_TRADES,
    OTHER_ORIGIN,
    OUT_OF_SESSION,
    QUALITY_RULE,
    MarketColumns,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.prevailing import quote_tick_bar
from marketpulse.engine.quality import judge_trade
from marketpulse.engine.sessions import bar_span, due_time, find_session
from marketpulse.engine.trade_ids import find_trade, key_of
from marketpulse.engine.watermark import watermark_of
from marketpulse.engine.window import keep_trade, mark_stale, window_floor


@inlined
def take_trade(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    rows: MarketColumns,
    output: Output,
    i: int,
    symbol: int,
    source: int,
) -> None:
    """One trade into its tick bars, its smallest time bar and the window; late when that bar has closed:
    then its symbol's bars are built again before they are used (engine.rewind)."""
    frames = plan.length.size
    if not accepts(tables, plan, symbol, ORIGIN_TRADES, plan.ticks):
        refuse(tables, output, i, OTHER_ORIGIN, 0)
        return
    time, price, size = rows.event_time_ns[i], rows.a[i], rows.b[i]
    opened, closed, date = find_session(tables, sessions, plan, symbol, time)
    if opened == closed:
        tables.registers[OUT_OF_SESSION] += 1
        return
    high, low = np.int64(0), np.int64(0)
    has_id = rows.trade_id_length[i] > 0
    if has_id:
        high, low = key_of(rows.data, rows.trade_id_start[i], rows.trade_id_length[i])
        floor = window_floor(tables, plan, symbol)
        if find_trade(tables, symbol, source, high, low, floor) >= 0:
            tables.registers[DUPLICATES] += 1
            return
    if not judge_trade(tables, plan, output, i, symbol, time, price, size):
        refuse(tables, output, i, QUALITY_RULE, 0)
        return
    offset, row = rows.offset[i], rows.row[i]
    venue = rows.venue_of[rows.venue[i]] if rows.venue[i] >= 0 else -1
    who = tables.symbols[symbol]
    who.dirty = 1
    who.event_ns, who.ingest_ns = time, rows.ingest_time_ns[i]
    late_frames, within = 0, True
    if plan.ticks < frames:
        slot = time_bar(tables, sessions, plan, symbol, opened, closed, date, time, watermark_of(tables, symbol), True)
        if slot >= 0:
            put_trade(tables, slot, time, price, size, source, venue, offset, row)
        else:
            tables.registers[LATE] += 1
            within = time >= window_floor(tables, plan, symbol)
            if within:
                late_frames = closed_frames(tables, sessions, plan, symbol, opened, closed, time)
                mark_stale(tables, symbol)
            else:
                set_aside(tables, plan, output, i, source)
    if within:
        keep_trade(tables, plan, symbol, source, venue, time, price, size, offset, row, late_frames, has_id, high, low)
    for frame in range(plan.ticks):
        slot = tables.heads[symbol, frame]
        if slot < 0:
            slot = open_bar(tables, symbol, frame, time, time, time, date, False)
        bar = tables.bars[slot]
        bar.first_event_ns = bar.last_event_ns = NEVER  # cut by count: the log's order is theirs
        put_trade(tables, slot, time, price, size, source, venue, offset, row)
        bar.close_ns = time
        if bar.parts == plan.length[frame]:
            emit_bar(tables, output, slot)
            if plan.quotes:
                quote_tick_bar(tables, output, symbol, date)
            tables.last_close[symbol, frame] = price
            free_bar(tables, slot)


@bare_kernel
def time_bar(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    symbol: int,
    opened: int,
    closed: int,
    date: int,
    time: int,
    watermark: int,
    waits: bool,
) -> int:
    """The smallest time bar that takes a trade of the session [opened, closed), -1 when it has closed.

    `waits`: the bars that are opened wait in the group's heap.
    """
    base = plan.ticks
    slot = open_slot(tables, symbol, base, time)
    if slot >= 0:
        return slot
    if is_closed(tables, sessions, plan, symbol, base, opened, closed, time, watermark):
        return -1
    open_ns, close_ns = bar_span(plan, base, opened, closed, time)
    slot = find_bar(tables, symbol, base, open_ns)
    if slot >= 0:
        return slot
    open_larger(tables, sessions, plan, symbol, base, opened, closed, date, time, watermark, waits)
    due = due_time(tables, sessions, plan, symbol, close_ns, closed)
    return open_bar(tables, symbol, base, open_ns, close_ns, due, date, waits)


@inlined
def open_slot(tables: Tables, symbol: int, frame: int, time: int) -> int:
    """The series' newest open bar when it holds `time`: nearly always the one."""
    slot = tables.heads[symbol, frame]
    if slot >= 0 and tables.bars[slot].open_ns <= time < tables.bars[slot].close_ns:
        return slot
    return -1


@bare_kernel
def is_closed(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    symbol: int,
    frame: int,
    opened: int,
    closed: int,
    time: int,
    watermark: int,
) -> bool:
    """Whether the watermark has passed the bar of `frame` that `time` belongs to."""
    _, close_ns = bar_span(plan, frame, opened, closed, time)
    return due_time(tables, sessions, plan, symbol, close_ns, closed) <= watermark


@bare_kernel
def closed_frames(
    tables: Tables, sessions: Sessions, plan: Plan, symbol: int, opened: int, closed: int, time: int
) -> int:
    """A bit for each timeframe whose bar over `time` the watermark has passed."""
    frames = 0
    watermark = watermark_of(tables, symbol)
    for frame in range(plan.ticks, plan.length.size):
        built = frame == plan.ticks or plan.parent[plan.ticks, frame] >= 0
        if built and is_closed(tables, sessions, plan, symbol, frame, opened, closed, time, watermark):
            frames |= 1 << frame
    return frames
