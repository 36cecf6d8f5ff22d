"""The highest high and the lowest low of the last bars, and how long ago they were.

Slots: a window of highs, then one of lows (window.window_push), of `size` bars each; then, for each range that is asked for,
how many bars ago its highest and its lowest were. The bars are gone through again only when an extreme has left its range,
so a range must be asked for on every bar, the first ones too.
"""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push


def range_width(size: int, ranges: int = 1) -> int:
    """Slots that the highs and lows of `size` bars take, with so many ranges among them."""
    return 2 * (WINDOW_HEAD + size) + 2 * ranges


@kernel
def range_push(state: Floats, row: int, at: int, size: int, high: float, low: float) -> tuple[int, int]:
    """Take a bar into the windows at `state[row, at:]` (range_width slots).

    Returns how many bars they hold now, and the place of this one.
    """
    window_push(state, row, at + WINDOW_HEAD + size, size, low)
    return window_push(state, row, at, size, high)


@kernel
def highest(state: Floats, row: int, at: int, size: int, newest: int, count: int, nth: int) -> tuple[float, int]:
    """The highest of the newest `count` highs, and how many bars ago it was; of equal ones the newest.

    `nth` is the range's number among those at `state[row, at:]`.
    """
    ring, slot = at + WINDOW_HEAD, at + 2 * (WINDOW_HEAD + size) + 2 * nth
    found: float = state[row, ring + newest]
    since, age = 0, int(state[row, slot]) + 1
    first, last = (age, age + 1) if age < count else (1, count)
    for back in range(first, last):
        value = state[row, ring + earlier(newest, size, back)]
        if value > found:
            found, since = value, back
    state[row, slot] = since
    return found, since


@kernel
def lowest(state: Floats, row: int, at: int, size: int, newest: int, count: int, nth: int) -> tuple[float, int]:
    """The lowest of the newest `count` lows, and how many bars ago it was; otherwise as `highest`."""
    ring, slot = at + 2 * WINDOW_HEAD + size, at + 2 * (WINDOW_HEAD + size) + 2 * nth + 1
    found: float = state[row, ring + newest]
    since, age = 0, int(state[row, slot]) + 1
    first, last = (age, age + 1) if age < count else (1, count)
    for back in range(first, last):
        value = state[row, ring + earlier(newest, size, back)]
        if value < found:
            found, since = value, back
    state[row, slot] = since
    return found, since


@kernel
def middle(state: Floats, row: int, at: int, size: int, newest: int, count: int, nth: int) -> float:
    """Half way between the lowest low and the highest high of the newest `count` bars."""
    high, _ = highest(state, row, at, size, newest, count, nth)
    low, _ = lowest(state, row, at, size, newest, count, nth)
    return (high + low) / 2.0


def range_words(
    state: Floats, size: int, newest: int, count: int, nth: int = 0, of: tuple[str, str] = ("highs", "lows")
) -> tuple[list[str], float, float]:
    """Both extremes of the newest `count` bars at `state[0]`, in words and as numbers."""
    high, high_since = highest(state, 0, 0, size, newest, count, nth)
    low, low_since = lowest(state, 0, 0, size, newest, count, nth)
    lines = [
        f"highest of the last {count} {of[0]} = {shown(high)}, {high_since} bars ago",
        f"lowest of the last {count} {of[1]} = {shown(low)}, {low_since} bars ago",
    ]
    return lines, float(high), float(low)
