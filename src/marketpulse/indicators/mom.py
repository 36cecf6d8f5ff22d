"""Momentum (docs/formulas/mom.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the closes of the last `period` bars (delay.delay_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        close = bars[i, CLOSE]
        known, past = delay_push(state, series[i], 0, length, close)
        value = close - past
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The close, and the one `period` bars before."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    known, past = delay_push(before, 0, 0, length, close)
    if not known:
        return one_value((f"there is no close of {length} bars ago: no value yet",), None)
    value = close - past
    line = f"mom = close - close {length} bars ago = {shown(close)} - {shown(past)} = {shown(value)}"
    return one_value((line,), value)


MOM = Indicator(
    name="mom",
    title="Momentum",
    group="momentum",
    update=update,
    explain=explain,
    parameters=(period(10),),
    state_width=lambda p: DELAY_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]),
    price_degrees=(1,),
    formula="close - close `period` bars ago",
    source="TA-Lib MOM",
)
