"""Averages that never forget: the exponential one and Wilder's, three slots of a state row each.

Both begin with the plain mean of their first `length` values, as TA-Lib does, and have no value before.
The slots are: values seen (up to `length`), then the sum and its low part, later the average.
"""

from marketpulse.compiled import kernel
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.rolling import add, mean

AVERAGE_WIDTH = 3


@kernel
def seed_push(state: Floats, row: int, at: int, length: int, value: float) -> tuple[bool, float]:
    """Take one of the first `length` values; with the last one the slot holds their mean."""
    seen = int(state[row, at]) + 1
    high, low = add(state[row, at + 1], state[row, at + 2], value)
    if seen == length:
        high, low = mean(high, low, length), 0.0
    state[row, at] = seen
    state[row, at + 1] = high
    state[row, at + 2] = low
    return seen == length, high


@kernel
def ema_push(state: Floats, row: int, at: int, length: int, weight: float, value: float) -> tuple[bool, float]:
    """Exponential average: it moves by `weight` of the way to each new value."""
    if state[row, at] < length:
        return seed_push(state, row, at, length, value)
    average = state[row, at + 1]
    average += (value - average) * weight
    state[row, at + 1] = average
    return True, average


@kernel
def wilder_push(state: Floats, row: int, at: int, length: int, value: float) -> tuple[bool, float]:
    """Wilder's average: (length - 1) parts of the old one and one part of the new value."""
    if state[row, at] < length:
        return seed_push(state, row, at, length, value)
    average = (state[row, at + 1] * (length - 1) + value) / length
    state[row, at + 1] = average
    return True, average
