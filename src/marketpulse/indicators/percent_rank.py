"""Percent rank (docs/formulas/percent_rank.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import listed, shown
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.delay import DELAY_HEAD, delay_push


@kernel
def _not_above(state: Floats, row: int, length: int, value: float) -> int:
    """How many of a row's earlier values are not above this one."""
    count = 0
    for place in range(DELAY_HEAD, DELAY_HEAD + length):
        if state[row, place] <= value:
            count += 1
    return count


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the closes of the last `period` bars (delay.delay_push). Costs one pass over them per bar."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        count = _not_above(state, row, length, bars[i, CLOSE])
        full, _ = delay_push(state, row, 0, length, bars[i, CLOSE])
        out[i, 0] = 100.0 * (count / length) if full else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """How many of the closes before are not above this one."""
    length, close, none = int(parameters[0]), float(bar[CLOSE]), (math.nan,)
    count = int(_not_above(before, 0, length, close))
    earlier = before[0, DELAY_HEAD : DELAY_HEAD + length].tolist()
    full, _ = delay_push(before, 0, 0, length, close)
    if not full:
        return Explained((f"{length} closes before this one are needed: no value yet",), none)
    value = 100.0 * (count / length)
    lines = (
        f"the {length} closes before, in order of size: {listed(sorted(earlier))}",
        f"not above {shown(close)} are {count} of them",
        f"percent_rank = 100 * {count} / {length} = {shown(value)}",
    )
    return Explained(lines, (value,))


PERCENT_RANK = Indicator(
    name="percent_rank",
    title="Percent rank",
    group="statistics",
    update=update,
    explain=explain,
    parameters=(period(100),),
    state_width=lambda p: DELAY_HEAD + int(p[0]),
    warm_up=lambda p: int(p[0]),
    price_degrees=(0,),
    formula="100 * (how many of the `period` closes before are not above this one) / period",
    source="the field's definition (Connors and Alvarez 2009)",
)
