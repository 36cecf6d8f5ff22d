"""Directional movement index (docs/formulas/dx.md)."""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import one_value, shown
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW
from marketpulse.indicators.declaration import Explained, Floats, Indicator, Params, period
from marketpulse.indicators.directional_movement import MINUS, MOVEMENT_WIDTH, PLUS, dx_of, movement_push, movement_step

_LAST = MOVEMENT_WIDTH


@kernel
def update(
    state: Floats, series: NDArray[np.int64], bars: Floats, _session: NDArray[np.int32], parameters: Floats, out: Floats
) -> None:
    """Row: the sums (directional_movement.movement_push), the last value."""
    length = int(parameters[0])
    for i in range(len(series)):
        row = series[i]
        moves = movement_push(state, row, length, bars[i, HIGH], bars[i, LOW], bars[i, CLOSE])
        out[i, 0] = math.nan
        if moves == length:
            moved, value = dx_of(state, row)
            if moved:
                state[row, _LAST] = value
            if math.isfinite(state[row, _LAST]):
                out[i, 0] = state[row, _LAST]


def dx_words(state: Floats) -> tuple[list[str], float | None]:
    """`dx_of` in words; None where there was no movement."""
    moved, value = dx_of(state, 0)
    if not moved:
        return ["neither side moved: no dx of this bar"], None
    plus, minus = shown(state[0, PLUS]), shown(state[0, MINUS])
    parts = f"100 * |{plus} - {minus}| / ({plus} + {minus})"
    return [f"dx = 100 * |+DM - -DM| / (+DM + -DM) = {parts} = {shown(value)}"], float(value)


def explain(before: Floats, bar: Floats, _session: int, parameters: Params) -> Explained:
    """The sums, and how far apart they are."""
    length = int(parameters[0])
    lines, moves = movement_step(before, length, bar)
    if moves < length:
        return one_value([*lines, f"{length} moves are needed: no value yet"], None)
    more, value = dx_words(before)
    if value is None:
        value = float(before[0, _LAST])
        more.append(f"dx stays {shown(value)}")
    return one_value([*lines, *more], value)


DX = Indicator(
    name="dx",
    title="Directional movement index",
    group="trend",
    update=update,
    explain=explain,
    parameters=(period(14, minimum=2),),
    state_width=lambda _: MOVEMENT_WIDTH + 1,
    warm_up=lambda p: int(p[0]),
    reads=("high", "low", "close"),
    price_degrees=(0,),
    formula="100 * |plus_di - minus_di| / (plus_di + minus_di); the value before where neither side moved",
    source="TA-Lib DX (Wilder 1978)",
)
