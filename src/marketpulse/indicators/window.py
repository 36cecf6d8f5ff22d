"""The last `size` values, kept inside a state row for formulas that pass over the window once per bar.

Slots: values seen, then the ring. A place is an index into the ring; the one before it is `earlier`.
Nothing is carried from one bar to the next but the values themselves, so nothing drifts.
"""

from marketpulse.compiled import kernel
from marketpulse.indicators.declaration import Floats

WINDOW_HEAD = 1  # slots before the ring: values seen


@kernel
def window_push(state: Floats, row: int, at: int, size: int, value: float) -> tuple[int, int]:
    """Take a value into the window at `state[row, at:]` (WINDOW_HEAD + size slots).

    Returns how many values it holds now, and the place of this one.
    """
    seen = int(state[row, at])
    place = seen - size if seen >= size else seen
    state[row, at + WINDOW_HEAD + place] = value
    state[row, at] = size if place == size - 1 else seen + 1
    return min(seen + 1, size), place


@kernel
def earlier(place: int, size: int, bars: int) -> int:
    """The place of the value that came `bars` (at most `size`) before the one at `place`."""
    return place - bars if place >= bars else place - bars + size
