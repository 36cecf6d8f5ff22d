"""One partition's state: everything that the engine remembers between two batches.

It is handed from step to step; whoever passes it in has spent it. It grows with what it meets, and
never holds a clock, a socket or a file.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.exact_sum import DIGITS
from marketpulse.engine.layout import (
    BAR,
    FREE_BAR,
    FREE_BARS,
    GROUP,
    LOG_TIME,
    N_GROUPS,
    N_REGISTERS,
    N_SOURCES,
    N_SYMBOLS,
    NEVER,
    SOURCE,
    SOURCES_MAX,
    SYMBOL,
    Sessions,
    Tables,
)
from marketpulse.engine.sessions import join_sessions
from marketpulse.indicators.declaration import Floats
from marketpulse.model.market import StringTable
from marketpulse.model.session import SessionTable, around_the_clock

_FIRST_SYMBOLS, _FIRST_BARS, _FIRST_GROUPS = 16, 256, 4


@dataclass(slots=True)
class PartitionState:
    """The arrays of engine.layout, the names behind their ids, and the indicators' state.

    `indicators[j]` is (S × F, width of the j-th indicator): row `symbol · F + frame`.
    """

    tables: Tables
    symbols: StringTable
    sources: StringTable
    venues: StringTable
    calendars: list[str]
    sessions: Sessions
    indicators: list[Floats]
    alphabet: list[str] = field(default_factory=list)  # the symbols, sorted

    def size_bytes(self) -> int:
        return sum(a.nbytes for a in self.tables) + sum(a.nbytes for a in self.indicators)


def new_state(config: EngineConfig) -> PartitionState:
    """The state before the first record."""
    frames = len(config.frames)
    registers = np.zeros(N_REGISTERS, np.int64)
    registers[LOG_TIME] = NEVER
    bars = np.zeros(_FIRST_BARS, BAR)
    bars["next"] = np.append(np.arange(1, _FIRST_BARS), -1)
    registers[FREE_BAR], registers[FREE_BARS] = 0, _FIRST_BARS
    tables = Tables(
        registers=registers,
        sources=np.zeros(SOURCES_MAX, SOURCE),
        symbols=np.zeros(_FIRST_SYMBOLS, SYMBOL),
        groups=np.zeros(_FIRST_GROUPS, GROUP),
        heaps=np.zeros((_FIRST_GROUPS, _FIRST_BARS), np.int32),
        bars=bars,
        volume=np.zeros((_FIRST_BARS, DIGITS), np.int64),
        notional=np.zeros((_FIRST_BARS, DIGITS), np.int64),
        heads=np.full((_FIRST_SYMBOLS, frames), -1, np.int32),
        closed_until=np.full((_FIRST_SYMBOLS, frames), NEVER, np.int64),
        last_close=np.full((_FIRST_SYMBOLS, frames), np.nan),
    )
    indicators = [spec.fresh_state(_FIRST_SYMBOLS * frames) for spec in config.indicators]
    sessions = join_sessions([around_the_clock()])
    return PartitionState(tables, StringTable(), StringTable(), StringTable(), ["24x7"], sessions, indicators)


def grow_bars(state: PartitionState) -> None:
    """Twice as many slots for open bars."""
    t = state.tables
    old = t.bars.size
    bars = np.concatenate([t.bars, np.zeros(old, BAR)])
    bars["next"][old:] = np.append(np.arange(old + 1, 2 * old), t.registers[FREE_BAR])
    t.registers[FREE_BAR] = old
    t.registers[FREE_BARS] += old
    state.tables = t._replace(
        bars=bars,
        volume=_doubled(t.volume),
        notional=_doubled(t.notional),
        heaps=np.concatenate([t.heaps, np.zeros_like(t.heaps)], axis=1),
    )


def grow_groups(state: PartitionState) -> None:
    """Twice as many sets of sources."""
    t = state.tables
    state.tables = t._replace(
        groups=_doubled(t.groups), heaps=np.concatenate([t.heaps, np.zeros_like(t.heaps)])
    )


def grow_symbols(state: PartitionState) -> None:
    """Twice as many symbols, their indicators' rows included."""
    t = state.tables
    state.tables = t._replace(
        symbols=_doubled(t.symbols),
        heads=np.concatenate([t.heads, np.full_like(t.heads, -1)]),
        closed_until=np.concatenate([t.closed_until, np.full_like(t.closed_until, NEVER)]),
        last_close=np.concatenate([t.last_close, np.full_like(t.last_close, np.nan)]),
    )
    state.indicators = [_doubled(rows) for rows in state.indicators]


def _doubled(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array)])


def add_source(state: PartitionState, config: EngineConfig, name: str) -> int:
    """A source's row; new ones start with the configured lateness. Raises OverflowError past SOURCES_MAX."""
    known = len(state.sources)
    index = state.sources.intern(name)
    if index == known:
        if index >= SOURCES_MAX:
            raise OverflowError(f"more than {SOURCES_MAX} sources feed one partition")
        state.tables.registers[N_SOURCES] = index + 1
        state.tables.sources[index] = (NEVER, config.lateness_ns, NEVER, 0, 0, -1)
    return index


def add_symbol(state: PartitionState, config: EngineConfig, name: str, venue: str | None, source: int) -> int:
    """A new symbol's row, with the calendar of its venue, else its source's, else the default.

    -1 when the cap is reached.
    """
    index = len(state.symbols)
    if index >= config.symbols_max:
        return -1
    if index == state.tables.symbols.size:
        grow_symbols(state)
    state.symbols.intern(name)
    of_source = int(state.tables.sources[source]["calendar"])
    calendar = config.calendar_of_venue(venue)
    place = add_calendar(state, config, calendar) if calendar else of_source
    if place < 0:
        place = add_calendar(state, config, config.calendar)
    row = state.tables.symbols[index]
    row["feeds"], row["group"], row["floor_ns"] = 0, -1, NEVER
    row["calendar"], row["session"] = place, -1
    state.tables.registers[N_SYMBOLS] = index + 1
    rank = bisect_left(state.alphabet, name)
    state.alphabet.insert(rank, name)
    ranks = state.tables.symbols["rank"]
    ranks[:index] += ranks[:index] >= rank
    ranks[index] = rank
    return index


def add_calendar(state: PartitionState, config: EngineConfig, name: str) -> int:
    """The calendar's place in `sessions`; an unknown one is the default's."""
    if name not in state.calendars and config.sessions_of(name) is None:
        name = config.calendar
    if name not in state.calendars:
        state.calendars.append(name)
        state.sessions = join_sessions([_table(config, known) for known in state.calendars])
    return state.calendars.index(name)


def _table(config: EngineConfig, name: str) -> SessionTable:
    table = config.sessions_of(name)
    if table is None:
        raise LookupError(f"calendar {name} was known when this state was made, and is not now")
    return table


def rebuild_sessions(state: PartitionState, config: EngineConfig) -> None:
    """Fill `sessions` again from the calendars' names, after a state was read back."""
    state.sessions = join_sessions([_table(config, known) for known in state.calendars])


def groups_of(state: PartitionState, source: int) -> list[int]:
    """The groups that a source feeds."""
    feeds = state.tables.groups["feeds"][: state.tables.registers[N_GROUPS]]
    return [g for g, mask in enumerate(feeds.tolist()) if mask >> source & 1]
