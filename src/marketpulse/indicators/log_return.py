"""ln(price / previous) from additions, multiplications and divisions alone.

The system's `log` differs in the last bit from one machine to the next; this does not. It is also
accurate for small moves, where dividing first would round part of the move away.

With the two prices scaled by powers of two to within a factor √2 of each other,
price / previous = 2^k (1 + s) / (1 - s) for s = (price - previous) / (price + previous), |s| < 0.172, and
ln((1 + s) / (1 - s)) = 2 (s + s³/3 + s⁵/5 + …), of which twelve terms reach the last bit, and
five while |s| < 0.022 (a move below 4.5 %).
"""

import math

from marketpulse.compiled import kernel

_SQRT2 = math.sqrt(2)
# ln 2 in two parts: the first has 32 bits, so that its product with a power of two's exponent is exact.
LN2_UPPER = 2977044471 / 2**32
LN2_LOWER = 1.9082149292705877e-10
_TERMS = 12
_TERMS_OF_SMALL_MOVE = 5
_SMALL_SQUARE = 2.0**-11


@kernel
def log_return(previous: float, price: float) -> float:
    """ln(price / previous) for two prices above 0 and below 1e307; exactly 0 when they are equal."""
    power = 0
    if price > previous * _SQRT2 or previous > price * _SQRT2:
        price, price_power = math.frexp(price)
        previous, previous_power = math.frexp(previous)
        power = price_power - previous_power
        if price > previous * _SQRT2:
            price *= 0.5
            power += 1
        elif previous > price * _SQRT2:
            price *= 2.0
            power -= 1
    s = (price - previous) / (price + previous)
    squared = s * s
    series = 0.0
    if squared < _SMALL_SQUARE:
        for term in range(_TERMS_OF_SMALL_MOVE - 1, 0, -1):
            series = (series + 1.0 / (2 * term + 1)) * squared
    else:
        for term in range(_TERMS - 1, 0, -1):
            series = (series + 1.0 / (2 * term + 1)) * squared
    logarithm = 2.0 * (s + s * series)
    if power == 0:
        return logarithm
    return power * LN2_UPPER + (logarithm + power * LN2_LOWER)
