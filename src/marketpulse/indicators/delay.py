"""What a value was some bars ago: the last `length` values in a ring inside a state row, one step a bar."""

from marketpulse.compiled import kernel
from marketpulse.indicators.declaration import Floats

DELAY_HEAD = 1  # slot before the ring: seen


@kernel
def delay_push(state: Floats, row: int, at: int, length: int, value: float) -> tuple[bool, float]:
    """Take a value into the ring at `state[row, at:]` (DELAY_HEAD + length slots).

    Returns whether there is a value of `length` bars ago, and that value.
    """
    seen = int(state[row, at])
    full = seen >= length
    place = at + DELAY_HEAD + (seen - length if full else seen)
    past = state[row, place]
    state[row, place] = value
    seen += 1
    state[row, at] = length if seen == 2 * length else seen
    return full, past
