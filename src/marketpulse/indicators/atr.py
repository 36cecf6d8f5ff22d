"""Average true range (docs/formulas/atr.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import wilder_step
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push
from marketpulse.indicators.true_range import TRUE_RANGE_WIDTH, true_range_push, true_range_step

_RANGE = TRUE_RANGE_WIDTH
_WIDTH = _RANGE + AVERAGE_WIDTH


@kernel
def atr_push(
    state: Floats, row: int, length: int, high: float, low: float, close: float
) -> tuple[bool, float]:
    """Take a bar into a row: whether there is an average of its true ranges, and that."""
    known, true_range = true_range_push(state, row, 0, high, low, close)
    if not known:
        return False, math.nan
    return wilder_push(state, row, _RANGE, length, true_range)


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: previous close (true_range.true_range_push), average true range (smoothing.wilder_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        known, value = atr_push(state, series[i], length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def atr_step(state: Floats, length: int, bar: Floats) -> tuple[list[str], float | None]:
    """The bar's true range, and its average; None while there is none."""
    line, true_range = true_range_step(state, 0, float(bar[HIGH]), float(bar[LOW]), float(bar[CLOSE]))
    if true_range is None:
        return [line], None
    more, value = wilder_step(state, _RANGE, length, true_range, "atr", "true range")
    return [line, *more], value


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's true range, and its average."""
    lines, value = atr_step(before, int(parameters[0]), bar)
    return Explained(tuple(lines), (value if value is not None and math.isfinite(value) else math.nan,))


ATR = Indicator(
    name="atr",
    title="Average true range",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(14),),
    state_width=lambda _: _WIDTH,
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close"),
    formula="Wilder average of max(high - low, |high - previous close|, |low - previous close|)",
    source="TA-Lib ATR (Wilder 1978)",
)
