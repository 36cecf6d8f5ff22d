"""Lowest close (docs/formulas/min.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.extremes import EXTREME_HEAD, lowest_push, lowest_step


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: the window (extremes.lowest_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        full, value = lowest_push(state, series[i], 0, length, bars[i, CLOSE])
        out[i, 0] = value if full else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The lowest close of the window."""
    lines, value = lowest_step(before, 0, int(parameters[0]), float(bar[CLOSE]), "closes")
    return Explained(tuple(lines), (math.nan if value is None else value,))


MIN = Indicator(
    name="min",
    title="Lowest close",
    group="statistics",
    update=update,
    explain=explain,
    parameters=(period(30),),
    state_width=lambda p: EXTREME_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    formula="lowest of the last `period` closes",
    source="TA-Lib MIN",
)
