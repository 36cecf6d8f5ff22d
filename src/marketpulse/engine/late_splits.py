"""A split record takes its place among those of its symbol: ahead of its ex time, within the window, or too late.

    a record -> the splits that are known -> (behind bars that are closed) the symbol's rows are built again

Late is a matter of each timeframe: it missed the split where a bar behind the ex time has left the correction window.
Such a one goes by what was known before, until the symbol is rebuilt (engine.rebuild); the record is a dead letter
that names it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import (
    NEVER,
    ORIGIN_BARS,
    ORIGIN_TRADES,
    TOO_LATE,
    TOO_MANY_SPLITS,
    TOO_MANY_SYMBOLS,
    Plan,
)
from marketpulse.engine.replay import anchor_floors
from marketpulse.engine.state import PartitionState
from marketpulse.engine.window import mark_stale, mark_untold

Bools = NDArray[np.bool_]


def ratio_of(record: dict[str, Any]) -> float:
    """New shares for an old one; 1 where the source has adjusted its prices itself."""
    return 1.0 if record.get("adjusted") is True else float(record["ratio"])


def take_split(
    state: PartitionState, config: EngineConfig, plan: Plan, record: dict[str, Any]
) -> tuple[int, Bools] | None:
    """Know it from here on. All that has closed is indicated, and told. None, or why it is refused and by which
    timeframes (F,)."""
    name, ex_ns, ratio = str(record["symbol"]), int(record["ex_time_ns"]), ratio_of(record)
    frames = len(config.frames)
    symbol = state.symbols.find(name)
    if state.splits.is_full(symbol, name, ex_ns):
        return TOO_MANY_SPLITS, np.zeros(frames, np.bool_)
    if symbol < 0:
        if name not in state.splits.waiting and len(state.splits.waiting) >= config.symbols_max:
            return TOO_MANY_SYMBOLS, np.zeros(frames, np.bool_)
        state.splits.wait(name, ex_ns, [ratio] * (frames + 1))
        return None
    basis = state.basis[symbol * frames : (symbol + 1) * frames]
    live = (basis["newest_ns"] >= ex_ns) & (
        basis["first_ns"] < ex_ns
    )  # before the first bar there is nothing to adjust
    revisable = np.zeros(frames, np.bool_)
    if state.tables.symbols["origin"][symbol] == ORIGIN_TRADES:
        revisable[plan.ticks :] = True
    missed = live & np.where(revisable, _settled(state, config, plan, symbol) >= ex_ns, True)
    same = _went_by(state, symbol, ex_ns, frames) == ratio
    state.splits.put(symbol, ex_ns, ratio, missed)
    if np.any(revisable & live & ~missed & ~same):
        state.tables.symbols["dirty"][symbol] = 1
        mark_stale(state.tables, symbol)
    missed &= ~same
    if (
        missed.any()
        and state.tables.symbols["origin"][symbol] == ORIGIN_BARS
        and not state.tables.symbols["sealed"][symbol]
    ):
        mark_untold(state.tables, symbol)  # its rows are built again from all kept bars, by what is known now
        return None
    return (TOO_LATE, missed) if missed.any() else None


def _went_by(state: PartitionState, symbol: int, ex_ns: int, frames: int) -> NDArray[np.float64]:
    """By timeframe, the ratio that was used at this time before."""
    own = state.splits.of(symbol)
    found: NDArray[np.float64] = state.splits.used[own][state.splits.rows["ex_ns"][own] == ex_ns]
    return found[0].copy() if len(found) else np.ones(frames)


def _settled(state: PartitionState, config: EngineConfig, plan: Plan, symbol: int) -> NDArray[np.int64]:
    """By timeframe, the newest open time of the bars that nothing can change any more: those behind the anchor, and those
    that it may go past. Where it stands hangs on snapshots, so it does not decide alone."""
    frames = len(config.frames)
    floors = np.full(state.tables.symbols.size, NEVER)
    anchor_floors(state.tables, plan, floors)
    newest: NDArray[np.int64] = state.anchor.basis["newest_ns"][symbol * frames : (symbol + 1) * frames].copy()
    told, _, _ = state.told.rows(len(config.columns()))
    told = told[(told["symbol"] == symbol) & (told["close_ns"] <= floors[symbol]) & ~np.isnan(told["open"])]
    np.maximum.at(newest, told["frame"], told["open_ns"])
    return newest
