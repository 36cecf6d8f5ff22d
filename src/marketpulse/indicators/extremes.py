"""The highest and the lowest of the last `period` values, a constant cost per bar on average.

As rolling.positive_sum_push does it: the older part of the window is kept as the highest from each value
to the part's end, so that nothing is looked for when the highest leaves.
"""

from collections.abc import Callable

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats

Step = Callable[[Floats, int, int, float, str], tuple[list[str], float | None]]

EXTREME_HEAD = 2  # slots before the ring: seen, highest of the newer part


@kernel
def highest_push(state: Floats, row: int, at: int, period: int, value: float) -> tuple[bool, float]:
    """Take a value into the window at `state[row, at:]` (EXTREME_HEAD + period slots).

    Returns whether the window is full, and its highest value.
    """
    seen = int(state[row, at])
    full = seen >= period
    head = seen - period if full else seen
    ring = at + EXTREME_HEAD
    newer = value if head == 0 else max(state[row, at + 1], value)
    highest = newer
    state[row, ring + head] = value
    seen += 1
    if head == period - 1:
        older = value
        for place in range(ring + period - 1, ring - 1, -1):
            older = max(older, state[row, place])
            state[row, place] = older
        seen = period
    elif full:
        highest = max(newer, state[row, ring + head + 1])
    state[row, at] = seen
    state[row, at + 1] = newer
    return seen >= period, highest


@kernel
def lowest_push(state: Floats, row: int, at: int, period: int, value: float) -> tuple[bool, float]:
    """As `highest_push`, for the lowest value: the highest one below the zero line."""
    full, highest = highest_push(state, row, at, period, -value)
    return full, -highest


def highest_step(state: Floats, at: int, length: int, value: float, of: str) -> tuple[list[str], float | None]:
    """The highest of the last `length` values, this one included; None while there are fewer."""
    full, highest = highest_push(state, 0, at, length, value)
    return _said("highest", full, highest, length, value, of)


def lowest_step(state: Floats, at: int, length: int, value: float, of: str) -> tuple[list[str], float | None]:
    """The lowest of the last `length` values, this one included; None while there are fewer."""
    full, lowest = lowest_push(state, 0, at, length, value)
    return _said("lowest", full, lowest, length, value, of)


def _said(which: str, full: bool, found: float, length: int, value: float, of: str) -> tuple[list[str], float | None]:
    if not full:
        return [f"{which} of {of}, with {shown(value)}: {length} are needed: no value yet"], None
    return [f"{which} of the last {length} {of}, with {shown(value)} = {shown(found)}"], float(found)
