"""Bars of sources that only have bars, in any order: what came late is put in by building the symbol's rows again.

    kept bars that are in  |  all kept bars  ->  the rows as readers know them  |  as they should be  ->  engine.revise

No window bounds how late such a bar may be. Nothing is remembered of the rows that have been emitted but how often those
that were revised have been: the first build gives them again. Both builds begin before the first bar.
"""

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.alerting import know_again, pass_by
from marketpulse.engine.closing import closed_up_to
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.indicate import Memory, values_of
from marketpulse.engine.layout import (
    ALONE,
    COVERED,
    DUPLICATES,
    IN_TIME,
    LATE_BAR,
    LATE_EMITTED,
    N_KEPT_BARS,
    N_LATE_SYMBOLS,
    N_SYMBOLS,
    NEVER,
    NO_LATE_BARS,
    ORIGIN_BARS,
    UNCOVERED,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.records import chosen, matches, put
from marketpulse.engine.replay import Places, drop_bars
from marketpulse.engine.rewind import build_bars, forget_anchor
from marketpulse.engine.source_bars import release_late_bars, replay_bars
from marketpulse.engine.splits import frame_factors
from marketpulse.engine.state import REVISED, PartitionState
from marketpulse.indicators.declaration import Floats


def bar_symbols(state: PartitionState, symbols: NDArray[np.integer]) -> NDArray[np.integer]:
    """Those of the symbols whose bars come from a source."""
    return symbols[state.tables.symbols["origin"][symbols] == ORIGIN_BARS]


def put_late_bars_in(state: PartitionState, config: EngineConfig, plan: Plan, symbols: NDArray[np.integer]) -> None:
    """Have `state.told` and the alerts say what readers know of these symbols' rows, and what the rows should be; the
    anchor stands behind the last of them."""
    gone = np.zeros(int(state.tables.registers[N_KEPT_BARS]), np.bool_)
    for symbol in symbols.tolist():
        _build_both(state, config, plan, symbol, gone)
    count = len(gone) - int(np.count_nonzero(gone))
    kept = state.tables.kept_bars[: len(gone)]
    put(chosen(kept, ~gone), state.tables.kept_bars)
    state.tables.registers[N_KEPT_BARS] = count


def release_at_once(state: PartitionState, source: int) -> None:
    """Late bars of what the source feeds wait no longer than to the next heartbeat or clock record."""
    symbols = state.tables.symbols
    waiting = (symbols["late_due_ns"] != NO_LATE_BARS) & (symbols["feeds"] >> np.uint64(source) & np.uint64(1) > 0)
    symbols["late_due_ns"][waiting] = NEVER


def release_all(state: PartitionState) -> None:
    """All rows that lack late bars are to be built again."""
    symbols = state.tables.symbols[: state.tables.registers[N_SYMBOLS]]
    symbols["late_due_ns"][symbols["late_due_ns"] != NO_LATE_BARS] = NEVER
    release_late_bars(state.tables)


def note_revisions(state: PartitionState, config: EngineConfig, plan: Plan, symbols: NDArray[np.integer]) -> None:
    """What `state.told` and the alerts say of these symbols has been emitted: keep only how often that was."""
    bars, values, revisions = state.told.rows(len(config.columns()))
    theirs = np.isin(bars["symbol"], symbols)
    state.told.replace(chosen(bars, ~theirs), values[~theirs], revisions[~theirs])
    mine = theirs & ((bars["revision"] > 0) | (revisions > 0))
    rows = np.zeros(int(np.count_nonzero(mine)), REVISED)
    for name in ("symbol", "frame", "open_ns"):
        rows[name] = bars[name][mine]
    rows["bar"], rows["row"] = bars["revision"][mine], revisions[mine]
    others = state.revised.rows[~np.isin(state.revised.rows["symbol"], symbols)]
    state.revised.rows = np.concatenate([others, rows])
    alerts, events = state.alerts, state.revised.events
    theirs = np.isin(alerts.retold["symbol"], symbols)
    state.revised.events = np.concatenate([events[~np.isin(events["symbol"], symbols)], alerts.retold[theirs]])
    alerts.retold = alerts.retold[~theirs]
    known = alerts.known_events()
    alerts.known = [known[~np.isin(known["symbol"], symbols)]]
    for symbol in symbols.tolist():
        drop_bars(state.anchor.tables(state.tables), plan, symbol)


def seal_longest_series(state: PartitionState) -> None:
    """The symbol with the most kept bars gives them up, and none may come late to it from here on. All that came late is
    emitted."""
    kept = state.tables.kept_bars[: state.tables.registers[N_KEPT_BARS]]
    most = int(np.argmax(np.bincount(kept["symbol"])))
    state.tables.symbols["sealed"][most], state.tables.symbols["bars_kept"][most] = 1, 0
    rest = chosen(kept, kept["symbol"] != most)
    put(rest, state.tables.kept_bars)
    state.tables.registers[N_KEPT_BARS] = len(rest)
    state.revised.rows = state.revised.rows[state.revised.rows["symbol"] != most]
    state.revised.events = state.revised.events[state.revised.events["symbol"] != most]


def _build_both(state: PartitionState, config: EngineConfig, plan: Plan, symbol: int, gone: NDArray[np.bool_]) -> None:
    """`gone` (n,): marks the kept bars that another one has taken the place of, or that are another one again."""
    bars = state.tables.kept_bars[: len(gone)]
    places = np.flatnonzero(bars["symbol"] == symbol)
    order = places[np.lexsort((bars["open_ns"][places], bars["frame"][places]))]
    key = bars[["frame", "open_ns"]][order]
    same = key[1:] == key[:-1]
    twice = np.flatnonzero(same) + 1
    again = np.zeros(len(order), np.bool_)
    again[twice] = _equal(bars, order[twice], order[twice - 1])
    last = _last_versions(same, again)

    names, revised = state.symbols.texts(), state.revised
    known, values = _build(state, config, plan, symbol, order[bars["late"][order] != LATE_BAR], as_emitted=True)
    factors = frame_factors(state.splits, state.anchor.basis, known)
    know_again(state.alerts, names, known, values, factors, revised.events[revised.events["symbol"] == symbol])
    rows, revisions = revised.rows[revised.rows["symbol"] == symbol], np.zeros(len(known), np.int64)
    mine, theirs = matches(len(config.frames), known, rows)
    known["revision"][mine], revisions[mine] = rows["bar"][theirs], rows["row"][theirs]
    state.told.know(known, values, revisions, np.delete(rows, theirs))

    state.splits.believe(symbol, plan.ticks)
    after, values = _build(state, config, plan, symbol, order[last], as_emitted=False)
    if not plan.given:
        again |= last & (bars["covered"][order] == COVERED) & (bars["late"][order] == LATE_BAR)
    state.tables.registers[DUPLICATES] += np.count_nonzero(again)
    factors = frame_factors(state.splits, state.anchor.basis, after)
    pass_by(state.alerts, names, after, values, np.ones(len(after), np.bool_), factors, of_trades=False)
    state.told.passed.append((after, values))
    bars["missed"][places] = 0
    bars["late"][places] = np.where(bars["late"][places] == IN_TIME, IN_TIME, LATE_EMITTED)
    gone[np.delete(order, np.flatnonzero(last))] = True
    who = state.tables.symbols[symbol]
    who["bars_kept"] = np.count_nonzero(last)
    if who["late_due_ns"] != NO_LATE_BARS:  # they came while something else of it was to be emitted
        who["late_due_ns"] = NO_LATE_BARS
        state.tables.registers[N_LATE_SYMBOLS] -= 1


def _build(
    state: PartitionState, config: EngineConfig, plan: Plan, symbol: int, order: NDArray[np.int64], *, as_emitted: bool
) -> tuple[np.ndarray, Floats]:
    """The symbol's rows from these kept bars up to its watermark, in order of closing, with their values; the anchor
    goes on there."""
    order = _placed(state, plan, symbol, order)
    forget_anchor(state, config, plan, symbol)
    until = np.full(state.tables.symbols.size, NEVER)
    until[symbol] = closed_up_to(state.tables, symbol)

    def put_in(
        tables: Tables, sessions: Sessions, plan: Plan, order: Places, start: int, until: Places, output: Output
    ) -> int:
        return int(replay_bars(tables, sessions, plan, order, start, until, as_emitted, output))

    closed = build_bars(state, plan, order, np.array([symbol]), until, at_anchor=True, put_in=put_in)
    return closed, values_of(Memory.at_anchor(state), config, closed)


def _equal(bars: np.ndarray, these: NDArray[np.int64], those: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether two bars that open together say the same, whichever source or record they are from."""
    same = np.ones(len(these), np.bool_)
    for name in ("close_ns", "open", "high", "low", "close", "volume", "vwap", "trade_count"):
        left, right = bars[name][these], bars[name][those]
        same &= (left == right) | ((left != left) & (right != right))
    return same


def _placed(state: PartitionState, plan: Plan, symbol: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which these kept bars are put in, smaller ones before the larger one over them; which of them are covered
    is noted."""
    bars, base = state.tables.kept_bars, state.tables.symbols["base"][symbol]
    frames, opens, closes = bars["frame"][order], bars["open_ns"][order], bars["close_ns"][order]
    if not np.any(frames[1:] != frames[:-1]):
        return order
    builds = _inside_sessions(state, plan, symbol, opens)
    covered = np.full(len(order), UNCOVERED, np.int8)
    for frame in np.unique(frames)[1:]:
        mine = frames == frame
        for over, parts in ((ALONE, frames < frame), (COVERED, builds & (plan.parent[frames, frame] >= 0))):
            starts = np.sort(opens[parts])
            some = np.searchsorted(starts, opens[mine]) < np.searchsorted(starts, closes[mine])
            covered[mine] = np.where(some, over, covered[mine])
    bars["covered"][order] = covered
    larger = frames > base
    at = np.lexsort((np.where(larger, frames, plan.length.size), np.where(larger, closes, opens)))
    placed: NDArray[np.int64] = order[at]
    return placed


def _inside_sessions(state: PartitionState, plan: Plan, symbol: int, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) which times lie in a session of the symbol: from bars outside of them nothing is built."""
    calendar = state.tables.symbols["calendar"][symbol]
    own = slice(*state.sessions.start[calendar : calendar + 2].tolist())
    opens, closes = state.sessions.open_ns[own], state.sessions.close_ns[own] + plan.grace_ns
    if not len(opens):  # it never closes
        return np.ones(len(times), np.bool_)
    at = np.searchsorted(opens, times, side="right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (times < closes[at])
    return inside


def _last_versions(same: NDArray[np.bool_], again: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) which of n bars in order of open time stay: of those that open together the last that is not one again.
    `same` (n - 1,): whether two neighbours open together."""
    place = np.where(again, 0, np.arange(len(again)))
    ends = np.flatnonzero(np.append(~same, True))
    newest = np.maximum.accumulate(place)[ends]
    stays = np.zeros(len(again), np.bool_)
    stays[newest] = True
    return stays
