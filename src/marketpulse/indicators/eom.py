"""Ease of movement (docs/formulas/eom.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, shown
from marketpulse.indicators.bar_columns import HIGH, LOW, VOLUME
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push

_SCALE = 10_000.0  # as charts have it: prices and volumes in their own units would give tiny numbers
_EMPTY = DELAY_HEAD + 1
_WINDOW = _EMPTY + 1


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: previous middle (delay.delay_push), bars until none without volume is left, window (rolling.sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        high, low, volume = bars[i, HIGH], bars[i, LOW], bars[i, VOLUME]
        out[i, 0] = math.nan
        started, previous = delay_push(state, row, 0, 1, (high + low) / 2.0)
        if started:
            traded = volume > 0.0
            ease = _SCALE * (((high + low) / 2.0 - previous) * (high - low) / volume) if traded else 0.0
            state[row, _EMPTY] = length if not traded else max(state[row, _EMPTY] - 1.0, 0.0)
            full, total, rest = sum_push(state, row, _WINDOW, length, ease)
            value = mean(total, rest, length)
            if full and state[row, _EMPTY] == 0.0 and math.isfinite(value):
                out[i, 0] = value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """How far the bar's middle moved per volume and range, and the mean of that."""
    length, none = int(parameters[0]), (math.nan,)
    high, low, volume = float(bar[HIGH]), float(bar[LOW]), float(bar[VOLUME])
    middle = (high + low) / 2.0
    started, previous = delay_push(before, 0, 0, 1, middle)
    if not started:
        return Explained((f"middle {shown(middle)} is the first: no movement yet",), none)
    ease, empty = 0.0, length
    line = "the bar has no volume: it has no ease, and none has a value that counts it"
    if volume > 0.0:
        ease = _SCALE * ((middle - previous) * (high - low) / volume)
        empty = max(int(before[0, _EMPTY]) - 1, 0)
        parts = f"{_SCALE:g} * ({shown(middle)} - {shown(previous)}) * ({shown(high)} - {shown(low)}) / {shown(volume)}"
        line = f"ease = {_SCALE:g} * (middle - middle before) * (high - low) / volume = {parts} = {shown(ease)}"
    more, value = mean_of_window(before, _WINDOW, length, ease, "eases")
    if value is not None and empty:
        more.append(f"a bar without volume leaves in {empty} bars: no value")
    if value is None or empty or not math.isfinite(value):
        return Explained((line, *more), none)
    return Explained((line, *more), (value,))


EOM = Indicator(
    name="eom",
    title="Ease of movement",
    group="volume",
    update=update,
    explain=explain,
    parameters=(period(14),),
    state_width=lambda p: _WINDOW + SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "volume"),
    price_degrees=(3,),
    formula="mean of 10000 * (middle - previous middle) * (high - low) / volume, middle being (high + low) / 2; null without volume",
    source="Arms 1989",
)
