"""Detrended price oscillator (docs/formulas/dpo.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window (rolling.sum_push), the closes of the last half period and one bar (delay.delay_push)."""
    length = int(parameters[0])
    back = length // 2 + 1
    for i in range(len(series)):
        row = series[i]
        full, high, low = sum_push(state, row, 0, length, bars[i, CLOSE])
        known, past = delay_push(state, row, SUM_HEAD + length, back, bars[i, CLOSE])
        value = past - mean(high, low, length)
        out[i, 0] = value if full and known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The window's mean, and how far the close in its middle lies from it."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    back = length // 2 + 1
    lines, centre = mean_of_window(before, 0, length, close, "closes")
    known, past = delay_push(before, 0, SUM_HEAD + length, back, close)
    if centre is None or not known:
        return one_value((*lines, f"a mean and the close {back} bars ago are needed: no value yet"), None)
    value = past - centre
    lines.append(f"dpo = close {back} bars ago - mean = {shown(past)} - {shown(centre)} = {shown(value)}")
    return one_value(lines, value)


DPO = Indicator(
    name="dpo",
    title="Detrended price oscillator",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: SUM_HEAD + int(p[0]) + DELAY_HEAD + int(p[0]) // 2 + 1,
    warm_up=lambda p: max(int(p[0]) - 1, int(p[0]) // 2 + 1),
    price_degrees=(1,),
    formula="close `period` // 2 + 1 bars ago - mean of the last `period` closes",
    source="the field's definition (Pring 1991)",
)
