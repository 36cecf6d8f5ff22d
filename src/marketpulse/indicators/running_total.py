"""A sum over everything since the series began, kept as two doubles: it grows, but its rounding does not."""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.rolling import add

TOTAL_WIDTH = 2  # slots: the sum and its low part


@kernel
def total_push(state: Floats, row: int, at: int, term: float) -> float:
    """Add a term to the sum at `state[row, at:]`; returns the sum."""
    high, low = add(state[row, at], state[row, at + 1], term)
    state[row, at] = high
    state[row, at + 1] = low
    return high


def total_step(state: Floats, at: int, term: float, name: str) -> tuple[str, float]:
    """`total_push` in words."""
    before = float(state[0, at])
    total = float(total_push(state, 0, at, term))
    return f"{name} = before + term = {shown(before)} + {shown(term)} = {shown(total)}", total
