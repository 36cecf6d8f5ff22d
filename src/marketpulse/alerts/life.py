"""The life of one alert: idle, raised when its condition has held long enough, idle again when it is cleared."""

import math
from typing import Any

import numpy as np

from marketpulse.alerts.events import CLEARED, RAISED
from marketpulse.compiled import inlined

NEVER = -(2**63)

LIFE = np.dtype([
    ("watched", "i1"),  # the rule takes this symbol
    ("raised", "i1"),
    ("rows", "i8"),  # rows that it was run on
    ("since_ns", "i8"),  # its condition holds since this row's close; NEVER: it does not, or is unknown
    ("raised_ns", "i8"),  # when it was raised last; NEVER: not yet
    ("begins_ns", "i8"),  # it sees what closes after this time only: it was made then
])  # fmt: skip
"""What one rule remembers of one symbol, beside its memory."""


@inlined
def live_on(life: Any, condition: float, clear: float, close_ns: int, for_ns: int, cooldown_ns: int) -> int:
    """What this row makes of the alert: RAISED, CLEARED or 0. Truths are 1, 0 or NaN, unknown.

    Without `for` and cooldown times do not matter: those of bars that are cut by count may go back.
    """
    if life.raised:
        if clear == 1.0:
            life.raised = 0
            life.since_ns = NEVER
            return CLEARED
        return 0
    if not (condition == 1.0 and clear == 0.0):
        life.since_ns = NEVER
        return 0
    if life.since_ns == NEVER:
        life.since_ns = close_ns
    if for_ns > 0 and close_ns - life.since_ns < for_ns:
        return 0
    if cooldown_ns > 0 and life.raised_ns != NEVER and close_ns - life.raised_ns < cooldown_ns:
        return 0
    life.raised = 1
    life.raised_ns = close_ns
    return RAISED


@inlined
def opposite(truth: float) -> float:
    """Not."""
    return 1.0 - truth


@inlined
def both(left: float, right: float) -> float:
    """And: false as soon as one is false, else unknown as soon as one is unknown."""
    if left == 0.0 or right == 0.0:
        return 0.0
    return left * right


@inlined
def either(left: float, right: float) -> float:
    """Or: true as soon as one is true, else unknown as soon as one is unknown."""
    if left == 1.0 or right == 1.0:
        return 1.0
    return math.nan if math.isnan(left) or math.isnan(right) else 0.0
