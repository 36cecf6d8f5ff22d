"""Skewness (docs/formulas/skew.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.moments import central_moments
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def skewness(second: float, third: float, count: int) -> float:
    """Of central moments (moments.central_moments), adjusted for the size of the sample; NaN when nothing moved."""
    return third / (second * math.sqrt(second)) * (math.sqrt(count * (count - 1.0)) / (count - 2.0))


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window (rolling.sum_push). Costs two passes over the window per bar."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        full, high, low = sum_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = math.nan
        if full:
            second, third, _ = central_moments(state, row, SUM_HEAD, length, mean(high, low, length))
            value = skewness(second, third, length)
            if math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The moments of the closes around their mean, and how they relate."""
    length = int(parameters[0])
    lines, centre = mean_of_window(before, 0, length, float(bar[CLOSE]), "closes")
    if centre is None:
        return one_value(lines, None)
    second, third, _ = central_moments(before, 0, SUM_HEAD, length, centre)
    lines.append(
        f"in units of the largest distance from the mean: mean of distance² = {shown(second)}, of distance³ = {shown(third)}"
    )
    if second == 0.0:
        return one_value((*lines, "nothing moved: no value"), None)
    value = float(skewness(second, third, length))
    lines.append(
        f"skew = mean of distance³ / (mean of distance²)^1.5 * sqrt({length} * {length - 1}) / {length - 2} = {shown(value)}"
    )
    return one_value(lines, value)


SKEW = Indicator(
    name="skew",
    title="Skewness",
    group="statistics",
    update=update,
    explain=explain,
    parameters=(period(20, minimum=3),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    price_degrees=(0,),
    formula="m3 / m2^1.5 * sqrt(n (n - 1)) / (n - 2), central moments of the last `period` closes; null when nothing moved",
    source="the adjusted Fisher-Pearson coefficient (Joanes and Gill 1998)",
)
