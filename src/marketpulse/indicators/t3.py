"""Tillson's T3 moving average of the close (docs/formulas/t3.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.cascade import cascade_push, cascade_steps, cascade_value
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Parameter, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH

_DEPTH = 6


@kernel
def sharpened(three: float, four: float, five: float, six: float, factor: float) -> float:
    """The third average and the weighted first, second and third differences of those behind it.

    (1 + factor · (1 - ema))³ of the third average, multiplied out: a flat price stays exactly that price.
    """
    first, next_first, last_first = three - four, four - five, five - six
    second, next_second = first - next_first, next_first - last_first
    third = second - next_second
    return three + factor * (3.0 * first + factor * (3.0 * second + factor * third))


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: six averages, each of the one before (cascade.cascade_push)."""
    length, factor = int(parameters[0]), parameters[1]
    for i in range(len(series)):
        row = series[i]
        known = cascade_push(state, row, 0, _DEPTH, length, bars[i, CLOSE])
        three, four = cascade_value(state, row, 0, 3), cascade_value(state, row, 0, 4)
        five, six = cascade_value(state, row, 0, 5), cascade_value(state, row, 0, 6)
        value = sharpened(three, four, five, six, factor)
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The six averages, and the last four put together."""
    factor = float(parameters[1])
    lines, averages = cascade_steps(before, 0, _DEPTH, int(parameters[0]), float(bar[CLOSE]))
    if len(averages) < _DEPTH:
        return one_value(lines, None)
    three, four, five, six = averages[2:]
    value = float(sharpened(three, four, five, six, factor))
    lines.append(f"differences: {shown(three - four)}, {shown(four - five)}, {shown(five - six)}")
    lines.append(
        f"t3 = ema 3 + 3 * v * first + 3 * v² * second + v³ * third difference, v = {shown(factor)}: {shown(value)}"
    )
    return one_value(lines, value)


T3 = Indicator(
    name="t3",
    title="Tillson's T3 moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(5), Parameter("factor", 0.7, "float", 0, 1)),
    state_width=lambda _: _DEPTH * AVERAGE_WIDTH,
    warm_up=lambda p: _DEPTH * (int(p[0]) - 1),
    pane="price",
    price_degrees=(1,),
    formula="gd of gd of gd of the close, gd = ema + factor * (ema - ema of ema)",
    source="TA-Lib T3 (Tillson 1998)",
)
