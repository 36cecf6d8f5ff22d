"""Indicators on closed bars, in order of open time, one state per symbol × timeframe × indicator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.splits import Rebased, Splits, fresh_basis, no_splits, rebase
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.bar_columns import NAMES, WIDTH
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.rebase import update_rebased


@dataclass(slots=True)
class Memory:
    """What the indicators of some series remember: their states (series, width), the units that these are in (BASIS),
    and the splits that are known."""

    indicators: list[Floats]
    basis: np.ndarray
    splits: Splits

    @classmethod
    def live(cls, state: PartitionState) -> "Memory":
        return cls(state.indicators, state.basis, state.splits)

    @classmethod
    def at_anchor(cls, state: PartitionState) -> "Memory":
        return cls(state.anchor.indicators, state.anchor.basis, state.splits)

    @classmethod
    def fresh(cls, config: EngineConfig, series: int, splits: Splits | None = None) -> "Memory":
        """Before the first bar of so many series."""
        indicators = [spec.fresh_state(series) for spec in config.indicators]
        return cls(indicators, fresh_basis(series), splits or no_splits(len(config.frames)))

    def of(self, series: NDArray[np.int64]) -> "Memory":
        """A copy of these series' rows; the splits are shared."""
        return Memory([rows[series] for rows in self.indicators], self.basis[series], self.splits)


def indicate(state: PartitionState, config: EngineConfig, closed: np.ndarray) -> tuple[PartitionState, Floats]:
    """Values (n, columns) of n closed bars; NaN where there is none. The state moves on."""
    return state, values_of(Memory.live(state), config, closed)


def values_of(memory: Memory, config: EngineConfig, bars: np.ndarray) -> Floats:
    """Values (n, columns) of n bars, each of which learns its factor. The memory moves on; its rows are those of all
    series, by symbol and timeframe."""
    series = _series(config, bars)
    return _known_values(memory, config, bars, series, series)


def values_by_factors(
    states: list[Floats], config: EngineConfig, bars: np.ndarray, begins: NDArray[np.bool_]
) -> Floats:
    """The same of bars of one series that know their factors, with its states (1, width), which move on. `begins`:
    indicators.rebase.update_rebased."""
    places, factor = np.zeros(len(bars), np.int64), np.ascontiguousarray(bars["factor"])
    return _values(states, config, bars, places, Rebased(factor, begins))


def indicate_forming(state: PartitionState, config: EngineConfig, forming: np.ndarray) -> Floats:
    """What the values would be if these bars closed now; at most one bar a series. The state stays."""
    series = _series(config, forming)
    return _known_values(Memory.live(state).of(series), config, forming, series, np.arange(len(forming)))


def _series(config: EngineConfig, bars: np.ndarray) -> np.ndarray:
    return bars["symbol"].astype(np.int64) * len(config.frames) + bars["frame"]


def _known_values(
    memory: Memory, config: EngineConfig, bars: np.ndarray, series: np.ndarray, places: np.ndarray
) -> Floats:
    """`places` (n,): the row of each bar's series in the memory."""
    rebased = rebase(memory.splits, memory.basis, bars, series, places)
    bars["factor"] = 1.0 if rebased is None else rebased.factor
    return _values(memory.indicators, config, bars, places, rebased)


def _values(
    states: list[Floats], config: EngineConfig, bars: np.ndarray, places: np.ndarray, rebased: Rebased | None
) -> Floats:
    matrix = np.empty((len(bars), WIDTH))
    for column, name in enumerate(NAMES):
        matrix[:, column] = bars[name]
    session = np.ascontiguousarray(bars["session_date"])
    parts = []
    for spec, rows in zip(config.indicators, states, strict=True):
        out = np.empty((len(bars), len(spec.columns)))
        if rebased is None:
            spec.update(rows, places, matrix, session, out)
        else:
            update_rebased(spec, rows, places, matrix, session, rebased.factor, rebased.begins, out)
        parts.append(out)
    return np.concatenate(parts, axis=1) if parts else np.empty((len(bars), 0))
