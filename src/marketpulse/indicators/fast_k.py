"""Where a value stands between the lowest and the highest of its last bars, 0 to 100: the stochastic's raw %K."""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.extremes import EXTREME_HEAD, highest_push, highest_step, lowest_push, lowest_step


def fast_k_width(length: int) -> int:
    """Slots of a state row: the window of the highs and that of the lows."""
    return 2 * (EXTREME_HEAD + length)


@kernel
def fast_k_push(
    state: Floats, row: int, at: int, length: int, high: float, low: float, close: float, still: float
) -> tuple[bool, float]:
    """Take a bar into the windows at `state[row, at:]`; whether they are full, and %K.

    Where the range is not above `still` nothing moved, and %K is 0: 0 for prices, for computed values their rounding.
    """
    _, highest = highest_push(state, row, at, length, high)
    full, lowest = lowest_push(state, row, at + EXTREME_HEAD + length, length, low)
    span = highest - lowest
    return full, 100.0 * ((close - lowest) / span) if span > still else 0.0


def fast_k_step(
    state: Floats,
    at: int,
    length: int,
    bar: tuple[float, float, float],
    of: tuple[str, str, str],
    still: float = 0.0,
) -> tuple[list[str], float | None]:
    """`fast_k_push` in words: the bar's high, low and close, and `of` what these are."""
    high, low, close = bar
    highs, lows, now = of
    lines, highest = highest_step(state, at, length, high, highs)
    more, lowest = lowest_step(state, at + EXTREME_HEAD + length, length, low, lows)
    lines += more
    if highest is None or lowest is None:
        return lines, None
    span = highest - lowest
    if not span > still:
        return [*lines, f"highest - lowest = {shown(span)}: nothing moved, %K = 0"], 0.0
    value = 100.0 * ((close - lowest) / span)
    parts = f"100 * ({shown(close)} - {shown(lowest)}) / ({shown(highest)} - {shown(lowest)})"
    return [*lines, f"%K = 100 * ({now} - lowest) / (highest - lowest) = {parts} = {shown(value)}"], value
