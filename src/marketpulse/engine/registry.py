"""The sources, symbols and calendars that a partition has met."""

from bisect import bisect_left

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.growth import grow_symbols
from marketpulse.engine.layout import N_GROUPS, N_SOURCES, N_SYMBOLS, NEVER, NO_LATE_BARS, SOURCES_MAX, UNPINNED
from marketpulse.engine.sessions import join_sessions
from marketpulse.engine.state import PartitionState
from marketpulse.model.session import SessionTable


def add_source(state: PartitionState, config: EngineConfig, name: str) -> int:
    """A source's row; new ones start with the configured lateness. -1 past SOURCES_MAX."""
    known = len(state.sources)
    if known == SOURCES_MAX:
        return state.sources.find(name)
    index = state.sources.intern(name)
    if index == known:
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
    row["feeds"], row["switched"], row["group"], row["floor_ns"] = 0, 0, -1, NEVER
    row["until_ns"] = NEVER
    row["calendar"], row["session"] = place, -1
    row["changed_offset"] = row["quote_head"] = -1
    row["pinned_ns"], row["late_due_ns"] = UNPINNED, NO_LATE_BARS
    state.tables.last_quotes["offset"][2 * index : 2 * index + 2] = -1
    unheard = state.tables.quality[2 * index : 2 * index + 2]
    unheard["day"] = -1
    for field in ("time_ns", "split_ns", "yield_ns", "dividend_ns"):
        unheard[field] = NEVER
    row["newest_ns"] = row["next_floor_ns"] = row["floor_by_count_ns"] = NEVER
    state.tables.registers[N_SYMBOLS] = index + 1
    rank = bisect_left(state.alphabet, name)
    state.alphabet.insert(rank, name)
    state.splits.adopt(name, index)
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
