"""Exponential averages of exponential averages, one behind the other in a state row.

Each takes in the values of the one before from that one's first value on, and has its own seed: with `depth`
averages of `length` values the last one is known after `depth * (length - 1)` values.
"""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import ema_step
from marketpulse.indicators.declaration import Floats
from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push


@kernel
def cascade_push(state: Floats, row: int, at: int, depth: int, length: int, value: float) -> bool:
    """Take a value into `depth` averages at `state[row, at:]` (depth * AVERAGE_WIDTH slots).

    Returns whether the last one is known; `cascade_value` reads them.
    """
    weight = 2.0 / (length + 1)
    known = True
    for level in range(depth):
        if known:
            known, value = ema_push(state, row, at + level * AVERAGE_WIDTH, length, weight, value)
    return known


@kernel
def cascade_value(state: Floats, row: int, at: int, level: int) -> float:
    """The average at this level, 1 for that of the values themselves, once it is known."""
    value: float = state[row, at + (level - 1) * AVERAGE_WIDTH + 1]
    return value


def cascade_steps(state: Floats, at: int, depth: int, length: int, value: float) -> tuple[list[str], list[float]]:
    """`cascade_push` in words: the averages known after it, the first level's first."""
    lines: list[str] = []
    values: list[float] = []
    of = "close"
    for level in range(depth):
        name = f"ema {level + 1}"
        more, found = ema_step(state, at + level * AVERAGE_WIDTH, length, 2.0 / (length + 1), value, name, of)
        lines += more
        if found is None:
            break
        value, of = found, name
        values.append(found)
    return lines, values
