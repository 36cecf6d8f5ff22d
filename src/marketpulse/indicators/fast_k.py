"""Where a value stands between the lowest and the highest of its last bars, 0 to 100: the stochastic's raw %K."""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.extremes import EXTREME_HEAD, highest_push, highest_step, lowest_push, lowest_step
from marketpulse.indicators.tie import tied


def fast_k_width(length: int) -> int:
    """Slots of a state row: the window of the highs and that of the lows."""
    return 2 * (EXTREME_HEAD + length)


@kernel
def fast_k_push(
    state: Floats, row: int, at: int, length: int, high: float, low: float, close: float
) -> tuple[bool, float]:
    """Take a bar into the windows at `state[row, at:]`; whether they are full, and %K (0 where nothing moved)."""
    _, highest = highest_push(state, row, at, length, high)
    full, lowest = lowest_push(state, row, at + EXTREME_HEAD + length, length, low)
    return full, 0.0 if tied(highest, lowest) else 100.0 * ((close - lowest) / (highest - lowest))


def fast_k_step(
    state: Floats,
    at: int,
    length: int,
    bar: tuple[float, float, float],
    of: tuple[str, str, str],
) -> tuple[list[str], float | None]:
    """`fast_k_push` in words: the bar's high, low and close, and `of` what these are."""
    high, low, close = bar
    highs, lows, now = of
    lines, highest = highest_step(state, at, length, high, highs)
    more, lowest = lowest_step(state, at + EXTREME_HEAD + length, length, low, lows)
    lines += more
    if highest is None or lowest is None:
        return lines, None
    if tied(highest, lowest):
        return [*lines, "highest = lowest: %K = 0"], 0.0
    value = 100.0 * ((close - lowest) / (highest - lowest))
    parts = f"100 * ({shown(close)} - {shown(lowest)}) / ({shown(highest)} - {shown(lowest)})"
    return [*lines, f"%K = 100 * ({now} - lowest) / (highest - lowest) = {parts} = {shown(value)}"], value
