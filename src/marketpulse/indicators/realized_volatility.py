"""Realised volatility (docs/formulas/realized_volatility.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.log_return import log_return
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, positive_sum_push

_STARTED = 0  # 1 once there is a previous close
_PREVIOUS = 1
_SQUARES = 2


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: started, previous close, window of squared returns (rolling.positive_sum_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        close = bars[i, CLOSE]
        out[i, 0] = math.nan
        if state[row, _STARTED] != 0.0:
            change = log_return(state[row, _PREVIOUS], close)
            full, variance = positive_sum_push(state, row, _SQUARES, length, change * change)
            if full:
                out[i, 0] = math.sqrt(variance)
        state[row, _STARTED] = 1.0
        state[row, _PREVIOUS] = close


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The return since the close before, and the root of the window's squares."""
    length, close, none = int(parameters[0]), float(bar[CLOSE]), (math.nan,)
    if before[0, _STARTED] == 0.0:
        return Explained((f"close {shown(close)} is the first: no return yet",), none)
    previous = float(before[0, _PREVIOUS])
    change = float(log_return(previous, close))
    square = change * change
    lines = [
        f"return = ln(close / close before) = ln({shown(close)} / {shown(previous)}) = {shown(change)}",
        f"its square = {shown(square)}",
    ]
    full, total = positive_sum_push(before, 0, _SQUARES, length, square)
    if not full:
        return Explained((*lines, f"{length} returns are needed: no value yet"), none)
    value = math.sqrt(total)
    lines.append(f"sqrt(sum of the last {length} squares) = sqrt({shown(total)}) = {shown(value)}")
    return Explained(tuple(lines), (value,))


REALIZED_VOLATILITY = Indicator(
    name="realized_volatility",
    title="Realised volatility",
    group="volatility",
    update=update,
    explain=explain,
    parameters=(period(20),),
    state_width=lambda p: _SQUARES + POSITIVE_SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]),
    price_degrees=(0,),
    formula="sqrt(sum of the last `period` squared log returns), of the period, not annualised",
    source="Andersen and Bollerslev 1998; Barndorff-Nielsen and Shephard 2002",
)
