"""Rate of change as a fraction (docs/formulas/rocp.md)."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push


@kernel
def relative_change(
    unit: float,
    state: Floats,
    series: NDArray[np.int64],
    bars: Floats,
    _session: NDArray[np.int32],
    parameters: Floats,
    out: Floats,
) -> None:
    """The kernel of the relative change in any unit (1: a fraction, 100: per cent). Row: delay.delay_push."""
    length = int(parameters[0])
    for i in range(len(series)):
        close = bars[i, CLOSE]
        known, past = delay_push(state, series[i], 0, length, close)
        value = unit * ((close - past) / past)
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain_change(unit: float, name: str, before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The close, the one `period` bars before, and the one's distance from the other."""
    length, close = int(parameters[0]), float(bar[CLOSE])
    known, past = delay_push(before, 0, 0, length, close)
    if not known:
        return one_value((f"there is no close of {length} bars ago: no value yet",), None)
    value = unit * ((close - past) / past)
    lines = (
        f"past = the close {length} bars ago = {shown(past)}",
        f"{name} = {unit:g} * (close - past) / past = {unit:g} * ({shown(close)} - {shown(past)}) / {shown(past)} = {shown(value)}",
    )
    return one_value(lines, value)


ROCP = Indicator(
    name="rocp",
    title="Rate of change as a fraction",
    group="momentum",
    update=partial(relative_change, 1.0),
    explain=partial(explain_change, 1.0, "rocp"),
    parameters=(period(10),),
    state_width=lambda p: DELAY_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]),
    price_degrees=(0,),
    formula="(close - past) / past, past being the close `period` bars ago",
    source="TA-Lib ROCP",
)
