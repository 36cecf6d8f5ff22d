"""Simple moving average of the volume (docs/formulas/volume_sma.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import VOLUME
from marketpulse.indicators.declaration import Floats, Indicator, period
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: the window (rolling.sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        full, high, low = sum_push(state, series[i], 0, length, bars[i, VOLUME])
        value = mean(high, low, length)
        out[i, 0] = value if full and math.isfinite(value) else math.nan


VOLUME_SMA = Indicator(
    name="volume_sma",
    title="Simple moving average of the volume",
    group="volume",
    update=update,
    parameters=(period(20),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("volume",),
    pane="volume",
    formula="mean of the last `period` volumes",
    source="TA-Lib SMA, of the volume",
)
