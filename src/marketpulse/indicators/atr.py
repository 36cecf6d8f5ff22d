"""Average true range (docs/formulas/atr.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown, wilder_step
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push

_STARTED = 0  # 1 once there is a previous close
_PREVIOUS = 1
_RANGE = 2
_WIDTH = _RANGE + AVERAGE_WIDTH


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """Row: started, previous close, average true range (smoothing.wilder_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        high, low, previous = bars[i, HIGH], bars[i, LOW], state[row, _PREVIOUS]
        out[i, 0] = math.nan
        if state[row, _STARTED] != 0.0:
            true_range = max(high - low, abs(high - previous), abs(low - previous))
            known, value = wilder_push(state, row, _RANGE, length, true_range)
            if known and math.isfinite(value):
                out[i, 0] = value
        state[row, _STARTED] = 1.0
        state[row, _PREVIOUS] = bars[i, CLOSE]


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The bar's true range, and its average."""
    high, low, none = float(bar[HIGH]), float(bar[LOW]), (math.nan,)
    if before[0, _STARTED] == 0.0:
        return Explained(("the first bar has no close before it, and so no true range",), none)
    previous = float(before[0, _PREVIOUS])
    true_range = max(high - low, abs(high - previous), abs(low - previous))
    distances = f"{shown(high)} - {shown(low)}, |{shown(high)} - {shown(previous)}|, |{shown(low)} - {shown(previous)}|"
    lines = [
        f"true range = max(high - low, |high - close before|, |low - close before|) = max({distances}) = {shown(true_range)}"
    ]
    more, value = wilder_step(before, _RANGE, int(parameters[0]), true_range, "atr", "true range")
    return Explained((*lines, *more), (value,) if value is not None and math.isfinite(value) else none)


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
