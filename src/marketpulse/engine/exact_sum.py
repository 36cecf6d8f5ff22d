"""Sums of non-negative doubles that do not depend on the order of their terms.

A sum is a whole number of 2^-160, kept in ten digits of base 2^32 (each an int64, so carries can
wait). Adding is exact; only reading rounds, once, to the nearest double, as `math.fsum` does.
Terms below 2^-107 lose bits under 2^-160, each by itself, so the order still does not matter;
terms above 2^150 do not occur (the decoder refuses them).
"""

import math

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined

DIGITS = 10
LOWEST_BIT = -160
_BASE_BITS = 32
_MASK = (1 << 32) - 1

Sum = NDArray[np.int64]


@inlined
def add_exact(total: Sum, term: float) -> None:
    """total += term, exactly. `total` is (DIGITS,), `term` is 0 or more and finite."""
    if term == 0.0:
        return
    fraction, exponent = math.frexp(term)
    mantissa = np.int64(fraction * 9007199254740992.0)  # 2^53, so an integer
    place = exponent - 53 - LOWEST_BIT
    if place < 0:
        if place < -60:
            return
        mantissa >>= -place
        place = 0
    digit, shift = place >> 5, place & 31
    rest = mantissa >> (_BASE_BITS - shift)
    total[digit] += (mantissa << shift) & _MASK
    total[digit + 1] += rest & _MASK
    total[digit + 2] += rest >> _BASE_BITS


@bare_kernel
def carry(total: Sum) -> None:
    """Bring every digit below 2^32, so that 2^31 more terms fit."""
    for i in range(DIGITS - 1):
        total[i + 1] += total[i] >> _BASE_BITS
        total[i] &= _MASK


@bare_kernel
def add_sum(total: Sum, other: Sum) -> None:
    """total += other, exactly; both are carried first."""
    carry(total)
    carry(other)
    for i in range(DIGITS):
        total[i] += other[i]


@bare_kernel
def read_sum(total: Sum) -> float:
    """The double nearest to the sum, ties to even."""
    carry(total)
    top = DIGITS - 1
    while top > 0 and total[top] == 0:
        top -= 1
    if top < 2:  # at most 64 bits at the low end: far below any market's numbers
        return math.ldexp(float(total[1]), LOWEST_BIT + _BASE_BITS) + math.ldexp(float(total[0]), LOWEST_BIT)
    bits = 0
    while total[top] >> bits:
        bits += 1
    room = 32 - bits  # free bits above the top digit
    high = (np.uint64(total[top]) << np.uint64(32)) | np.uint64(total[top - 1])
    below = np.uint64(total[top - 2])
    if room > 0:
        high = (high << np.uint64(room)) | (below >> np.uint64(bits))
        below &= (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    sticky = below != 0
    for i in range(top - 2):
        sticky = sticky or total[i] != 0
    mantissa = np.int64(high >> np.uint64(11))
    tail = np.int64(high & np.uint64(2047))
    if tail > 1024 or (tail == 1024 and (sticky or mantissa & 1)):
        mantissa += 1
    return math.ldexp(float(mantissa), LOWEST_BIT + _BASE_BITS * (top - 1) + 11 - room)
