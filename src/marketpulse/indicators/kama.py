"""Kaufman's adaptive moving average of the close (docs/formulas/kama.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown, window_entered
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push

_BEGUN = 0  # 1 once there is an average
_AVERAGE = 1
_CLOSES = 2
_FAST = 2.0 / (2 + 1)
_SLOW = 2.0 / (30 + 1)


@kernel
def travelled(state: Floats, row: int, length: int, newest: int) -> tuple[float, float]:
    """How far the close came in `length` bars, and how far it went up and down on the way."""
    size, ring = length + 1, _CLOSES + WINDOW_HEAD
    path, place = 0.0, newest
    for _ in range(length):
        before = earlier(place, size, 1)
        path += abs(state[row, ring + place] - state[row, ring + before])
        place = before
    return abs(state[row, ring + newest] - state[row, ring + place]), path


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: begun, average, the window of `period + 1` closes (window.window_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        close = bars[i, CLOSE]
        held, newest = window_push(state, row, _CLOSES, length + 1, close)
        out[i, 0] = math.nan
        if held > length:
            if state[row, _BEGUN] == 0.0:
                state[row, _BEGUN] = 1.0
                state[row, _AVERAGE] = state[row, _CLOSES + WINDOW_HEAD + earlier(newest, length + 1, 1)]
            move, path = travelled(state, row, length, newest)
            efficiency = min(move / path, 1.0) if path > 0.0 else 1.0
            pace = efficiency * (_FAST - _SLOW) + _SLOW
            average = state[row, _AVERAGE]
            average += (close - average) * (pace * pace)
            state[row, _AVERAGE] = average
            if math.isfinite(average):
                out[i, 0] = average


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """How straight the close went, how fast the average follows therefore, and its step."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    lines, newest = window_entered(before, _CLOSES, length + 1, close, "closes")
    if newest is None:
        return one_value(lines, None)
    average = float(before[0, _AVERAGE])
    if before[0, _BEGUN] == 0.0:
        average = float(before[0, _CLOSES + WINDOW_HEAD + earlier(newest, length + 1, 1)])
        lines.append(f"kama begins with the close before, {shown(average)}")
    move, path = (float(value) for value in travelled(before, 0, length, newest))
    if path > 0.0:
        efficiency = min(move / path, 1.0)
        lines.append(f"efficiency = distance / path = {shown(move)} / {shown(path)}, at most 1: {shown(efficiency)}")
    else:
        efficiency = 1.0
        lines.append("nothing moved: efficiency = 1")
    pace = efficiency * (_FAST - _SLOW) + _SLOW
    lines.append(f"pace = efficiency * (2 / 3 - 2 / 31) + 2 / 31 = {shown(pace)}")
    value = average + (close - average) * (pace * pace)
    moved = f"{shown(average)} + ({shown(close)} - {shown(average)}) * {shown(pace * pace)}"
    lines.append(f"kama = before + (close - before) * pace² = {moved} = {shown(value)}")
    return one_value(lines, value)


KAMA = Indicator(
    name="kama",
    title="Kaufman's adaptive moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(30, minimum=2),),
    state_width=lambda p: _CLOSES + WINDOW_HEAD + int(p[0]) + 1,
    warm_up=lambda p: int(p[0]),
    pane="price",
    price_degrees=(1,),
    formula="kama += (close - kama) * (efficiency * (2/3 - 2/31) + 2/31)²; efficiency = |change| / path over `period` bars",
    source="TA-Lib KAMA (Kaufman 1995)",
)
