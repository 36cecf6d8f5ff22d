"""Triple exponential moving average of the close (docs/formulas/tema.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.cascade import cascade_push, cascade_steps, cascade_value
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH

_DEPTH = 3


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the average, its average, and that one's (cascade.cascade_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        known = cascade_push(state, row, 0, _DEPTH, length, bars[i, CLOSE])
        one, two = cascade_value(state, row, 0, 1), cascade_value(state, row, 0, 2)
        value = 3.0 * (one - two) + cascade_value(state, row, 0, 3)
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The three averages, and how they are put together."""
    lines, averages = cascade_steps(before, 0, _DEPTH, int(parameters[0]), float(bar[CLOSE]))
    if len(averages) < _DEPTH:
        return one_value(lines, None)
    one, two, three = averages
    value = 3.0 * (one - two) + three
    parts = f"3 * ({shown(one)} - {shown(two)}) + {shown(three)}"
    lines.append(f"tema = 3 * (ema 1 - ema 2) + ema 3 = {parts} = {shown(value)}")
    return one_value(lines, value)


TEMA = Indicator(
    name="tema",
    title="Triple exponential moving average",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(30),),
    state_width=lambda _: _DEPTH * AVERAGE_WIDTH,
    warm_up=lambda p: _DEPTH * (int(p[0]) - 1),
    pane="price",
    price_degrees=(1,),
    formula="3 * (ema - ema of ema) + ema of ema of ema",
    source="TA-Lib TEMA (Mulloy 1994)",
)
