"""Normalised average true range (docs/formulas/natr.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.atr import ATR
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.true_range import atr_push, atr_step


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: as that of `atr`."""
    length = int(parameters[0])
    for i in range(len(series)):
        close = bars[i, CLOSE]
        known, average = atr_push(state, series[i], 0, length, bars[i, HIGH], bars[i, LOW], close)
        value = 100.0 * (average / close)
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The average true range, in per cent of the close."""
    close = float(bar[CLOSE])
    high, low = float(bar[HIGH]), float(bar[LOW])
    lines, average = atr_step(before, 0, int(parameters[0]), high, low, close)
    if average is None:
        return one_value(lines, None)
    value = 100.0 * (average / close)
    lines.append(f"natr = 100 * atr / close = 100 * {shown(average)} / {shown(close)} = {shown(value)}")
    return one_value(lines, value)


NATR = Indicator(
    name="natr",
    title="Normalised average true range",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=ATR.state_width,
    warm_up=ATR.warm_up,
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="100 * atr / close",
    source="TA-Lib NATR (Forman 2006)",
)
