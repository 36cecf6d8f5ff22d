"""Indicators on closed bars, in order of open time, one state per symbol × timeframe × indicator."""

import numpy as np

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.bar_columns import NAMES, WIDTH
from marketpulse.indicators.declaration import Floats


def indicate(
    state: PartitionState, config: EngineConfig, closed: np.ndarray
) -> tuple[PartitionState, Floats]:
    """Values (n, columns) of n closed bars; NaN where there is none. The state moves on."""
    return state, values_of(state.indicators, config, closed)


def values_of(rows: list[Floats], config: EngineConfig, bars: np.ndarray) -> Floats:
    """Values (n, columns) of n bars, with the indicators' states `rows` (series, width), which move on."""
    return _values(rows, config, bars, _series(config, bars))


def indicate_forming(state: PartitionState, config: EngineConfig, forming: np.ndarray) -> Floats:
    """What the values would be if these bars closed now; at most one bar a series. The state stays."""
    series = _series(config, forming)
    copies = [rows[series] for rows in state.indicators]
    return _values(copies, config, forming, np.arange(len(forming)))


def _series(config: EngineConfig, bars: np.ndarray) -> np.ndarray:
    return bars["symbol"].astype(np.int64) * len(config.frames) + bars["frame"]


def _values(rows: list[Floats], config: EngineConfig, bars: np.ndarray, series: np.ndarray) -> Floats:
    matrix = np.empty((len(bars), WIDTH))
    for column, name in enumerate(NAMES):
        matrix[:, column] = bars[name]
    session = np.ascontiguousarray(bars["session_date"])
    parts = []
    for spec, state in zip(config.indicators, rows, strict=True):
        out = np.empty((len(bars), len(spec.columns)))
        spec.update(state, series, matrix, session, out)
        parts.append(out)
    return np.hstack(parts) if parts else np.empty((len(bars), 0))
