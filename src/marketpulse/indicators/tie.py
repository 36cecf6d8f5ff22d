"""When two computed values count as equal: within 1e-14 of their size, about 90 units of the last place, as in TA-Lib.

Sums and means of equal prices may differ in the last bits; without this the sign of a rounding would be
taken for a direction, and one rounding divided by another for a value.
"""

from marketpulse.compiled import kernel

_RELATIVE = 1e-14


@kernel
def negligible(difference: float, size: float) -> bool:
    """Whether a difference of values whose sizes add up to `size` may be rounding alone."""
    return abs(difference) <= _RELATIVE * size


@kernel
def tied(a: float, b: float) -> bool:
    """Whether two values are equal but for their rounding."""
    return negligible(a - b, abs(a) + abs(b))
