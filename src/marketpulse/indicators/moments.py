"""How far the values of a window lie from its mean. One pass each, from distances: squares are never subtracted."""

from marketpulse.compiled import kernel
from marketpulse.indicators.declaration import Floats


@kernel
def mean_absolute_deviation(state: Floats, row: int, at: int, count: int, centre: float) -> float:
    """Mean distance of `state[row, at:at + count]` from `centre`, which is their mean."""
    total = 0.0
    for place in range(at, at + count):
        total += abs(state[row, place] - centre)
    return total / count
