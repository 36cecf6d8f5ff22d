"""Zero-lag exponential moving average of the close (docs/formulas/zlema.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

_CLOSES = AVERAGE_WIDTH


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the average (smoothing.ema_push), the window of `lag + 1` closes (window.window_push)."""
    length = int(parameters[0])
    weight, size = 2.0 / (length + 1), (length - 1) // 2 + 1
    for i in range(len(series)):
        row = series[i]
        close = bars[i, CLOSE]
        held, newest = window_push(state, row, _CLOSES, size, close)
        out[i, 0] = math.nan
        if held == size:
            lagged = state[row, _CLOSES + WINDOW_HEAD + earlier(newest, size, size - 1)]
            known, value = ema_push(state, row, 0, length, weight, close + (close - lagged))
            if known and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The close and its change over the lag, and the step from the average before."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    lag = (length - 1) // 2
    lines, newest = window_entered(before, _CLOSES, lag + 1, close, "closes")
    if newest is None:
        return one_value(lines, None)
    lagged = float(before[0, _CLOSES + WINDOW_HEAD + earlier(newest, lag + 1, lag)])
    ahead = close + (close - lagged)
    lines.append(
        f"ahead = close + (close - close {lag} bars ago) = {shown(close)} + ({shown(close)} - {shown(lagged)}) = {shown(ahead)}"
    )
    more, value = ema_step(before, 0, length, 2.0 / (length + 1), ahead, "zlema", "ahead")
    return one_value([*lines, *more], value)


ZLEMA = Indicator(
    name="zlema",
    title="Zero-lag exponential moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: _CLOSES + WINDOW_HEAD + (int(p[0]) - 1) // 2 + 1,
    warm_up=lambda p: int(p[0]) - 1 + (int(p[0]) - 1) // 2,
    pane="price",
    price_degrees=(1,),
    formula="ema of close + (close - close lag bars ago), lag = (period - 1) / 2 without its fraction",
    source="Ehlers and Way 2010",
)
