"""Drawdown (docs/formulas/drawdown.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.extremes import EXTREME_HEAD, highest_push, highest_step


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the window (extremes.highest_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        full, highest = highest_push(state, series[i], 0, length, bars[i, CLOSE])
        value = (bars[i, CLOSE] - highest) / highest
        out[i, 0] = value if full and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """How far the close is below the highest one of the window."""
    close = float(bar[CLOSE])
    lines, highest = highest_step(before, 0, int(parameters[0]), close, "closes")
    if highest is None:
        return Explained(tuple(lines), (math.nan,))
    value = (close - highest) / highest
    parts = f"({shown(close)} - {shown(highest)}) / {shown(highest)}"
    lines.append(f"drawdown = (close - highest) / highest = {parts} = {shown(value)}")
    return Explained(tuple(lines), (value if math.isfinite(value) else math.nan,))


DRAWDOWN = Indicator(
    name="drawdown",
    title="Drawdown",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(252),),
    state_width=lambda p: EXTREME_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]) - 1,
    price_degrees=(0,),
    formula="(close - highest) / highest, highest being that of the last `period` closes",
    source="the field's definition",
)
