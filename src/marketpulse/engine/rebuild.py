"""A symbol's rows again from its whole past, with trades that came too late for the window (docs/semantics.md, 11).

    a beginning, the parts of a history -> the rows as they were, and as they should be -> the anchor, what is to be told

At the beginning the symbol's anchor is moved up to its window, and pinned there. The history has what lies behind the anchor,
and the engine knows what lies ahead of it: the trades that are newer or came since, and its rows with their revisions. So both
builds go from nothing to the anchor. Of the first, readers know its rows; the second one takes the anchor's place. From there
on it is a revision like any other (engine.revise): the window's trades go in again, and what differs is told.
"""

from typing import Any

import numpy as np

from marketpulse.engine.alerting import know_past, pass_by
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.growth import grow_quotes
from marketpulse.engine.indicate import Memory, values_of
from marketpulse.engine.layout import (
    FREE_QUOTES,
    KEPT,
    LOG_TIME,
    NEVER,
    NO_PLACE,
    ORIGIN_TRADES,
    QUOTE,
    UNPINNED,
    VENUES_MAX,
    Plan,
)
from marketpulse.engine.past import place_quotes, place_trades
from marketpulse.engine.quotes import find_slot
from marketpulse.engine.registry import add_source
from marketpulse.engine.replay import anchor_floors
from marketpulse.engine.rewind import build_bars, by_time, forget_anchor, move_anchor
from marketpulse.engine.sessions import bar_span, find_session
from marketpulse.engine.splits import frame_factors
from marketpulse.engine.state import REVISED, PartitionState, WaitingRebuild
from marketpulse.engine.window import mark_stale
from marketpulse.errors import ParameterError
from marketpulse.indicators.declaration import Floats
from marketpulse.model.history import HEALED, REPLACED, History, joined_parts, read_id, read_part
from marketpulse.model.market import ABSENT, Kind, MarketBatch

Place = tuple[int, int]


class StaleHistory(ParameterError):
    """The history ends before the rebuild has begun, or it began too long ago."""


def is_last_part(record: dict[str, Any]) -> bool:
    """Whether the rebuild is whole with this record."""
    return bool(record.get("part", -1) + 1 == record.get("parts"))


def ends_a_rebuild(batch: MarketBatch) -> bool:
    """Whether the batch has the last record of a rebuild: then it takes long."""
    return any(batch.kind[row] == Kind.REBUILD and is_last_part(record) for row, record in batch.rare.items())


def begin_rebuild(
    state: PartitionState, config: EngineConfig, plan: Plan, record: dict[str, Any], place: Place
) -> None:
    """From here on the symbol's anchor stays. All that is known is told before: so whoever reads what was told up to
    here knows every row behind the anchor, with its revision. Raises ParameterError when nothing can be built."""
    name, identity = str(record["symbol"]), read_id(record)
    symbol = state.symbols.find(name)
    if symbol == ABSENT or state.tables.symbols["origin"][symbol] != ORIGIN_TRADES or plan.ticks == plan.length.size:
        raise ParameterError(f"no bar of {name} is made from trades and cut by time")
    _give_up(state, name)
    move_anchor(state, config, plan)
    floors = np.full(state.tables.symbols.size, NEVER)
    anchor_floors(state.tables, plan, floors)
    state.tables.symbols["pinned_ns"][symbol] = floors[symbol]
    log_ns = int(state.tables.registers[LOG_TIME])
    state.rebuilds[name] = WaitingRebuild(symbol, identity, place[0], log_ns)


def take_part(state: PartitionState, config: EngineConfig, plan: Plan, record: dict[str, Any], place: Place) -> None:
    """One part; with the last one, whose place in the log is (offset, row), the symbol's rows are built again.

    Raises StaleHistory, or ParameterError when parts are missing or nothing can be built; the rebuild is given up then.
    """
    name = str(record["symbol"])
    waiting = state.rebuilds.get(name)
    try:
        part = read_part(record)
        if waiting is None or waiting.id != part.id:
            raise ParameterError(f"the rebuild {part.id!r} has not begun, or another one of {name} has since")
        if not (part.follows(waiting.parts[-1]) if waiting.parts else part.part == 0):
            raise ParameterError(f"part {part.part} of the rebuild {part.id!r} does not follow the one before it")
        if part.history.covers_offset < waiting.offset:
            raise StaleHistory(
                f"the history of {name} ends at offset {part.history.covers_offset}, before the rebuild's "
                f"beginning at {waiting.offset}"
            )
        if waiting.is_over(int(state.tables.registers[LOG_TIME])):
            raise StaleHistory(f"the rebuild {part.id!r} of {name} began too long ago")
        waiting.parts.append(part)
        if part.is_last:
            _rebuild(state, config, plan, joined_parts(waiting.parts), waiting, place)
            _give_up(state, name)
    except ParameterError:
        _give_up(state, name)
        raise
    except ValueError as error:
        _give_up(state, name)
        raise ParameterError(str(error)) from None


def _give_up(state: PartitionState, name: str) -> None:
    """No rebuild of this symbol is on its way any more."""
    if (waiting := state.rebuilds.pop(name, None)) is not None:
        state.tables.symbols["pinned_ns"][waiting.symbol] = UNPINNED


def _rebuild(
    state: PartitionState, config: EngineConfig, plan: Plan, past: History, waiting: WaitingRebuild, place: Place
) -> None:
    symbol = waiting.symbol
    who = state.tables.symbols[symbol]
    floor = int(who["pinned_ns"])
    trades, side = _trades(state, config, past, symbol, place)
    if np.any(trades["event_ns"][side == HEALED] >= floor):
        raise ParameterError(f"a trade of {past.symbol} that is to come in is not behind the correction window")
    inside = place_trades(state.tables, state.sessions, plan, symbol, trades, side == HEALED)
    inside &= (trades["event_ns"] < floor) & (trades["offset"] < waiting.offset)
    trades, side = trades[inside], side[inside]
    known_quotes, quotes = past.tables["quotes"], past.tables["late_quotes"]
    quotes = _quotes(state, plan, np.concatenate([known_quotes, quotes]), symbol, floor)
    known_quotes = _quotes(state, plan, known_quotes, symbol, floor)

    known, known_values = _build(state, config, plan, symbol, trades[side != HEALED], known_quotes, floor)
    _know(state, config, past, symbol, known, known_values)
    state.splits.believe(symbol, plan.ticks)
    after = _build(state, config, plan, symbol, trades[side != REPLACED], quotes, floor)
    factors = frame_factors(state.splits, state.anchor.basis, after[0])
    pass_by(state.alerts, state.symbols.texts(), *after, np.ones(len(after[0]), np.bool_), factors)
    state.told.passed.append(after)
    if len(quotes):
        _keep_newest(state, plan, symbol, quotes[0], floor)
    who["changed_offset"], who["changed_row"] = place
    who["dirty"] = 1
    mark_stale(state.tables, symbol)


def _trades(
    state: PartitionState, config: EngineConfig, past: History, symbol: int, place: Place
) -> tuple[np.ndarray, np.ndarray]:
    """The history's trades (KEPT) in order of the log, and which side each is on. Those that come in now are changed here."""
    rows = past.tables["trades"]
    rows = rows[np.lexsort((rows["row"], rows["offset"]))]
    kept = np.zeros(len(rows), KEPT)
    kept["symbol"] = symbol
    kept["source"] = _numbers([add_source(state, config, name) for name in past.names["sources"]])[rows["source"]]
    kept["venue"] = _numbers([*(_venue(state, name) for name in past.names["venues"]), ABSENT])[rows["venue"]]
    kept["event_ns"] = rows["event_time_ns"]
    for name in ("price", "size", "offset", "row", "cancelled", "changed_offset", "changed_row"):
        kept[name] = rows[name]
    healed = rows["side"] == HEALED
    kept["changed_offset"][healed], kept["changed_row"][healed] = place
    names = [frame.name for frame in config.frames]
    for bit, name in enumerate(past.names["timeframes"]):
        if name in names:
            was_late = (rows["late"] >> np.uint32(bit) & 1).astype(np.uint32)
            kept["late_frames"] |= was_late << np.uint32(names.index(name))
    return kept, rows["side"]


def _quotes(state: PartitionState, plan: Plan, rows: np.ndarray, symbol: int, floor: int) -> np.ndarray:
    """Quotes of the history (PAST_QUOTE) as one chain (QUOTE), newest first; there is always room for none."""
    rows = rows[: len(rows) if plan.quotes else 0]
    rows = rows[np.lexsort((rows["row"], rows["offset"], rows["event_time_ns"]))][::-1]
    chain = np.zeros(len(rows), QUOTE)
    chain["event_ns"] = rows["event_time_ns"]
    for name in ("bid", "bid_size", "ask", "ask_size", "offset", "row"):
        chain[name] = rows[name]
    inside = place_quotes(state.tables, state.sessions, plan, symbol, chain) & (chain["event_ns"] < floor)
    chain = chain[inside]
    chain["next"] = np.append(np.arange(1, len(chain)), -1)[: len(chain)]
    return chain


def _keep_newest(state: PartitionState, plan: Plan, symbol: int, quote: np.void, floor: int) -> None:
    """The history's newest quote before the floor stands for all that are older, where it came too late to be kept."""
    if state.tables.registers[FREE_QUOTES] == 0:
        grow_quotes(state)
    tables, time = state.tables, int(quote["event_ns"])
    at = int(tables.symbols["quote_head"][symbol])
    while at >= 0 and tables.quotes["event_ns"][at] >= floor:
        at = int(tables.quotes["next"][at])
    place = ["event_ns", "offset", "row"]
    if at >= 0 and tables.quotes[place][at].item() >= quote[place].item():
        return
    opened, closed, _ = find_session(tables, state.sessions, plan, symbol, time)
    at = find_slot(tables, symbol, bar_span(plan, plan.ticks, opened, closed, time)[1])
    kept = tables.quotes[at]
    if kept["offset"] != NO_PLACE and kept["event_ns"] >= floor:
        return
    for name in ("event_ns", "session_date", "bid", "bid_size", "ask", "ask_size", "offset", "row"):
        kept[name] = quote[name]


def _build(
    state: PartitionState,
    config: EngineConfig,
    plan: Plan,
    symbol: int,
    trades: np.ndarray,
    quotes: np.ndarray,
    floor: int,
) -> tuple[np.ndarray, Floats]:
    """The symbol's bars from nothing up to the floor, in order of closing, with their values; the anchor goes on there."""
    forget_anchor(state, config, plan, symbol)
    one = np.array([symbol])
    tables, head = state.tables, int(state.tables.symbols["quote_head"][symbol])
    until = np.full(tables.symbols.size, NEVER)
    until[symbol] = floor
    state.tables = tables._replace(window=trades, quotes=quotes if plan.quotes else tables.quotes)
    tables.symbols["quote_head"][symbol] = 0 if len(quotes) else -1
    try:
        closed = build_bars(state, plan, by_time(trades, np.arange(len(trades))), one, until, at_anchor=True)
    finally:
        state.tables = tables
        tables.symbols["quote_head"][symbol] = head
    return closed, values_of(Memory.at_anchor(state), config, closed)


def _know(
    state: PartitionState, config: EngineConfig, past: History, symbol: int, bars: np.ndarray, values: Floats
) -> None:
    """Readers know these rows, as often told again as the history says."""
    alerts = past.tables["alerts"]
    factors = frame_factors(state.splits, state.anchor.basis, bars)
    know_past(state.alerts, state.symbols.texts(), symbol, bars, values, past.names["rules"], alerts, factors)
    told, _, _ = state.told.rows(len(config.columns()))
    told = told[told["symbol"] == symbol]
    names = [frame.name for frame in config.frames]
    revisions = np.zeros(len(bars), np.int64)
    again, stay = past.tables["revisions"], np.ones(len(bars), np.bool_)
    withdrawn = [np.empty(0, REVISED)]
    for number, name in enumerate(names):
        mine, theirs = bars["frame"] == number, told["frame"] == number
        stay[mine] = ~np.isin(bars["open_ns"][mine], told["open_ns"][theirs])
        if name not in past.names["timeframes"]:
            continue
        rows = again[again["timeframe"] == past.names["timeframes"].index(name)]
        rows = rows[np.argsort(rows["open_time_ns"], kind="stable")]
        places = np.flatnonzero(mine)
        if len(rows) and len(places):
            at = np.minimum(np.searchsorted(rows["open_time_ns"], bars["open_ns"][places]), len(rows) - 1)
            found = rows["open_time_ns"][at] == bars["open_ns"][places]
            bars["revision"][places[found]] = rows["bar"][at[found]]
            revisions[places[found]] = rows["indicators"][at[found]]
        opens = np.concatenate([bars["open_ns"][places], told["open_ns"][theirs]])
        gone = np.zeros(len(rows), REVISED)
        gone["symbol"], gone["frame"], gone["open_ns"] = symbol, number, rows["open_time_ns"]
        gone["bar"], gone["row"] = rows["bar"], rows["indicators"]
        withdrawn.append(gone[~np.isin(gone["open_ns"], opens)])
    state.told.know(bars[stay], values[stay], revisions[stay], np.concatenate(withdrawn))


def _venue(state: PartitionState, name: str) -> int:
    known = state.venues.find(name)
    return state.venues.intern(name) if known == ABSENT and len(state.venues) < VENUES_MAX else known


def _numbers(ids: list[int]) -> np.ndarray:
    return np.array(ids, np.int32)
