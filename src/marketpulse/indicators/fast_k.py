"""Where a value stands between the lowest and the highest of its last bars, 0 to 100: the stochastic's raw %K.

And %K with the mean of its last values, %D: the fast stochastic, of prices or of an index.
"""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import mean_of_window, shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.extremes import EXTREME_HEAD, highest_push, highest_step, lowest_push, lowest_step
from marketpulse.indicators.rolling import SUM_HEAD, mean, sum_push
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
    state: Floats, at: int, length: int, bar: tuple[float, float, float], of: tuple[str, str, str]
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


def fast_width(length: int, smoothing: int) -> int:
    """Slots of a state row: the last %K, then the windows that it is of."""
    return SUM_HEAD + smoothing + fast_k_width(length)


@kernel
def fast_push(
    state: Floats, row: int, at: int, periods: tuple[int, int], high: float, low: float, close: float
) -> tuple[bool, float, float]:
    """Take a bar into `state[row, at:]` (fast_width slots): whether there is a %D, %K and %D.

    `periods` are those of the range and of the mean.
    """
    length, smoothing = periods
    known, k = fast_k_push(state, row, at + SUM_HEAD + smoothing, length, high, low, close)
    if not known:
        return False, k, k
    known, total, rest = sum_push(state, row, at, smoothing, k)
    return known, k, mean(total, rest, smoothing)


def fast_step(
    state: Floats, at: int, periods: tuple[int, int], bar: tuple[float, float, float], of: tuple[str, str, str]
) -> tuple[list[str], tuple[float, float] | None]:
    """`fast_push` in words; None while there is no %D."""
    length, smoothing = periods
    lines, k = fast_k_step(state, at + SUM_HEAD + smoothing, length, bar, of)
    if k is None:
        return lines, None
    more, d = mean_of_window(state, at, smoothing, k, "%K")
    lines += more
    if d is None:
        return lines, None
    return [*lines, f"k = %K = {shown(k)}; d = mean of %K = {shown(d)}"], (k, d)
