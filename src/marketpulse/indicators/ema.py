"""Exponential moving average of the close (docs/formulas/ema.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the average (smoothing.ema_push)."""
    length = int(parameters[0])
    weight = 2.0 / (length + 1)
    for i in range(len(series)):
        known, value = ema_push(state, series[i], 0, length, weight, bars[i, CLOSE])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The step from the average before."""
    length = int(parameters[0])
    lines, value = ema_step(before, 0, length, 2.0 / (length + 1), float(bar[CLOSE]), "ema", "close")
    return Explained(tuple(lines), (math.nan if value is None or not math.isfinite(value) else value,))


EMA = Indicator(
    name="ema",
    title="Exponential moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda _: AVERAGE_WIDTH,
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1,),
    formula="ema += (close - ema) * 2 / (period + 1), from the mean of the first `period` closes",
    source="TA-Lib EMA",
)
