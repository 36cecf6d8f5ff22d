"""True range: a bar's range, with the way from the close before it. `trange` itself, and what `atr` and `natr` average."""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.delay import DELAY_HEAD, delay_push

TRUE_RANGE_WIDTH = DELAY_HEAD + 1  # slots: the previous close


@kernel
def true_range_push(
    state: Floats, row: int, at: int, high: float, low: float, close: float
) -> tuple[bool, float]:
    """Take a bar into `state[row, at:]` (TRUE_RANGE_WIDTH slots): whether it has a close before it, and its true range."""
    known, previous = delay_push(state, row, at, 1, close)
    return known, max(high - low, abs(high - previous), abs(low - previous))


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
