"""How the values of a window lie around their mean, and two windows to each other.

One pass over the window each, from distances to the mean: powers of prices are never subtracted, so
nothing cancels. `centre` is the window's mean but for its rounding; what the rounding adds is taken off again.
"""

import math

from marketpulse.compiled import kernel
from marketpulse.indicators.declaration import Floats


@kernel
def mean_absolute_deviation(state: Floats, row: int, at: int, count: int, centre: float) -> float:
    """Mean distance of `state[row, at:at + count]` from its mean."""
    total = 0.0
    for place in range(at, at + count):
        total += abs(state[row, place] - centre)
    return total / count


@kernel
def population_variance(state: Floats, row: int, at: int, count: int, centre: float) -> float:
    """Mean squared distance of `state[row, at:at + count]` from its mean."""
    total, squares = 0.0, 0.0
    for place in range(at, at + count):
        distance = state[row, place] - centre
        total += distance
        squares += distance * distance
    variance = (squares - total * total / count) / count
    return 0.0 if variance < 0.0 else variance


@kernel
def population_deviation(state: Floats, row: int, at: int, count: int, centre: float) -> float:
    """Square root of the mean squared distance of `state[row, at:at + count]` from its mean."""
    return math.sqrt(population_variance(state, row, at, count, centre))


@kernel
def central_moments(state: Floats, row: int, at: int, count: int, centre: float) -> tuple[float, float, float]:
    """Means of the squared, cubed and fourth powers of the distances of `state[row, at:at + count]` from its mean.

    In units of the largest distance, so that no power leaves the range of a double; 0 for a flat window.
    """
    total, largest = 0.0, 0.0
    for place in range(at, at + count):
        distance = state[row, place] - centre
        total += distance
        largest = max(largest, abs(distance))
    second, third, fourth = 0.0, 0.0, 0.0
    if largest > 0.0:
        shift = total / count
        for place in range(at, at + count):
            distance = (state[row, place] - centre - shift) / largest
            square = distance * distance
            second += square
            third += square * distance
            fourth += square * square
    return second / count, third / count, fourth / count


@kernel
def correlation(state: Floats, row: int, at: tuple[int, int], count: int, centres: tuple[float, float]) -> float:
    """Pearson's correlation of the windows at both places `at`, from -1 to 1; 0 where one of them is flat."""
    total_a, total_b, squares_a, squares_b, products = 0.0, 0.0, 0.0, 0.0, 0.0
    for place in range(count):
        a = state[row, at[0] + place] - centres[0]
        b = state[row, at[1] + place] - centres[1]
        total_a += a
        total_b += b
        squares_a += a * a
        squares_b += b * b
        products += a * b
    squares_a -= total_a * total_a / count
    squares_b -= total_b * total_b / count
    size = math.sqrt(max(squares_a, 0.0)) * math.sqrt(max(squares_b, 0.0))
    if not size > 0.0:
        return 0.0
    return min(1.0, max(-1.0, (products - total_a * total_b / count) / size))
