"""How far time has come: log time, who is live, and each group's watermark (docs/semantics.md, 6, 7).

Every function here only ever moves time forward, so doing one twice changes nothing.
"""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.heap import push_bar
from marketpulse.engine.layout import LOG_TIME, MODE_HISTORICAL, N_GROUPS, N_SOURCES, NEVER, Plan, Tables


@bare_kernel
def move_log_time(tables: Tables, plan: Plan, log_time_ns: int) -> None:
    """A heartbeat or clock record was appended at `log_time_ns`: silent sources leave the minimum."""
    registers = tables.registers
    if log_time_ns <= registers[LOG_TIME]:
        return
    registers[LOG_TIME] = log_time_ns
    for s in range(registers[N_SOURCES]):
        source = tables.sources[s]
        if source.last_log_ns == NEVER:
            source.last_log_ns = log_time_ns
        # A historical source's only clock is its own event time: it may pause for as long as it likes.
        silent = log_time_ns - source.last_log_ns > plan.source_timeout_ns
        if source.live and source.mode != MODE_HISTORICAL and silent:
            source.live = 0
    for g in range(registers[N_GROUPS]):
        move_group(tables, plan, g)


@inlined
def hear_source(tables: Tables, s: int) -> None:
    """A record of this source: it is live from here on."""
    source = tables.sources[s]
    source.last_log_ns = tables.registers[LOG_TIME]
    source.live = 1


@inlined
def move_source(tables: Tables, plan: Plan, s: int, promised_ns: int) -> None:
    """No older row than `promised_ns` is expected from this source."""
    source = tables.sources[s]
    if promised_ns <= source.watermark_ns:
        return
    source.watermark_ns = promised_ns
    bit = np.uint64(1) << np.uint64(s)
    for g in range(tables.registers[N_GROUPS]):
        if tables.groups[g].feeds & bit:
            move_group(tables, plan, g)


@bare_kernel
def move_group(tables: Tables, plan: Plan, g: int) -> None:
    """The lowest watermark over the group's live sources; without one, log time behind the timeout."""
    group = tables.groups[g]
    lowest, anyone, timed = np.int64(0), False, False
    for s in range(tables.registers[N_SOURCES]):
        if not group.feeds & (np.uint64(1) << np.uint64(s)):
            continue
        source = tables.sources[s]
        timed = timed or source.mode != MODE_HISTORICAL
        if source.live and (not anyone or source.watermark_ns < lowest):
            lowest, anyone = source.watermark_ns, True
    if not anyone:
        if not timed or tables.registers[LOG_TIME] == NEVER:
            return
        lowest = tables.registers[LOG_TIME] - plan.source_timeout_ns
    if lowest > group.watermark_ns:
        group.watermark_ns = lowest


@bare_kernel
def watermark_of(tables: Tables, symbol: int) -> int:
    """The symbol's watermark: its group's, or the one it had when it joined the group."""
    who = tables.symbols[symbol]
    return max(who.floor_ns, tables.groups[who.group].watermark_ns)


@bare_kernel
def feed_symbol(tables: Tables, plan: Plan, symbol: int, s: int) -> None:
    """From this row on, source `s` feeds the symbol too. Room for one more group must be free."""
    join_group(tables, plan, symbol, tables.symbols[symbol].feeds | (np.uint64(1) << np.uint64(s)))


@bare_kernel
def switch_symbol(tables: Tables, plan: Plan, symbol: int, s: int) -> None:
    """From here on source `s` alone feeds the symbol, until the next switch: a former one that is dead holds up none of
    its bars, and what that one still brings of its own time changes nothing here. Room for one more group must be free."""
    tables.symbols[symbol].switched = 1
    join_group(tables, plan, symbol, np.uint64(1) << np.uint64(s))


@bare_kernel
def join_group(tables: Tables, plan: Plan, symbol: int, feeds: np.uint64) -> None:
    """The symbol follows the sources of this mask. Its watermark does not go back."""
    who = tables.symbols[symbol]
    old = who.group
    who.feeds = feeds
    found = -1
    for g in range(tables.registers[N_GROUPS]):
        if tables.groups[g].feeds == who.feeds:
            found = g
    if found < 0:
        found = tables.registers[N_GROUPS]
        tables.registers[N_GROUPS] = found + 1
        tables.groups[found].feeds = who.feeds
        tables.groups[found].watermark_ns = tables.groups[found].closed_ns = NEVER
        tables.groups[found].size = 0
        move_group(tables, plan, found)
    who.group = found
    if old >= 0 and old != found:
        who.floor_ns = max(who.floor_ns, tables.groups[old].watermark_ns)
        move_bars(tables, symbol, old, found)


@bare_kernel
def move_bars(tables: Tables, symbol: int, old: int, new: int) -> None:
    """The symbol's open bars wait for another group's watermark now."""
    size = tables.groups[old].size
    tables.groups[old].size = 0
    for i in range(size):  # place i is read before a push can reach it
        slot = tables.heaps[old, i]
        push_bar(tables, new if tables.bars[slot].symbol == symbol else old, slot)
