"""Commodity channel index (docs/formulas/cci.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.moments import mean_absolute_deviation
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push
from marketpulse.indicators.tie import negligible

_SCALE = 0.015  # Lambert's: most values then lie between -100 and 100


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window of typical prices (rolling.sum_push). Costs one pass over the window per bar."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        typical = (bars[i, HIGH] + bars[i, LOW] + bars[i, CLOSE]) / 3.0
        full, high, low = sum_push(state, row, 0, length, typical)
        out[i, 0] = math.nan
        if full:
            centre = mean(high, low, length)
            deviation = mean_absolute_deviation(state, row, SUM_HEAD, length, centre)
            still = negligible(typical - centre, abs(centre)) or negligible(deviation, abs(centre))
            value = 0.0 if still else (typical - centre) / (_SCALE * deviation)
            if math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The typical price's distance from its mean, in units of the usual distance."""
    length = int(parameters[0])
    high, low, close = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    typical = (high + low + close) / 3.0
    lines = [
        f"typical = (high + low + close) / 3 = ({shown(high)} + {shown(low)} + {shown(close)}) / 3 = {shown(typical)}"
    ]
    more, centre = mean_of_window(before, 0, length, typical, "typical prices")
    lines += more
    if centre is None:
        return one_value(lines, None)
    deviation = float(mean_absolute_deviation(before, 0, SUM_HEAD, length, centre))
    lines.append(f"deviation = mean of |typical - mean| = {shown(deviation)}")
    if negligible(typical - centre, abs(centre)) or negligible(deviation, abs(centre)):
        return Explained((*lines, "typical = mean but for their rounding: cci = 0"), (0.0,))
    value = (typical - centre) / (_SCALE * deviation)
    parts = f"({shown(typical)} - {shown(centre)}) / ({_SCALE} * {shown(deviation)})"
    lines.append(f"cci = (typical - mean) / ({_SCALE} * deviation) = {parts} = {shown(value)}")
    return one_value(lines, value)


CCI = Indicator(
    name="cci",
    title="Commodity channel index",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda p: SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="(typical - mean) / (0.015 * mean absolute deviation), typical being (high + low + close) / 3; 0 when nothing moved",
    source="TA-Lib CCI (Lambert 1980)",
)
