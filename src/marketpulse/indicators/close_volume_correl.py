"""Correlation of close and volume (docs/formulas/close_volume_correl.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.moments import correlation
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: windows of the closes and of the volumes (rolling.sum_push). Costs one pass over both per bar."""
    length = int(parameters[0])
    at = (SUM_HEAD, 2 * SUM_HEAD + length)
    for i in range(len(series)):
        row = series[i]
        full, high, low = sum_push(state, row, 0, length, bars[i, CLOSE])
        _, volume_high, volume_low = sum_push(state, row, SUM_HEAD + length, length, bars[i, VOLUME])
        out[i, 0] = math.nan
        if full:
            centres = (mean(high, low, length), mean(volume_high, volume_low, length))
            value = correlation(state, row, at, length, centres)
            if math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """Both means, and how the distances from them go together."""
    length = int(parameters[0])
    lines, centre = mean_of_window(before, 0, length, float(bar[CLOSE]), "closes")
    more, volume = mean_of_window(before, SUM_HEAD + length, length, float(bar[VOLUME]), "volumes")
    lines += more
    if centre is None or volume is None:
        return one_value(lines, None)
    at = (SUM_HEAD, 2 * SUM_HEAD + length)
    value = float(correlation(before, 0, at, length, (centre, volume)))
    formula = "Σ (close - mean) (volume - mean) / sqrt(Σ (close - mean)² * Σ (volume - mean)²)"
    lines.append(f"close_volume_correl = {formula} = {shown(value)}")
    return one_value(lines, value)


CLOSE_VOLUME_CORREL = Indicator(
    name="close_volume_correl",
    title="Correlation of close and volume",
    group="statistics",
    update=update,
    explain=explain,
    parameters=(period(30, minimum=2),),
    state_width=lambda p: 2 * (SUM_HEAD + int(p[0])),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("close", "volume"),
    price_degrees=(0,),
    formula="Pearson's correlation of the last `period` closes with their volumes; 0 when one of them stands still",
    source="TA-Lib CORREL, of close and volume",
)
