"""The highest high and the lowest low of the last bars, and how long ago they were.

Slots: a window of highs, then one of lows (window.window_push), of `size` bars each. One pass over the bars asked for.
"""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push


def range_width(size: int) -> int:
    """Slots that the highs and lows of `size` bars take."""
    return 2 * (WINDOW_HEAD + size)


@kernel
def range_push(state: Floats, row: int, at: int, size: int, high: float, low: float) -> tuple[int, int]:
    """Take a bar into the windows at `state[row, at:]` (range_width slots).

    Returns how many bars they hold now, and the place of this one.
    """
    window_push(state, row, at + WINDOW_HEAD + size, size, low)
    return window_push(state, row, at, size, high)


@kernel
def highest(state: Floats, row: int, at: int, size: int, newest: int, count: int) -> tuple[float, int]:
    """The highest of the newest `count` highs, and how many bars ago it was; of equal ones the newest."""
    ring = at + WINDOW_HEAD
    found: float = state[row, ring + newest]
    since = 0
    for age in range(1, count):
        value = state[row, ring + earlier(newest, size, age)]
        if value > found:
            found, since = value, age
    return found, since


@kernel
def lowest(state: Floats, row: int, at: int, size: int, newest: int, count: int) -> tuple[float, int]:
    """The lowest of the newest `count` lows, and how many bars ago it was; of equal ones the newest."""
    ring = at + 2 * WINDOW_HEAD + size
    found: float = state[row, ring + newest]
    since = 0
    for age in range(1, count):
        value = state[row, ring + earlier(newest, size, age)]
        if value < found:
            found, since = value, age
    return found, since


@kernel
def middle(state: Floats, row: int, at: int, size: int, newest: int, count: int) -> float:
    """Half way between the lowest low and the highest high of the newest `count` bars."""
    high, _ = highest(state, row, at, size, newest, count)
    low, _ = lowest(state, row, at, size, newest, count)
    return (high + low) / 2.0


def range_words(
    state: Floats, at: int, size: int, newest: int, count: int, of: tuple[str, str] = ("highs", "lows")
) -> tuple[list[str], float, float]:
    """Both extremes of the newest `count` bars, in words and as numbers."""
    high, high_since = highest(state, 0, at, size, newest, count)
    low, low_since = lowest(state, 0, at, size, newest, count)
    lines = [
        f"highest of the last {count} {of[0]} = {shown(high)}, {high_since} bars ago",
        f"lowest of the last {count} {of[1]} = {shown(low)}, {low_since} bars ago",
    ]
    return lines, float(high), float(low)
