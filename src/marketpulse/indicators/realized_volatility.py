"""Realised volatility (docs/formulas/realized_volatility.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Floats, Indicator, period
from marketpulse.indicators.log_return import log_return
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, positive_sum_push

_STARTED = 0  # 1 once there is a previous close
_PREVIOUS = 1
_SQUARES = 2


@kernel
def update(
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
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


REALIZED_VOLATILITY = Indicator(
    name="realized_volatility",
    title="Realised volatility",
    group="volatility",
    update=update,
    parameters=(period(20),),
    state_width=lambda p: _SQUARES + POSITIVE_SUM_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]),
    formula="sqrt(sum of the last `period` squared log returns), of the period, not annualised",
    source="Andersen and Bollerslev 1998; Barndorff-Nielsen and Shephard 2002",
)
