"""Highest close (docs/formulas/max.md)."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.extremes import EXTREME_HEAD, Step, highest_push, highest_step


@kernel
def extreme_close(
    sign: float,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of the highest close and, with sign -1, of the lowest. Row: the window (extremes.highest_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        full, value = highest_push(state, series[i], 0, length, sign * bars[i, CLOSE])
        out[i, 0] = sign * value if full else math.nan


def explain_extreme(step: Step, before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The highest, or the lowest, close of the window."""
    lines, value = step(before, 0, int(parameters[0]), float(bar[CLOSE]), "closes")
    return Explained(tuple(lines), (math.nan if value is None else value,))


MAX = Indicator(
    name="max",
    title="Highest close",
    group="statistics",
    update=partial(extreme_close, 1.0),
    explain=partial(explain_extreme, highest_step),
    parameters=(period(30),),
    state_width=lambda p: EXTREME_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1,),
    formula="highest of the last `period` closes",
    source="TA-Lib MAX",
)
