"""e to the power of -x from additions, multiplications and divisions alone: the same bits on every machine.

With x = k ln 2 + r and |r| <= ln 2 / 2, e^-x = 2^-k e^-r, and of the series of e^-r fourteen terms reach the last bit.
"""

import math

from marketpulse.compiled import kernel
from marketpulse.indicators.log_return import LN2_LOWER, LN2_UPPER

_LN2 = math.log(2)
_TERMS = 14
_NOTHING = 700.0  # from here on the result counts as 0; it would leave the range of normal doubles at 708


@kernel
def exp_of_minus(x: float) -> float:
    """e^-x for x >= 0."""
    if x > _NOTHING:
        return 0.0
    power = int(x / _LN2 + 0.5)
    rest = (x - power * LN2_UPPER) - power * LN2_LOWER
    series = 1.0
    for term in range(_TERMS, 0, -1):
        series = 1.0 - rest / term * series
    return math.ldexp(series, -power)
