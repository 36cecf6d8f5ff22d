"""Aroon oscillator (docs/formulas/aroonosc.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.aroon import AROON, explain_recency, recency
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params
from marketpulse.indicators.price_range import range_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: `period + 1` bars (price_range.range_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        held, newest = range_push(state, row, 0, length + 1, bars[i, HIGH], bars[i, LOW])
        down, up = recency(state, row, length, newest, held)
        out[i, 0] = up - down if held == length + 1 else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """Both Aroon lines, and the one without the other."""
    lines, down, up = explain_recency(before, bar, int(parameters[0]))
    if math.isfinite(up):
        lines.append(f"aroonosc = up - down = {shown(up)} - {shown(down)} = {shown(up - down)}")
    return one_value(lines, up - down)


AROONOSC = Indicator(
    name="aroonosc",
    title="Aroon oscillator",
    group="trend",
    update=update,
    explain=explain,
    parameters=AROON.parameters,
    state_width=AROON.state_width,
    warm_up=AROON.warm_up,
    reads=AROON.reads,
    price_degrees=(0,),
    formula="aroon up - aroon down",
    source="TA-Lib AROONOSC (Chande 1995)",
)
