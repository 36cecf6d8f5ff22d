"""Z-score (docs/formulas/zscore.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.moments import population_deviation
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window (rolling.sum_push). Costs one pass over the window per bar."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        full, high, low = sum_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = math.nan
        if full:
            centre = mean(high, low, length)
            deviation = population_deviation(state, row, SUM_HEAD, length, centre)
            value = (bars[i, CLOSE] - centre) / deviation
            if math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The close's distance from the window's mean, in standard deviations."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    lines, centre = mean_of_window(before, 0, length, close, "closes")
    if centre is None:
        return one_value(lines, None)
    deviation = float(population_deviation(before, 0, SUM_HEAD, length, centre))
    lines.append(f"deviation = sqrt(mean of (close - mean)²) = {shown(deviation)}")
    if deviation == 0.0:
        return one_value((*lines, "nothing moved: no value"), None)
    value = (close - centre) / deviation
    parts = f"({shown(close)} - {shown(centre)}) / {shown(deviation)}"
    lines.append(f"zscore = (close - mean) / deviation = {parts} = {shown(value)}")
    return one_value(lines, value)


ZSCORE = Indicator(
    name="zscore",
    title="Z-score",
    group="statistics",
    update=update,
    explain=explain,
    parameters=(period(20, minimum=2),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    price_degrees=(0,),
    formula="(close - mean) / population standard deviation of the last `period` closes; null when nothing moved",
    source="the field's definition",
)
