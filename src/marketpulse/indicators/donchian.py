"""Donchian channel (docs/formulas/donchian.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.price_range import highest, lowest, range_push, range_width, range_words


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the bars (price_range.range_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        held, newest = range_push(state, row, 0, length, bars[i, HIGH], bars[i, LOW])
        upper, _ = highest(state, row, 0, length, newest, held, 0)
        lower, _ = lowest(state, row, 0, length, newest, held, 0)
        middle = (upper + lower) / 2.0
        out[i, 0] = out[i, 1] = out[i, 2] = math.nan
        if held == length and math.isfinite(middle):
            out[i, 0], out[i, 1], out[i, 2] = upper, middle, lower


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The two ends of the range, and half way between them."""
    length, none = int(parameters[0]), (math.nan, math.nan, math.nan)
    held, newest = range_push(before, 0, 0, length, float(bar[HIGH]), float(bar[LOW]))
    if held < length:
        return Explained((f"{held} of {length} bars are there: no value yet",), none)
    lines, upper, lower = range_words(before, length, newest, length)
    middle = (upper + lower) / 2.0
    lines.append(f"upper = {shown(upper)}, lower = {shown(lower)}, middle = their mean = {shown(middle)}")
    return Explained(tuple(lines), (upper, middle, lower) if math.isfinite(middle) else none)


DONCHIAN = Indicator(
    name="donchian",
    title="Donchian channel",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(20),),
    outputs=("upper", "middle", "lower"),
    state_width=lambda p: range_width(int(p[0])),
    warm_up=lambda p: int(p[0]) - 1,
    reads=("high", "low"),
    pane="price",
    price_degrees=(1, 1, 1),
    formula="upper = highest high, lower = lowest low of the last `period` bars, this one included; middle = their mean",
    source="the field's definition (Donchian 1960)",
)
