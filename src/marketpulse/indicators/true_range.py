"""The true range of a bar, and Wilder's average of it: kernel and words, for every indicator that measures with it.

Slots: 1 once there is a previous close, that close, the average (smoothing.wilder_push). The first bar has no
true range: it has no close before it.
"""

import math

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown, wilder_step
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push

_STARTED = 0
_PREVIOUS = 1
_AVERAGE = 2
ATR_WIDTH = _AVERAGE + AVERAGE_WIDTH


@kernel
def true_range(high: float, low: float, previous: float) -> float:
    """The bar's range, stretched to the close before it."""
    return max(high - low, abs(high - previous), abs(low - previous))


@kernel
def atr_push(
    state: Floats, row: int, at: int, length: int, high: float, low: float, close: float
) -> tuple[bool, float]:
    """Take a bar into the average true range at `state[row, at:]` (ATR_WIDTH slots)."""
    started, previous = state[row, at + _STARTED], state[row, at + _PREVIOUS]
    state[row, at + _STARTED], state[row, at + _PREVIOUS] = 1.0, close
    if started == 0.0:
        return False, math.nan
    return wilder_push(state, row, at + _AVERAGE, length, true_range(high, low, previous))


def atr_step(
    state: Floats, at: int, length: int, high: float, low: float, close: float
) -> tuple[list[str], float | None]:
    """`atr_push` in words; None before the average's seed."""
    started, previous = state[0, at + _STARTED], float(state[0, at + _PREVIOUS])
    state[0, at + _STARTED], state[0, at + _PREVIOUS] = 1.0, close
    if started == 0.0:
        return ["the first bar has no close before it, and so no true range"], None
    found = max(high - low, abs(high - previous), abs(low - previous))
    distances = f"{shown(high)} - {shown(low)}, |{shown(high)} - {shown(previous)}|, |{shown(low)} - {shown(previous)}|"
    lines = [
        f"true range = max(high - low, |high - close before|, |low - close before|) = max({distances}) = {shown(found)}"
    ]
    more, value = wilder_step(state, at + _AVERAGE, length, found, "atr", "true range")
    return [*lines, *more], value
