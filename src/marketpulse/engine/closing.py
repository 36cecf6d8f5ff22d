"""Bars that the watermark has reached leave, in order of (close time, symbol, timeframe)."""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.exact_sum import read_sum
from marketpulse.engine.forming import find_bar, free_bar, larger_bar, open_bar, put_bar
from marketpulse.engine.heap import pop_bar, push_bar
from marketpulse.engine.layout import N_CLOSED, N_GROUPS, Output, Plan, Sessions, Tables
from marketpulse.engine.prevailing import quote_closed
from marketpulse.engine.sessions import bar_span, due_time
from marketpulse.model.timeframe import DAY_NS

DONE, OUTPUT_FULL = 0, 1
_FAR = 2**63 - 1


@inlined
def anything_due(tables: Tables) -> bool:
    """Whether some bar's watermark has been reached; if not, all are closed up to their watermarks."""
    for g in range(tables.registers[N_GROUPS]):
        group = tables.groups[g]
        if group.size > 0 and tables.bars[tables.heaps[g, 0]].due_ns <= group.watermark_ns:
            return True
    note_closed(tables)
    return False


@inlined
def note_closed(tables: Tables) -> None:
    for g in range(tables.registers[N_GROUPS]):
        tables.groups[g].closed_ns = tables.groups[g].watermark_ns


@bare_kernel
def closed_up_to(tables: Tables, symbol: int) -> int:
    """The symbol's watermark when its bars were closed last."""
    who = tables.symbols[symbol]
    return max(who.floor_ns, tables.groups[who.group].closed_ns)


@bare_kernel
def close_due(tables: Tables, sessions: Sessions, plan: Plan, output: Output) -> int:
    """Close every bar that its watermark has reached. OUTPUT_FULL: nothing was closed, call again with room."""
    while True:
        n = 0
        full = False
        for g in range(tables.registers[N_GROUPS]):
            group = tables.groups[g]
            while group.size > 0 and tables.bars[tables.heaps[g, 0]].due_ns <= group.watermark_ns:
                if n == output.scratch.size:
                    full = True
                    break
                output.scratch[n] = pop_bar(tables, g)
                n += 1
        if n == 0 and not full:
            note_closed(tables)
            return DONE
        if full or tables.registers[N_CLOSED] + n > output.closed.size:
            for i in range(n):
                slot = output.scratch[i]
                push_bar(tables, tables.symbols[tables.bars[slot].symbol].group, slot)
            return OUTPUT_FULL
        sort_closing(tables, output.scratch, n)
        # With `fill` each bar opens the empty one behind it, which may be due too: then it is its turn
        # before the later ones of this list, which wait for the next round.
        behind_ns, first = _FAR, tables.registers[N_CLOSED]
        for i in range(n):
            slot = output.scratch[i]
            if tables.bars[slot].close_ns >= behind_ns:
                push_bar(tables, tables.symbols[tables.bars[slot].symbol].group, slot)
            else:
                behind_ns = min(behind_ns, close_bar(tables, sessions, plan, output, slot, True))
        if plan.quotes:
            quote_closed(tables, output, first)


@inlined
def closes_before(tables: Tables, left: int, right: int) -> bool:
    a, b = tables.bars[left], tables.bars[right]
    if a.close_ns != b.close_ns:
        return a.close_ns < b.close_ns
    if a.symbol != b.symbol:
        return tables.symbols[a.symbol].rank < tables.symbols[b.symbol].rank
    return a.frame < b.frame


@bare_kernel
def sort_closing(tables: Tables, slots: np.ndarray, n: int) -> None:
    """Shell sort: the lists are short, and nothing is allocated."""
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            moved = slots[i]
            at = i
            while at >= gap and closes_before(tables, moved, slots[at - gap]):
                slots[at] = slots[at - gap]
                at -= gap
            slots[at] = moved
        gap //= 3


@bare_kernel
def close_symbol(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    output: Output,
    symbol: int,
    watermark: int,
    ended_ns: int,
    ended_frames: int,
) -> int:
    """Close the symbol's own bars as `close_due` would for this watermark, and those of the first `ended_frames` timeframes
    that end by `ended_ns`; they wait in no heap.

    OUTPUT_FULL: some were closed; call again with room.
    """
    while True:
        first = -1
        for frame in range(plan.ticks, plan.length.size):
            slot = tables.heads[symbol, frame]
            while slot >= 0:
                bar = tables.bars[slot]
                due = bar.due_ns <= watermark or (frame < ended_frames and bar.close_ns <= ended_ns)
                if due and (first < 0 or closes_before(tables, slot, first)):
                    first = slot
                slot = tables.bars[slot].next
        if first < 0:
            return DONE
        if tables.registers[N_CLOSED] == output.closed.size:
            return OUTPUT_FULL
        close_bar(tables, sessions, plan, output, first, False)


@inlined
def close_bar(tables: Tables, sessions: Sessions, plan: Plan, output: Output, slot: int, waits: bool) -> int:
    """Emit one bar, put it into the larger ones that it builds, and free its slot.

    Returns when the empty bar that `fill` opens behind it closes, far away without one; `waits`: that
    bar waits in its group's heap.
    """
    bar = tables.bars[slot]
    symbol, frame = bar.symbol, bar.frame
    tables.closed_until[symbol, frame] = bar.close_ns
    if bar.parts > 0:
        emit_bar(tables, output, slot)
        tables.last_close[symbol, frame] = bar.close
        build_larger(tables, plan, slot, 0)
    close_ns = bar.close_ns
    filled = plan.fill and not np.isnan(tables.last_close[symbol, frame])
    if filled and bar.parts == 0:
        fill_bar(tables, output, slot)
    free_bar(tables, slot)
    if filled:
        return open_next(tables, sessions, plan, symbol, frame, close_ns, waits)
    return _FAR


@inlined
def build_larger(tables: Tables, plan: Plan, slot: int, missed: int) -> None:
    """Put a finished bar into every larger open bar that is made of its timeframe, but for those of `missed` (a bit each)."""
    bar = tables.bars[slot]
    for frame in range(bar.frame + 1, plan.length.size):
        if plan.parent[bar.base, frame] == bar.frame and not missed >> frame & 1:
            above = larger_bar(tables, frame, slot)
            if above >= 0:
                put_bar(tables, above, slot)


@bare_kernel
def emit_bar(tables: Tables, output: Output, slot: int) -> None:
    """One row of CLOSED from a bar with parts; it has no quote yet."""
    bar = tables.bars[slot]
    n = tables.registers[N_CLOSED]
    tables.registers[N_CLOSED] = n + 1
    row = output.closed[n]
    row.symbol, row.frame, row.open_ns, row.close_ns = bar.symbol, bar.frame, bar.open_ns, bar.close_ns
    row.open, row.high, row.low, row.close = bar.open, bar.high, bar.low, bar.close
    volume = read_sum(tables.volume[slot])
    notional = read_sum(tables.notional[slot])
    row.volume, row.notional = volume if bar.has_volume else np.nan, notional
    row.vwap = notional / volume if bar.has_vwap and volume > 0 else np.nan
    row.trade_count = bar.trade_count
    row.source, row.venue, row.session_date = bar.source, bar.venue, bar.session_date
    row.first_offset, row.first_row = bar.first_offset, bar.first_row
    row.last_offset, row.last_row = bar.last_offset, bar.last_row
    row.late_count, row.revision = bar.late_count, 0
    row.bid = row.bid_size = row.ask = row.ask_size = np.nan
    row.quote_offset, row.quote_row = -1, 0
    row.factor = 1.0
    row.built = 1 if bar.base < bar.frame else 0


@bare_kernel
def fill_bar(tables: Tables, output: Output, slot: int) -> None:
    """A flat bar where nothing traded: volume 0, at the last close; its receipt names no record (-1)."""
    bar = tables.bars[slot]
    price = tables.last_close[bar.symbol, bar.frame]
    bar.open = bar.high = bar.low = bar.close = price
    bar.first_offset = bar.last_offset = -1
    bar.first_row = bar.last_row = 0
    bar.source = bar.venue = -1
    bar.has_vwap = 0
    emit_bar(tables, output, slot)


@bare_kernel
def open_next(
    tables: Tables, sessions: Sessions, plan: Plan, symbol: int, frame: int, after_ns: int, waits: bool
) -> int:
    """With `fill`: the empty bar that follows the one closed at `after_ns`, in the same or the next session.

    Returns when it closes, far away without one.
    """
    calendar = tables.symbols[symbol].calendar
    start, end = sessions.start[calendar], sessions.start[calendar + 1]
    if start == end:
        date = after_ns // DAY_NS
        opened, closed = date * DAY_NS, (date + 1) * DAY_NS
    else:
        at = start + np.searchsorted(sessions.close_ns[start:end], after_ns, side="right")
        if at == end:
            return _FAR
        opened, closed, date = sessions.open_ns[at], sessions.close_ns[at], sessions.date[at]
    open_ns, close_ns = bar_span(plan, frame, opened, closed, max(after_ns, opened))
    if find_bar(tables, symbol, frame, open_ns) < 0:
        due = due_time(tables, sessions, plan, symbol, close_ns, closed)
        open_bar(tables, symbol, frame, open_ns, close_ns, due, date, waits)
    return close_ns
