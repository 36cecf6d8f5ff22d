"""Excess kurtosis (docs/formulas/kurtosis.md)."""

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
def excess_kurtosis(second: float, fourth: float, count: int) -> float:
    """Of central moments (moments.central_moments), adjusted for the size of the sample; NaN when nothing moved."""
    tails = (count + 1.0) * (fourth / (second * second)) - 3.0 * (count - 1.0)
    return tails * ((count - 1.0) / ((count - 2.0) * (count - 3.0)))


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
            second, _, fourth = central_moments(state, row, SUM_HEAD, length, mean(high, low, length))
            value = excess_kurtosis(second, fourth, length)
            if math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The moments of the closes around their mean, and how they relate."""
    length = int(parameters[0])
    lines, centre = mean_of_window(before, 0, length, float(bar[CLOSE]), "closes")
    if centre is None:
        return one_value(lines, None)
    second, _, fourth = central_moments(before, 0, SUM_HEAD, length, centre)
    lines.append(
        f"in units of the largest distance from the mean: mean of distance² = {shown(second)}, of distance⁴ = {shown(fourth)}"
    )
    if second == 0.0:
        return one_value((*lines, "nothing moved: no value"), None)
    value = float(excess_kurtosis(second, fourth, length))
    lines.append(
        f"kurtosis = ({length + 1} * mean of distance⁴ / (mean of distance²)² - 3 * {length - 1}) * {length - 1} / ({length - 2} * {length - 3}) = {shown(value)}"
    )
    return one_value(lines, value)


KURTOSIS = Indicator(
    name="kurtosis",
    title="Excess kurtosis",
    group="statistics",
    update=update,
    explain=explain,
    parameters=(period(20, minimum=4),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    price_degrees=(0,),
    formula="((n + 1) m4 / m2² - 3 (n - 1)) * (n - 1) / ((n - 2) (n - 3)), central moments of the last `period` closes; null when nothing moved",
    source="the sample excess kurtosis (Joanes and Gill 1998)",
)
