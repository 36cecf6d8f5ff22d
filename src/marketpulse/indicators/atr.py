"""Average true range (docs/formulas/atr.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.true_range import ATR_WIDTH, atr_push, atr_step


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous close and average true range (true_range.atr_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        known, value = atr_push(state, series[i], 0, length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's true range, and its average."""
    high, low, close = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    return one_value(*atr_step(before, 0, int(parameters[0]), high, low, close))


ATR = Indicator(
    name="atr",
    title="Average true range",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(14),),
    state_width=lambda _: ATR_WIDTH,
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close"),
    price_degrees=(1,),
    formula="Wilder average of max(high - low, |high - previous close|, |low - previous close|)",
    source="TA-Lib ATR (Wilder 1978)",
)
