"""Simple moving average of the close (docs/formulas/sma.md)."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def average_of(
    column: int,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of each indicator that is the mean of one column. Row: the window (rolling.sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        full, high, low = sum_push(state, series[i], 0, length, bars[i, column])
        value = mean(high, low, length)
        out[i, 0] = value if full and math.isfinite(value) else math.nan


def explain_average(column: int, of: str, before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The window, its sum and its mean."""
    lines, value = mean_of_window(before, 0, int(parameters[0]), float(bar[column]), of)
    return Explained(tuple(lines), (math.nan if value is None or not math.isfinite(value) else value,))


SMA = Indicator(
    name="sma",
    title="Simple moving average",
    group="trend",
    update=partial(average_of, CLOSE),
    explain=partial(explain_average, CLOSE, "closes"),
    parameters=(period(20),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1,),
    formula="mean of the last `period` closes",
    source="TA-Lib SMA",
)
