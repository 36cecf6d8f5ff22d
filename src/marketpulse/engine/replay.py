"""The compiled loops of a rewind: back to the anchor, and the window's trades in again, oldest first."""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.engine.closing import DONE, close_symbol, closed_up_to
from marketpulse.engine.exact_sum import DIGITS
from marketpulse.engine.forming import find_bar, free_bar, open_bar, put_trade, stretch
from marketpulse.engine.heap import push_bar
from marketpulse.engine.layout import FREE_BARS, N_GROUPS, N_SYMBOLS, NEVER, Output, Plan, Sessions, Tables
from marketpulse.engine.sessions import bar_span, find_session
from marketpulse.engine.trades import time_bar
from marketpulse.engine.window import window_floor

Places = NDArray[np.int64]


@bare_kernel
def anchor_floors(tables: Tables, plan: Plan, floors: NDArray[np.int64]) -> None:
    """By symbol, the event time up to which the anchor may move; symbols that nothing feeds keep theirs.

    No further than what is closed: the anchor never knows more than the bars themselves. Nor than where it is pinned.
    """
    for symbol in range(tables.registers[N_SYMBOLS]):
        if tables.symbols[symbol].group >= 0:
            moving = min(window_floor(tables, plan, symbol), closed_up_to(tables, symbol))
            floors[symbol] = min(moving, tables.symbols[symbol].pinned_ns)


@bare_kernel
def read_closed_times(tables: Tables, symbols: NDArray[np.int64], until_ns: NDArray[np.int64]) -> None:
    """For these symbols, the watermark up to which their bars are closed."""
    for symbol in symbols:
        until_ns[symbol] = closed_up_to(tables, symbol)


@bare_kernel
def leave_heaps(tables: Tables, marks: NDArray[np.int8]) -> None:
    """Take every bar of the marked symbols out of the heaps."""
    for g in range(tables.registers[N_GROUPS]):
        size = tables.groups[g].size
        tables.groups[g].size = 0
        for i in range(size):  # place i is read before a push can reach it
            slot = tables.heaps[g, i]
            if not marks[tables.bars[slot].symbol]:
                push_bar(tables, g, slot)


@bare_kernel
def drop_bars(tables: Tables, plan: Plan, symbol: int) -> None:
    """Free the symbol's open time bars, which wait in no heap."""
    for frame in range(plan.ticks, plan.length.size):
        while tables.heads[symbol, frame] >= 0:
            free_bar(tables, tables.heads[symbol, frame])


@bare_kernel
def return_to_anchor(tables: Tables, anchor: Tables, plan: Plan, symbol: int) -> None:
    """Drop the symbol's open time bars, and take those that were open at the anchor."""
    drop_bars(tables, plan, symbol)
    for frame in range(plan.ticks, plan.length.size):
        tables.closed_until[symbol, frame] = anchor.closed_until[symbol, frame]
        tables.last_close[symbol, frame] = anchor.last_close[symbol, frame]
        slot = anchor.heads[symbol, frame]
        while slot >= 0:  # the order within a series does not matter
            old = anchor.bars[slot]
            new = open_bar(tables, symbol, frame, old.open_ns, old.close_ns, old.due_ns, old.session_date, False)
            after = tables.bars[new].next
            tables.bars[new] = old
            tables.bars[new].next = after
            for digit in range(DIGITS):
                tables.volume[new, digit] = anchor.volume[slot, digit]
                tables.notional[new, digit] = anchor.notional[slot, digit]
            slot = old.next


@bare_kernel
def count_open(tables: Tables, plan: Plan, symbol: int) -> int:
    """How many time bars of the symbol are open."""
    n = 0
    for frame in range(plan.ticks, plan.length.size):
        slot = tables.heads[symbol, frame]
        while slot >= 0:
            n += 1
            slot = tables.bars[slot].next
    return n


@bare_kernel
def wait_again(tables: Tables, plan: Plan, symbol: int) -> None:
    """The symbol's open time bars wait for its group's watermark."""
    for frame in range(plan.ticks, plan.length.size):
        slot = tables.heads[symbol, frame]
        while slot >= 0:
            push_bar(tables, tables.symbols[symbol].group, slot)
            slot = tables.bars[slot].next


@bare_kernel
def replay_trades(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    window: NDArray[np.void],
    order: Places,
    start: int,
    until_ns: NDArray[np.int64],
    output: Output,
) -> int:
    """Put trades into their bars, oldest first, closing what ends before each (but nothing that its symbol's
    watermark has not closed yet). Returns where it stopped: for room in the output or among the slots, or at
    the end."""
    frames, base = plan.length.size, plan.ticks
    if base == frames:
        return order.size
    for k in range(start, order.size):
        trade = window[order[k]]
        symbol, time = trade.symbol, trade.event_ns
        if tables.registers[FREE_BARS] <= 2 * frames:
            return k
        if close_symbol(tables, sessions, plan, output, symbol, min(time, until_ns[symbol]), NEVER, 0) != DONE:
            return k
        opened, closed, date = find_session(tables, sessions, plan, symbol, time)
        slot = time_bar(tables, sessions, plan, symbol, opened, closed, date, time, NEVER, False)
        if not trade.cancelled:
            put_trade(tables, slot, time, trade.price, trade.size, trade.source, trade.venue, trade.offset, trade.row)
        if trade.changed_offset >= 0 or trade.late_frames:
            for frame in range(base, frames):
                if frame > base and plan.parent[base, frame] < 0:
                    continue
                open_ns, _ = bar_span(plan, frame, opened, closed, time)
                over = find_bar(tables, symbol, frame, open_ns)
                if over < 0:
                    continue
                if trade.late_frames >> frame & 1:
                    tables.bars[over].late_count += 1
                if trade.changed_offset >= 0:
                    stretch(tables, over, trade.offset, trade.row)
                    stretch(tables, over, trade.changed_offset, trade.changed_row)
    return order.size


@bare_kernel
def close_symbols(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    symbols: NDArray[np.int64],
    until_ns: NDArray[np.int64],
    start: int,
    output: Output,
) -> int:
    """Close each symbol's bars up to its time. Returns where it stopped for room, or the end."""
    for k in range(start, symbols.size):
        if tables.registers[FREE_BARS] <= 2 * plan.length.size:
            return k
        if close_symbol(tables, sessions, plan, output, symbols[k], until_ns[symbols[k]], NEVER, 0) != DONE:
            return k
    return symbols.size
