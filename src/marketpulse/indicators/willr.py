"""Williams %R (docs/formulas/willr.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.extremes import EXTREME_HEAD, highest_push, highest_step, lowest_push, lowest_step
from marketpulse.indicators.tie import tied


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the windows of the highs and of the lows (extremes.highest_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        _, highest = highest_push(state, row, 0, length, bars[i, HIGH])
        full, lowest = lowest_push(state, row, EXTREME_HEAD + length, length, bars[i, LOW])
        value = -100.0 * ((highest - bars[i, CLOSE]) / (highest - lowest))
        value = 0.0 if tied(highest, lowest) else value
        out[i, 0] = value if full and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """How far the close is below the highest high, as a share of the window's range."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    lines, highest = highest_step(before, 0, length, float(bar[HIGH]), "highs")
    more, lowest = lowest_step(before, EXTREME_HEAD + length, length, float(bar[LOW]), "lows")
    lines += more
    if highest is None or lowest is None:
        return one_value(lines, None)
    if tied(highest, lowest):
        return Explained((*lines, "highest = lowest: willr = 0"), (0.0,))
    value = -100.0 * ((highest - close) / (highest - lowest))
    parts = f"-100 * ({shown(highest)} - {shown(close)}) / ({shown(highest)} - {shown(lowest)})"
    lines.append(f"willr = -100 * (highest - close) / (highest - lowest) = {parts} = {shown(value)}")
    return one_value(lines, value)


WILLR = Indicator(
    name="willr",
    title="Williams %R",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda p: 2 * (EXTREME_HEAD + int(p[0])),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="-100 * (highest high - close) / (highest high - lowest low) of `period` bars; 0 when nothing moved",
    source="TA-Lib WILLR (Williams 1973)",
)
