"""Bollinger bands (docs/formulas/bbands.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Parameter, Params, period
from marketpulse.indicators.moments import population_deviation
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window (rolling.sum_push). Costs one pass over the window per bar."""
    length, deviations = int(parameters[0]), parameters[1]
    for i in range(len(series)):
        row = series[i]
        full, high, low = sum_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = out[i, 1] = out[i, 2] = math.nan
        if full:
            middle = mean(high, low, length)
            width = deviations * population_deviation(state, row, SUM_HEAD, length, middle)
            if math.isfinite(middle) and math.isfinite(width):
                out[i, 0], out[i, 1], out[i, 2] = middle + width, middle, middle - width


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The window's mean, how far its closes lie from it, and the bands at that distance."""
    length, deviations, none = int(parameters[0]), float(parameters[1]), (math.nan, math.nan, math.nan)
    lines, middle = mean_of_window(before, 0, length, float(bar[CLOSE]), "closes")
    if middle is None:
        return Explained(tuple(lines), none)
    deviation = float(population_deviation(before, 0, SUM_HEAD, length, middle))
    width = deviations * deviation
    if not (math.isfinite(middle) and math.isfinite(width)):
        return Explained(tuple(lines), none)
    upper, lower = middle + width, middle - width
    lines.append(f"deviation = sqrt(mean of (close - mean)²) = {shown(deviation)}")
    lines.append(f"upper = mean + {deviations:g} * deviation = {shown(middle)} + {shown(width)} = {shown(upper)}")
    lines.append(f"lower = mean - {deviations:g} * deviation = {shown(middle)} - {shown(width)} = {shown(lower)}")
    return Explained(tuple(lines), (upper, middle, lower))


BBANDS = Indicator(
    name="bbands",
    title="Bollinger bands",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(20, minimum=2), Parameter("deviations", 2, "float", 0, 100)),
    outputs=("upper", "middle", "lower"),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    pane="price",
    price_degrees=(1, 1, 1),
    formula="middle = sma(period); upper, lower = middle ± deviations * population standard deviation",
    source="TA-Lib BBANDS",
)
