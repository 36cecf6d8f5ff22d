"""Building a symbol's time bars again from its trades: from the anchor forward, in order of time.

    anchor + the window's trades, sorted by (event time, place in the log)  ->  bars and indicators

This is what a late trade, a correction or a cancel comes to: what was open or closed since the anchor
is dropped, the anchor's bars take its place, and the trades go in as if they had come in order.
Moving the anchor forward is the same walk over the trades that the window has left behind.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.alerting import begin_again, forget_events, pass_by
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.growth import grow_anchor, grow_bars, grow_quotes, grow_window
from marketpulse.engine.indicate import Memory, values_of
from marketpulse.engine.layout import (
    CLOSED,
    FOUND,
    FREE_BARS,
    FREE_QUOTES,
    LOG_TIME,
    N_CLOSED,
    N_KEPT,
    N_STALE,
    N_SYMBOLS,
    NEVER,
    REJECT,
    STALE_BARS,
    STALE_NOT,
    STALE_TOLD,
    UNPINNED,
    Output,
    Plan,
    Sessions,
    Tables,
)
from marketpulse.engine.prevailing import forget_quotes, quote_rebuilt
from marketpulse.engine.records import chosen, copied, joined, put
from marketpulse.engine.replay import (
    Places,
    anchor_floors,
    close_symbols,
    count_open,
    drop_bars,
    leave_heaps,
    read_closed_times,
    replay_trades,
    return_to_anchor,
    wait_again,
)
from marketpulse.engine.splits import frame_factors, fresh_basis
from marketpulse.engine.state import PartitionState, kept_trades
from marketpulse.engine.trade_ids import index_ids
from marketpulse.indicators.declaration import Floats

PutIn = Callable[[Tables, Sessions, Plan, Places, int, NDArray[np.int64], Output], int]
"""As engine.replay.replay_trades, of what lies at these places."""

_ROOM = 4_096
_NONE = np.empty(0, np.int32)


def rewind(
    state: PartitionState, config: EngineConfig, plan: Plan, symbols: NDArray[np.int64]
) -> tuple[np.ndarray, Floats]:
    """Build the time bars of these symbols again. Returns the n bars that are closed since the anchor, in
    order of closing by series, and their indicator values (n, columns)."""
    tables = state.tables
    marks = np.zeros(tables.symbols.size, np.int8)
    marks[symbols] = 1
    leave_heaps(tables, marks)
    for symbol in symbols:
        while tables.registers[FREE_BARS] < _slots_of(state, plan, int(symbol)):
            grow_bars(state)
            tables = state.tables
        return_to_anchor(tables, state.anchor.tables(tables), plan, symbol)
    for rows, anchored in zip(state.indicators, state.anchor.indicators, strict=True):
        series = time_series(config, plan, symbols)
        rows[series] = anchored[series]
    series = time_series(config, plan, symbols)
    state.basis[series] = state.anchor.basis[series]
    kept = kept_trades(state)
    trades = by_time(kept, np.flatnonzero(marks[kept["symbol"]]))
    until = np.full(tables.symbols.size, NEVER)
    read_closed_times(tables, symbols, until)
    closed = build_bars(state, plan, trades, symbols, until, at_anchor=False)
    for symbol in symbols:
        wait_again(state.tables, plan, symbol)
    stale = state.tables.symbols["stale"]
    state.tables.registers[N_STALE] -= np.count_nonzero(stale[symbols] == STALE_BARS)
    stale[symbols] = STALE_TOLD
    return closed, values_of(Memory.live(state), config, closed)


def move_anchor(state: PartitionState, config: EngineConfig, plan: Plan) -> None:
    """Let go of the trades that nothing can change any more, and of the rows that are made of them only.

    Where readers have not been told of a change yet, the rows as they should be are kept for that.
    """
    tables = state.tables
    for waiting in state.rebuilds.values():
        if waiting.is_over(int(tables.registers[LOG_TIME])):
            tables.symbols["pinned_ns"][waiting.symbol] = UNPINNED
    known = np.arange(tables.registers[N_SYMBOLS])
    floors, gone = _left_behind(state, plan)
    kept = kept_trades(state)
    moving = known[floors[known] > NEVER]
    closed = build_bars(state, plan, by_time(kept, np.flatnonzero(gone)), moving, floors, at_anchor=True)
    values = values_of(Memory.at_anchor(state), config, closed)
    if gone.any():
        rest = chosen(kept, ~gone)
        put(rest, tables.window)
        tables.registers[N_KEPT] = len(rest)
        index_ids(tables)
    forget_quotes(tables, floors)
    untold = tables.symbols["stale"][closed["symbol"]] != STALE_NOT
    factors = frame_factors(state.splits, state.anchor.basis, closed)
    pass_by(state.alerts, state.symbols.texts(), closed, values, untold, factors)
    if untold.any():
        state.told.passed.append((closed[untold], values[untold]))
    forget_told(state, config, closed[~untold])


def make_room(state: PartitionState, config: EngineConfig, plan: Plan) -> None:
    """The window is full: move the anchor where that frees half of it, else grow: so each trade is walked once."""
    _, gone = _left_behind(state, plan)
    if 2 * np.count_nonzero(gone) >= state.tables.window.size:
        move_anchor(state, config, plan)
    else:
        grow_window(state)


def make_room_for_quotes(state: PartitionState, config: EngineConfig, plan: Plan) -> None:
    """No place is free for a quote: move the anchor, and where that frees less than half, grow."""
    move_anchor(state, config, plan)
    if 2 * state.tables.registers[FREE_QUOTES] < state.tables.quotes.size:
        grow_quotes(state)


def _left_behind(state: PartitionState, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """By symbol, the time up to which the anchor may move; and which of the kept trades come before it."""
    floors = np.full(state.tables.symbols.size, NEVER)
    anchor_floors(state.tables, plan, floors)
    kept = kept_trades(state)
    gone = kept["event_ns"] < floors[kept["symbol"]]
    for waiting in state.rebuilds.values():
        if state.tables.symbols["pinned_ns"][waiting.symbol] != UNPINNED:
            # A bar that is open there may still take older ones: the rebuild's history has none that came since.
            gone &= (kept["symbol"] != waiting.symbol) | (kept["offset"] < waiting.offset)
    return floors, gone


def by_time(kept: np.ndarray, places: Places) -> Places:
    """Places in the window by (event time, place in the log)."""
    order: Places = places[np.argsort(kept["event_ns"][places], kind="stable")]
    return order


def time_series(config: EngineConfig, plan: Plan, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indicators' rows of the symbols' time bars."""
    frames = len(config.frames)
    rows: NDArray[np.int64] = (symbols[:, None] * frames + np.arange(plan.ticks, frames)).ravel()
    return rows


def _slots_of(state: PartitionState, plan: Plan, symbol: int) -> int:
    """Slots that a return to the anchor may take, and the row after it."""
    frames = plan.length.size
    return int(count_open(state.anchor.tables(state.tables), plan, symbol)) + 2 * frames + 2


def _put_trades(
    tables: Tables,
    sessions: Sessions,
    plan: Plan,
    order: Places,
    start: int,
    until_ns: NDArray[np.int64],
    output: Output,
) -> int:
    return int(replay_trades(tables, sessions, plan, tables.window, order, start, until_ns, output))


def build_bars(
    state: PartitionState,
    plan: Plan,
    order: Places,
    symbols: NDArray[np.int64],
    until_ns: NDArray[np.int64],
    *,
    at_anchor: bool,
    put_in: PutIn = _put_trades,
) -> np.ndarray:
    """Put in what lies at these places, trades if nothing else is said, and close each symbol's bars up to its time
    (until_ns, by symbol). Returns the closed bars with their quotes."""
    output = Output(np.empty(_ROOM + plan.length.size, CLOSED), np.empty(0, REJECT), np.empty(0, FOUND), _NONE)
    parts: list[np.ndarray] = []
    live = state.tables.registers
    kept_count, live[N_CLOSED] = live[N_CLOSED], 0
    state.anchor.registers[N_CLOSED] = 0
    done = at = 0
    while done < order.size or at < symbols.size:
        tables = state.anchor.tables(state.tables) if at_anchor else state.tables
        if tables.registers[FREE_BARS] <= 2 * plan.length.size:
            (grow_anchor if at_anchor else grow_bars)(state)
            continue
        if done < order.size:
            done = put_in(tables, state.sessions, plan, order, done, until_ns, output)
        else:
            at = close_symbols(tables, state.sessions, plan, symbols, until_ns, at, output)
        if count := int(tables.registers[N_CLOSED]):
            parts.append(copied(output.closed[:count]))
            tables.registers[N_CLOSED] = 0
    live[N_CLOSED] = kept_count
    closed = joined(parts, CLOSED)
    if plan.quotes:
        quote_rebuilt(state.tables, closed)
    return closed


def forget_anchor(state: PartitionState, config: EngineConfig, plan: Plan, symbol: int) -> None:
    """At the anchor, the symbol's time bars begin again: it has had no row there."""
    anchor = state.anchor
    drop_bars(anchor.tables(state.tables), plan, symbol)
    anchor.closed_until[symbol, plan.ticks :] = NEVER
    anchor.last_close[symbol, plan.ticks :] = np.nan
    series = time_series(config, plan, np.array([symbol]))
    for spec, rows in zip(config.indicators, anchor.indicators, strict=True):
        rows[series] = spec.fresh_state(len(series))
    anchor.basis[series] = fresh_basis(len(series))
    begin_again(state.alerts, state.symbols.texts(), symbol)


def forget_told(state: PartitionState, config: EngineConfig, closed: np.ndarray) -> None:
    """The anchor has these bars behind it now: so have those who read."""
    frames = len(config.frames)
    behind = np.full(state.tables.symbols.size * frames, NEVER)
    np.maximum.at(behind, closed["symbol"].astype(np.int64) * frames + closed["frame"], closed["open_ns"])
    bars, values, revisions = state.told.rows(len(config.columns()))
    stay = bars["open_ns"] > behind[bars["symbol"].astype(np.int64) * frames + bars["frame"]]
    state.told.replace(chosen(bars, stay), values[stay], revisions[stay])
    forget_events(state.alerts, behind.reshape(-1, frames))
