"""Keltner channel (docs/formulas/keltner.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Parameter, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push
from marketpulse.indicators.true_range import ATR_WIDTH, atr_push, atr_step

_RANGE = AVERAGE_WIDTH


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: average of the close (smoothing.ema_push), average true range (true_range.atr_push)."""
    length, range_length, factor = int(parameters[0]), int(parameters[1]), parameters[2]
    weight = 2.0 / (length + 1)
    for i in range(len(series)):
        row = series[i]
        close = bars[i, CLOSE]
        known, middle = ema_push(state, row, 0, length, weight, close)
        ranged, atr = atr_push(state, row, _RANGE, range_length, bars[i, HIGH], bars[i, LOW], close)
        width = factor * atr
        out[i, 0] = out[i, 1] = out[i, 2] = math.nan
        if known and ranged and math.isfinite(middle + width):
            out[i, 0], out[i, 1], out[i, 2] = middle + width, middle, middle - width


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The average of the close, the average true range, and the bands at that distance."""
    length, factor, none = int(parameters[0]), float(parameters[2]), (math.nan, math.nan, math.nan)
    high, low, close = float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE])
    lines, middle = ema_step(before, 0, length, 2.0 / (length + 1), close, "ema", "close")
    more, atr = atr_step(before, _RANGE, int(parameters[1]), high, low, close)
    lines += more
    if middle is None or atr is None:
        return Explained(tuple(lines), none)
    width = factor * atr
    upper, lower = middle + width, middle - width
    lines.append(f"upper = ema + {factor:g} * atr = {shown(middle)} + {shown(width)} = {shown(upper)}")
    lines.append(f"lower = ema - {factor:g} * atr = {shown(middle)} - {shown(width)} = {shown(lower)}")
    return Explained(tuple(lines), (upper, middle, lower) if math.isfinite(upper) else none)


KELTNER = Indicator(
    name="keltner",
    title="Keltner channel",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(20), period(10, name="atr"), Parameter("factor", 2, "float", 0, 100)),
    outputs=("upper", "middle", "lower"),
    state_width=lambda _: AVERAGE_WIDTH + ATR_WIDTH,
    warm_up=lambda p: max(int(p[0]) - 1, int(p[1])),
    reads=("high", "low", "close"),
    pane="price",
    price_degrees=(1, 1, 1),
    formula="middle = ema(period); upper, lower = middle ± factor * atr(atr)",
    source="Keltner 1960 in Raschke's form (ema and atr), with TA-Lib's EMA and ATR",
)
