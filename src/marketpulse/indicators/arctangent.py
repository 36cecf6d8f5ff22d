"""The arctangent from additions, multiplications, divisions and square roots alone: the same bits on every machine.

Above 1 it is a right angle less that of the reciprocal. Halved twice by tan(a / 2) = t / (1 + sqrt(1 + t²)) the argument is
below 0.199, and of the series t - t³/3 + t⁵/5 - … twelve terms reach the last bit.
"""

import math

from marketpulse.compiled import kernel

_RIGHT_ANGLE = math.pi / 2
_HALVINGS = 2
_TERMS = 12


@kernel
def arctangent(tangent: float) -> float:
    """The angle in radians, from -π/2 to π/2."""
    size = abs(tangent)
    t = 1.0 / size if size > 1.0 else size
    for _ in range(_HALVINGS):
        t /= 1.0 + math.sqrt(1.0 + t * t)
    squared = t * t
    series = 0.0
    for term in range(_TERMS - 1, 0, -1):
        series = (1.0 / (2 * term + 1) - series) * squared
    angle = 2.0**_HALVINGS * (t - t * series)
    if size > 1.0:
        angle = _RIGHT_ANGLE - angle
    return math.copysign(angle, tangent)
