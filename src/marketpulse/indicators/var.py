"""Variance (docs/formulas/var.md)."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.moments import population_variance
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def dispersion(
    rooted: bool,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of the variance and, `rooted`, of its root. Row: the window (rolling.sum_push), passed over once per bar."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        full, high, low = sum_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = math.nan
        if full:
            value = population_variance(state, row, SUM_HEAD, length, mean(high, low, length))
            value = math.sqrt(value) if rooted else value
            if math.isfinite(value):
                out[i, 0] = value


def explain_dispersion(rooted: bool, before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The window's mean, and the mean of the squared distances from it."""
    length = int(parameters[0])
    lines, centre = mean_of_window(before, 0, length, float(bar[CLOSE]), "closes")
    if centre is None:
        return one_value(lines, None)
    value = float(population_variance(before, 0, SUM_HEAD, length, centre))
    lines.append(f"var = mean of (close - mean)² = {shown(value)}")
    if rooted:
        value = math.sqrt(value)
        lines.append(f"stddev = sqrt(var) = {shown(value)}")
    return one_value(lines, value)


VAR = Indicator(
    name="var",
    title="Variance",
    group="statistics",
    update=partial(dispersion, False),
    explain=partial(explain_dispersion, False),
    parameters=(period(5),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    price_degrees=(2,),
    formula="mean of (close - mean)² of the last `period` closes: the population's",
    source="TA-Lib VAR",
)
