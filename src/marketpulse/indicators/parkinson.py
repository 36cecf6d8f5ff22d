"""Parkinson volatility (docs/formulas/parkinson.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, positive_sum_of_window, shown
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.log_return import log_return
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, positive_sum_push

_PARKINSON = 0.36067376022224085  # 1 / (4 ln 2)


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window of the bars' variances (rolling.positive_sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        span = log_return(bars[i, LOW], bars[i, HIGH])
        full, total = positive_sum_push(state, series[i], 0, length, _PARKINSON * (span * span))
        value = math.sqrt(max(total, 0.0) / length)
        out[i, 0] = value if full and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's own variance, and the root of the window's mean."""
    length, high, low = int(parameters[0]), float(bar[HIGH]), float(bar[LOW])
    span = float(log_return(low, high))
    term = _PARKINSON * (span * span)
    lines = [
        f"range = ln(high / low) = ln({shown(high)} / {shown(low)}) = {shown(span)}",
        f"term = range² / (4 ln 2) = {shown(term)}",
    ]
    more, total = positive_sum_of_window(before, 0, length, term, "terms")
    lines += more
    if total is None:
        return one_value(lines, None)
    value = math.sqrt(max(total, 0.0) / length)
    lines.append(f"parkinson = sqrt(sum / {length}) = {shown(value)}")
    return one_value(lines, value)


PARKINSON = Indicator(
    name="parkinson",
    title="Parkinson volatility",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: POSITIVE_SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("high", "low"),
    price_degrees=(0,),
    formula="sqrt(Σ ln(high / low)² / (4 ln 2 · period)), of one bar, not annualised",
    source="Parkinson 1980",
)
