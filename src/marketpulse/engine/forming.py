"""Bars that are still open: finding one, opening one, putting a trade or a smaller bar into it."""

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.exact_sum import add_exact, add_sum, carry
from marketpulse.engine.heap import push_bar
from marketpulse.engine.layout import FREE_BAR, FREE_BARS, NEVER, Plan, Sessions, Tables
from marketpulse.engine.sessions import bar_span, due_time

_CARRY_EVERY = (1 << 28) - 1
_AFTER_ALL = 2**63 - 1


@bare_kernel
def find_bar(tables: Tables, symbol: int, frame: int, open_ns: int) -> int:
    """The slot of the series' open bar that begins at `open_ns`, -1: none. Chains are a bar or three long."""
    slot = tables.heads[symbol, frame]
    while slot >= 0 and tables.bars[slot].open_ns != open_ns:
        slot = tables.bars[slot].next
    return slot


@bare_kernel
def open_bar(
    tables: Tables, symbol: int, frame: int, open_ns: int, close_ns: int, due_ns: int, session_date: int, waits: bool
) -> int:
    """A fresh bar in a free slot, at the head of its series; in the group's heap when it waits for time."""
    slot = tables.registers[FREE_BAR]
    bar = tables.bars[slot]
    tables.registers[FREE_BAR] = bar.next
    tables.registers[FREE_BARS] -= 1
    bar.symbol, bar.frame = symbol, frame
    bar.base, bar.open_ns, bar.close_ns, bar.due_ns = frame, open_ns, close_ns, due_ns
    bar.parts, bar.trade_count, bar.has_vwap, bar.has_volume = 0, 0, 1, 1
    clear_receipt(tables, slot)
    bar.session_date = session_date
    bar.next = tables.heads[symbol, frame]
    tables.heads[symbol, frame] = slot
    tables.volume[slot, :] = 0
    tables.notional[slot, :] = 0
    if waits:
        push_bar(tables, tables.symbols[symbol].group, slot)
    return slot


@inlined
def clear_receipt(tables: Tables, slot: int) -> None:
    """The bar is made from no record yet."""
    bar = tables.bars[slot]
    bar.first_offset, bar.first_row, bar.last_offset, bar.last_row = _AFTER_ALL, 0, NEVER, 0
    bar.late_count = 0


@inlined
def free_bar(tables: Tables, slot: int) -> None:
    """Take the bar out of its series; its slot is free again. (Its heap has given it out already.)"""
    bar = tables.bars[slot]
    after = bar.next
    if tables.heads[bar.symbol, bar.frame] == slot:
        tables.heads[bar.symbol, bar.frame] = after
    else:
        at = tables.heads[bar.symbol, bar.frame]
        while tables.bars[at].next != slot:
            at = tables.bars[at].next
        tables.bars[at].next = after
    bar.next = tables.registers[FREE_BAR]
    tables.registers[FREE_BAR] = slot
    tables.registers[FREE_BARS] += 1


@bare_kernel
def open_larger(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    symbol: int,
    base: int,
    opened: int,
    closed: int,
    date: int,
    time: int,
    watermark: int,
    waits: bool,
) -> None:
    """Open the larger bars over `time` that are missing and that neither the watermark nor a later bar has passed.

    They exist from their first part on, so that the forming ones can be shown. [opened, closed) is
    the session, `base` the smallest timeframe of the symbol.
    """
    for frame in range(base + 1, plan.length.size):
        if plan.parent[base, frame] < 0:
            continue
        open_ns, close_ns = bar_span(plan, frame, opened, closed, time)
        due = due_time(tables, sessions, plan, symbol, close_ns, closed)
        passed = due <= watermark or open_ns < tables.closed_until[symbol, frame]
        if not passed and find_bar(tables, symbol, frame, open_ns) < 0:
            open_bar(tables, symbol, frame, open_ns, close_ns, due, date, waits)


@inlined
def stretch(tables: Tables, slot: int, offset: int, row: int) -> None:
    """The bar's receipt covers this place in the log too."""
    bar = tables.bars[slot]
    if offset < bar.first_offset or (offset == bar.first_offset and row < bar.first_row):
        bar.first_offset, bar.first_row = offset, row
    if offset > bar.last_offset or (offset == bar.last_offset and row > bar.last_row):
        bar.last_offset, bar.last_row = offset, row


@inlined
def put_trade(
    tables: Tables, slot: int, time_ns: int, price: float, size: float, source: int, venue: int, offset: int, row: int
) -> None:
    """One trade into its bar: open and close by (event time, position), sums exact."""
    bar = tables.bars[slot]
    if bar.parts == 0:
        bar.open = bar.high = bar.low = bar.close = price
        bar.first_event_ns = bar.last_event_ns = time_ns
        bar.source, bar.venue = source, venue
    else:
        bar.high = max(bar.high, price)
        bar.low = min(bar.low, price)
        if time_ns < bar.first_event_ns:
            bar.open, bar.first_event_ns = price, time_ns
            bar.source, bar.venue = source, venue
        if time_ns >= bar.last_event_ns:
            bar.close, bar.last_event_ns = price, time_ns
    stretch(tables, slot, offset, row)
    bar.parts += 1
    bar.trade_count += 1
    add_exact(tables.volume[slot], size)
    add_exact(tables.notional[slot], price * size)
    if bar.parts & _CARRY_EVERY == 0:
        carry(tables.volume[slot])
        carry(tables.notional[slot])


@bare_kernel
def put_bar(tables: Tables, slot: int, part: int) -> None:
    """A smaller bar, closed or still forming, into a larger one: open and close by the parts' times."""
    bar, smaller = tables.bars[slot], tables.bars[part]
    if bar.parts == 0:
        bar.high, bar.low, bar.base = smaller.high, smaller.low, smaller.base
    else:
        bar.high = max(bar.high, smaller.high)
        bar.low = min(bar.low, smaller.low)
        bar.base = min(bar.base, smaller.base)
    if bar.parts == 0 or smaller.open_ns < bar.first_event_ns:
        bar.open, bar.first_event_ns = smaller.open, smaller.open_ns
        bar.source, bar.venue = smaller.source, smaller.venue
    if bar.parts == 0 or smaller.open_ns >= bar.last_event_ns:
        bar.close, bar.last_event_ns = smaller.close, smaller.open_ns
    stretch(tables, slot, smaller.first_offset, smaller.first_row)
    stretch(tables, slot, smaller.last_offset, smaller.last_row)
    bar.parts += 1
    bar.trade_count = -1 if bar.trade_count < 0 or smaller.trade_count < 0 else bar.trade_count + smaller.trade_count
    bar.has_vwap = bar.has_vwap and smaller.has_vwap
    bar.has_volume = bar.has_volume and smaller.has_volume
    add_sum(tables.volume[slot], tables.volume[part])
    add_sum(tables.notional[slot], tables.notional[part])


@inlined
def larger_bar(tables: Tables, frame: int, part: int) -> int:
    """The open bar of timeframe `frame` that the smaller bar lies in, -1: none.

    A session's last bar also takes what a source labels within the grace after the close.
    """
    smaller = tables.bars[part]
    slot = tables.heads[smaller.symbol, frame]
    while slot >= 0:
        bar = tables.bars[slot]
        if bar.open_ns <= smaller.open_ns:
            within_grace = bar.close_ns <= smaller.open_ns and smaller.open_ns < bar.due_ns
            if smaller.close_ns <= bar.close_ns or within_grace:
                return slot
        slot = bar.next
    return -1
