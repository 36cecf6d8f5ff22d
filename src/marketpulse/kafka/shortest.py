"""The shortest decimal of a double, for kernels: the fewest digits that read back as the same bits.

This is R. Giulietti's Schubfach ("The Schubfach way to render doubles", 2020): scale the interval of
numbers that round to the double by a power of ten, in 128 bits, and look for a multiple of ten in it.
"""

import numpy as np

from marketpulse.compiled import inlined
from marketpulse.kafka.words import scaled_odd
from marketpulse.model.market import Ints

_SMALLEST, _LARGEST = -292, 324
_HIDDEN_BIT = 1 << 52
_BIAS = 1_075


def _power_table() -> Ints:
    """(617, 2): the upper and lower 64 bits of 10**k, scaled to 2**127 … 2**128 and rounded up."""
    table = np.empty((_LARGEST - _SMALLEST + 1, 2), np.uint64)
    for k in range(_SMALLEST, _LARGEST + 1):
        numerator, denominator = (10**k, 1) if k >= 0 else (1, 10**-k)
        shift = 128 - (numerator.bit_length() - denominator.bit_length())
        scaled = (numerator << shift) // denominator if shift >= 0 else numerator // (denominator << -shift)
        while scaled >> 128:
            shift -= 1
            scaled = (numerator << shift) // denominator if shift >= 0 else numerator // (denominator << -shift)
        exact = (numerator << shift) % denominator == 0 if shift >= 0 else numerator % (denominator << -shift) == 0
        scaled += 0 if exact else 1
        table[k - _SMALLEST] = scaled >> 64, scaled & (2**64 - 1)
    return table.view(np.int64)


_POWERS = _power_table()


@inlined
def shortest_decimal(bits: int) -> tuple[int, int]:
    """(digits, exponent) of the positive finite double with these bits: its value is digits · 10**exponent.

    digits has no zeros at its end, unless it is 0.
    """
    fraction = bits & (_HIDDEN_BIT - 1)
    biased = (bits >> 52) & 0x7FF
    if biased == 0:
        if fraction == 0:
            return 0, 0
        significand, power = fraction, 1 - _BIAS
    else:
        significand, power = fraction | _HIDDEN_BIT, biased - _BIAS
        if -53 < power <= 0 and significand & ((1 << -power) - 1) == 0:
            return _without_zeros(significand >> -power, 0)
    return _without_zeros(*_shortest(significand, power, fraction == 0 and biased > 1))


@inlined
def _shortest(significand: int, power: int, near_below: bool) -> tuple[int, int]:
    """`near_below`: the next smaller double is only half as far as the next larger one."""
    closer = 1 if near_below else 0
    tens = (power * 1_262_611 - closer * 524_031) >> 22  # floor of log10 of the interval's width
    shift = power + ((-tens * 1_741_647) >> 19) + 1
    high, low = _POWERS[-tens - _SMALLEST, 0], _POWERS[-tens - _SMALLEST, 1]
    below = scaled_odd(high, low, (4 * significand - 2 + closer) << shift)
    value = scaled_odd(high, low, (4 * significand) << shift)
    above = scaled_odd(high, low, (4 * significand + 2) << shift)
    outside = significand & 1  # an odd significand's borders round away from it
    below += outside
    above -= outside
    whole = value >> 2
    if whole >= 10:
        ten = whole // 10
        under, over = below <= 40 * ten, 40 * ten + 40 <= above
        if under != over:
            return ten + (1 if over else 0), tens + 1
    under, over = below <= 4 * whole, 4 * whole + 4 <= above
    if under != over:
        return whole + (1 if over else 0), tens
    middle = 4 * whole + 2
    up = value > middle or (value == middle and whole & 1 == 1)
    return whole + (1 if up else 0), tens


@inlined
def _without_zeros(digits: int, tens: int) -> tuple[int, int]:
    if digits % 100_000_000 == 0:
        digits //= 100_000_000
        tens += 8
    if digits % 10_000 == 0:
        digits //= 10_000
        tens += 4
    while digits % 10 == 0:
        digits //= 10
        tens += 1
    return digits, tens
