"""Average directional movement rating (docs/formulas/adxr.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.adx import ADX_WIDTH, adx_push, adx_step
from marketpulse.indicators.arithmetic import one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

_VALUES = ADX_WIDTH


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: adx (adx.adx_push), the window of its last `period` values (window.window_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        known, adx = adx_push(state, row, length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        out[i, 0] = math.nan
        if known:
            held, newest = window_push(state, row, _VALUES, length, adx)
            oldest = state[row, _VALUES + WINDOW_HEAD + earlier(newest, length, length - 1)]
            value = (adx + oldest) / 2.0
            if held == length and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """adx, and its mean with what it was."""
    length = int(parameters[0])
    lines, adx = adx_step(before, length, bar)
    if adx is None:
        return one_value(lines, None)
    more, newest = window_entered(before, _VALUES, length, adx, "adx")
    lines += more
    if newest is None:
        return one_value(lines, None)
    oldest = float(before[0, _VALUES + WINDOW_HEAD + earlier(newest, length, length - 1)])
    value = (adx + oldest) / 2.0
    lines.append(
        f"adxr = (adx + adx {length - 1} bars ago) / 2 = ({shown(adx)} + {shown(oldest)}) / 2 = {shown(value)}"
    )
    return one_value(lines, value)


ADXR = Indicator(
    name="adxr",
    title="Average directional movement rating",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda p: ADX_WIDTH + WINDOW_HEAD + int(p[0]),
    warm_up=lambda p: 3 * int(p[0]) - 2,
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="(adx + adx period - 1 bars ago) / 2",
    source="TA-Lib ADXR (Wilder 1978)",
)
