"""True range (docs/formulas/trange.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.true_range import TRUE_RANGE_WIDTH, true_range_push, true_range_step


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    _parameters: Floats,
    out: Floats,
) -> None:
    """Row: previous close (true_range.true_range_push)."""
    for i in range(len(series)):
        known, value = true_range_push(state, series[i], 0, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, _parameters: Params) -> Explained:
    """The largest of the three distances."""
    high, low, close = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    line, value = true_range_step(before, 0, high, low, close, "trange")
    return one_value((line,), value)


TRANGE = Indicator(
    name="trange",
    title="True range",
    group="volatility",
    update=update,
    explain=explain,
    state_width=lambda _: TRUE_RANGE_WIDTH,
    warm_up=lambda _: 1,
    reads=("high", "low", "close"),
    price_degrees=(1,),
    formula="max(high - low, |high - previous close|, |low - previous close|)",
    source="TA-Lib TRANGE (Wilder 1978)",
)
