"""The exponential against decimal arithmetic."""

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats

from marketpulse.indicators.exponential import exp_of_minus


@settings(deadline=None)
@given(x=floats(0, 700))
def test_the_exponential_is_within_two_roundings_of_50_digits(x: float) -> None:
    with localcontext() as digits:
        digits.prec = 50
        exact = (-Decimal(x)).exp()
        assert abs(Decimal(exp_of_minus(x)) - exact) <= 2 * Decimal(2) ** -53 * exact * Decimal("1.1")


@pytest.mark.parametrize(("x", "value"), [(0.0, 1.0), (701.0, 0.0), (1e308, 0.0)])
def test_the_exponential_of_nothing_is_one_and_of_much_zero(x: float, value: float) -> None:
    assert exp_of_minus(x) == value
    assert math.copysign(1.0, exp_of_minus(x)) == 1.0
