"""The way of one row through the bar builder, top to bottom (docs/semantics.md, 8).

    check -> log time and liveness -> watermark -> closings -> the row's own trade or bar

`take_rows` walks a batch. Where it needs something that only the host can give (a new symbol, more
room), it stops *before* the row has changed anything that counts and says so; the host helps and
calls it again at the same row.
"""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.check import ASK, ENTER, check_time, refuse
from marketpulse.engine.closing import DONE, anything_due, build_larger, close_due, emit_bar
from marketpulse.engine.exact_sum import add_exact
from marketpulse.engine.forming import (
    find_bar,
    free_bar,
    larger_bar,
    open_bar,
    open_larger,
    put_trade,
    stretch,
)
from marketpulse.engine.layout import (
    DUPLICATES,
    FREE_BARS,
    LATE,
    N_CLOSED,
    N_GROUPS,
    N_KEPT,
    N_REJECTED,
    N_STALE,
    N_UNTOLD,
    NEVER,
    ORIGIN_BARS,
    ORIGIN_NONE,
    ORIGIN_TRADES,
    OTHER_ORIGIN,
    OUT_OF_SESSION,
    TOO_LATE,
    TOO_MANY_SYMBOLS,
    UNKNOWN_TIMEFRAME,
    MarketColumns,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.sessions import bar_span, due_time, find_session, session_of_date
from marketpulse.engine.trade_ids import find_trade, key_of
from marketpulse.engine.watermark import feed_symbol, hear_source, move_log_time, move_source, watermark_of
from marketpulse.engine.window import keep_trade, mark_stale, window_floor
from marketpulse.model.market import Kind

(
    FINISHED,
    RARE,
    NEW_SOURCE,
    NEW_VENUE,
    NEW_SYMBOL,
    NEW_FRAME,
    NEED_ROOM,
    NEED_BARS,
    NEED_GROUPS,
    NEED_APPEND_TIME,
    NEED_WINDOW,
    REFRESH,
    REVISE,
) = range(13)

_TRADE, _QUOTE, _BAR, _HEARTBEAT, _CLOCK = (
    int(Kind.TRADE),
    int(Kind.QUOTE),
    int(Kind.BAR),
    int(Kind.HEARTBEAT),
    int(Kind.CLOCK),
)
UNMAPPED = -3  # an id of the decoder that the host has not translated yet
REFUSED_SYMBOL = -4  # beyond the cap


@bare_kernel
def take_rows(
    tables: Tables, sessions: Sessions, plan: Plan, rows: MarketColumns, output: Output, start: int
) -> tuple[int, int]:
    """Take the batch's rows from `start` on. Returns (why it stopped, at which row)."""
    frames = plan.length.size
    for i in range(start, rows.kind.size):
        kind = rows.kind[i]
        if kind > _CLOCK:
            return RARE, i
        if output.rejected.size - tables.registers[N_REJECTED] < 1:
            return NEED_ROOM, i
        if output.closed.size - tables.registers[N_CLOSED] < frames + 1:
            return NEED_ROOM, i
        if kind == _CLOCK:
            move_log_time(tables, plan, rows.log_time_ns[i])
            if tables.registers[N_UNTOLD]:
                return REVISE, i
            if anything_due(tables) and close_due(tables, sessions, plan, output) != DONE:
                return NEED_ROOM, i
            continue
        source = rows.source_of[rows.source[i]]
        if source == UNMAPPED:
            return NEW_SOURCE, i
        reason = check_time(tables, plan, source, rows.event_time_ns[i], rows.log_time_ns[i])
        if reason == ASK:
            return NEED_APPEND_TIME, i
        if reason != ENTER:
            refuse(tables, output, i, reason, 0)
            continue
        if kind == _HEARTBEAT:
            move_log_time(tables, plan, rows.log_time_ns[i])
            hear_source(tables, source)
            move_source(tables, plan, source, rows.event_time_ns[i])
            if tables.registers[N_UNTOLD]:
                return REVISE, i
            if anything_due(tables) and close_due(tables, sessions, plan, output) != DONE:
                return NEED_ROOM, i
            continue
        if rows.venue[i] >= 0 and rows.venue_of[rows.venue[i]] == UNMAPPED:
            return NEW_VENUE, i
        symbol = rows.symbol_of[rows.symbol[i]]
        if symbol == UNMAPPED:
            return NEW_SYMBOL, i
        if symbol == REFUSED_SYMBOL:
            refuse(tables, output, i, TOO_MANY_SYMBOLS, 0)
            continue
        if tables.groups.size - tables.registers[N_GROUPS] < 1:
            return NEED_GROUPS, i
        if tables.registers[FREE_BARS] <= frames:
            return NEED_BARS, i
        if tables.registers[N_KEPT] == tables.window.size:
            return NEED_WINDOW, i
        hear_source(tables, source)
        if not tables.symbols[symbol].feeds & (np.uint64(1) << np.uint64(source)):
            feed_symbol(tables, plan, symbol, source)
        seen = rows.event_time_ns[i]
        if kind == _BAR:  # a bar tells of the time before its close: those of others may still come
            seen = min(seen, rows.close_time_ns[i] - 1)
        move_source(tables, plan, source, seen - tables.sources[source].lateness_ns)
        if anything_due(tables):
            if tables.registers[N_STALE]:
                return REFRESH, i
            if close_due(tables, sessions, plan, output) != DONE:
                return NEED_ROOM, i
        if kind == _TRADE:
            take_trade(tables, sessions, plan, rows, output, i, symbol, source)
            if plan.revise_each and tables.registers[N_UNTOLD]:
                return REVISE, i + 1
        elif kind == _BAR:
            if rows.frame_of[rows.timeframe[i]] == UNMAPPED:
                return NEW_FRAME, i
            take_bar(tables, sessions, plan, rows, output, i, symbol, source)
    return FINISHED, rows.kind.size


@inlined
def accepts(tables: Tables, plan: Plan, symbol: int, origin: int, base: int) -> bool:
    """Whether the symbol's bars are made from this kind of record (docs/semantics.md, 5); the first one decides."""
    who = tables.symbols[symbol]
    if who.origin == ORIGIN_NONE and (plan.origin in (ORIGIN_NONE, origin)):
        who.origin, who.base = origin, base
    return who.origin == origin and who.base == base


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
    offset, row = rows.offset[i], rows.row[i]
    venue = rows.venue_of[rows.venue[i]] if rows.venue[i] >= 0 else -1
    who = tables.symbols[symbol]
    who.dirty = 1
    who.event_ns, who.ingest_ns = time, rows.ingest_time_ns[i]
    late_frames, within = 0, True
    if plan.ticks < frames:
        slot = time_bar(
            tables, sessions, plan, symbol, opened, closed, date, time, watermark_of(tables, symbol), True
        )
        if slot >= 0:
            put_trade(tables, slot, time, price, size, source, venue, offset, row)
        else:
            tables.registers[LATE] += 1
            within = time >= window_floor(tables, plan, symbol)
            if within:
                late_frames = closed_frames(tables, sessions, plan, symbol, opened, closed, time)
                mark_stale(tables, symbol)
            else:
                refuse(tables, output, i, TOO_LATE, (1 << frames) - (1 << plan.ticks))
    if within:
        keep_trade(
            tables,
            plan,
            symbol,
            source,
            venue,
            time,
            price,
            size,
            offset,
            row,
            late_frames,
            has_id,
            high,
            low,
        )
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
