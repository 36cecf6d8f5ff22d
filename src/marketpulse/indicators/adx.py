"""Average directional movement index (docs/formulas/adx.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown, wilder_step
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.directional_movement import MOVEMENT_WIDTH, dx_of, movement_push, movement_step
from marketpulse.indicators.dx import dx_words
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push

_AVERAGE = MOVEMENT_WIDTH
ADX_WIDTH = MOVEMENT_WIDTH + AVERAGE_WIDTH


@kernel
def adx_push(state: Floats, row: int, length: int, high: float, low: float, close: float) -> tuple[bool, float]:
    """Take a bar into the sums and the average of dx at `state[row]` (ADX_WIDTH slots).

    Where neither side moved there is no dx: in the average's seed it counts as 0, later the average stays.
    """
    if movement_push(state, row, length, high, low, close) < length:
        return False, math.nan
    moved, value = dx_of(state, row)
    if moved or state[row, _AVERAGE] < length:
        return wilder_push(state, row, _AVERAGE, length, value)
    return True, state[row, _AVERAGE + 1]


def adx_step(state: Floats, length: int, bar: Floats) -> tuple[list[str], float | None]:
    """`adx_push` in words; None before the average's seed."""
    lines, moves = movement_step(state, length, bar)
    if moves < length:
        return [*lines, f"{length} moves are needed: no dx yet"], None
    more, dx = dx_words(state)
    lines += more
    if dx is None and state[0, _AVERAGE] >= length:
        value = float(state[0, _AVERAGE + 1])
        return [*lines, f"adx stays {shown(value)}"], value
    more, average = wilder_step(state, _AVERAGE, length, dx or 0.0, "adx", "dx")
    return [*lines, *more], average


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the sums (directional_movement.movement_push), the average of dx (smoothing.wilder_push)."""
    length = int(parameters[0])
    for i in range(len(series)):
        known, value = adx_push(state, series[i], length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        out[i, 0] = value if known and math.isfinite(value) else math.nan


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The sums, their distance, and the average of that."""
    return one_value(*adx_step(before, int(parameters[0]), bar))


ADX = Indicator(
    name="adx",
    title="Average directional movement index",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda _: ADX_WIDTH,
    warm_up=lambda p: 2 * int(p[0]) - 1,
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="Wilder average of dx",
    source="TA-Lib ADX (Wilder 1978)",
)
