"""Wilder's moving average of the close (docs/formulas/rma.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, wilder_step
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the average (smoothing.wilder_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        known, value = wilder_push(state, series[i], 0, length, bars[i, CLOSE])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The step from the average before."""
    lines, value = wilder_step(before, 0, int(parameters[0]), float(bar[CLOSE]), "rma", "close")
    return one_value(lines, value)


RMA = Indicator(
    name="rma",
    title="Wilder's moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(14),),
    state_width=lambda _: AVERAGE_WIDTH,
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1,),
    formula="(rma * (period - 1) + close) / period, from the mean of the first `period` closes",
    source="Wilder 1978",
)
