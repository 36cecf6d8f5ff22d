"""True range: a bar's range, with the way from the close before it; and Wilder's average of it."""

import math

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown, wilder_step
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.delay import DELAY_HEAD, delay_push
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, wilder_push

TRUE_RANGE_WIDTH = DELAY_HEAD + 1  # slots: the previous close
ATR_WIDTH = TRUE_RANGE_WIDTH + AVERAGE_WIDTH


@kernel
def true_range(high: float, low: float, previous: float) -> float:
    """The bar's range, stretched to the close before it."""
    return max(high - low, abs(high - previous), abs(low - previous))


@kernel
def true_range_push(state: Floats, row: int, at: int, high: float, low: float, close: float) -> tuple[bool, float]:
    """Take a bar into `state[row, at:]` (TRUE_RANGE_WIDTH slots): whether it has a close before it, and its true range."""
    known, previous = delay_push(state, row, at, 1, close)
    return known, true_range(high, low, previous)


def true_range_step(
    state: Floats, at: int, high: float, low: float, close: float, name: str = "true range"
) -> tuple[str, float | None]:
    """`true_range_push` in words; None for the first bar."""
    known, previous = delay_push(state, 0, at, 1, close)
    if not known:
        return "the first bar has no close before it, and so no true range", None
    value = max(high - low, abs(high - previous), abs(low - previous))
    distances = f"{shown(high)} - {shown(low)}, |{shown(high)} - {shown(previous)}|, |{shown(low)} - {shown(previous)}|"
    formula = "max(high - low, |high - close before|, |low - close before|)"
    return f"{name} = {formula} = max({distances}) = {shown(value)}", value


@kernel
def atr_push(
    state: Floats, row: int, at: int, length: int, high: float, low: float, close: float
) -> tuple[bool, float]:
    """Take a bar into the average true range at `state[row, at:]` (ATR_WIDTH slots)."""
    known, value = true_range_push(state, row, at, high, low, close)
    if not known:
        return False, math.nan
    return wilder_push(state, row, at + TRUE_RANGE_WIDTH, length, value)


def atr_step(
    state: Floats, at: int, length: int, high: float, low: float, close: float
) -> tuple[list[str], float | None]:
    """`atr_push` in words; None before the average's seed."""
    line, value = true_range_step(state, at, high, low, close)
    if value is None:
        return [line], None
    more, average = wilder_step(state, at + TRUE_RANGE_WIDTH, length, value, "atr", "true range")
    return [line, *more], average
