"""Functions that the kernels have of their own, against 50 decimal digits, exact fractions and the system's."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, one_of

from marketpulse.indicators import moments
from marketpulse.indicators.arctangent import arctangent
from marketpulse.indicators.exponential import exp_of_minus
from marketpulse.indicators.log_return import log_return
from marketpulse.indicators.rolling import add, mean
from marketpulse.indicators.tie import negligible, tied

PRICES = floats(1e-100, 1e100)
DECODED = floats(1e-8, 1e13)


@given(tangent=one_of(floats(-10, 10), floats(-1e300, 1e300)))
def test_the_arctangent_is_the_systems_to_four_roundings(tangent: float) -> None:
    assert arctangent(tangent) == pytest.approx(math.atan(tangent), rel=4 * 2**-53, abs=2**-1000)


def test_the_arctangent_knows_its_angles_a_centre_may_be_nearly_the_mean_and_nothing_is_negligible_to_nothing() -> None:
    for tangent, degrees in {0.0: 0, 1.0: 45, -1.0: -45, math.sqrt(3): 60, math.inf: 90}.items():
        assert math.degrees(arctangent(tangent)) == pytest.approx(degrees, rel=1e-15)
    assert math.isnan(arctangent(math.nan))
    window = 1e13 + np.random.default_rng(1).integers(0, 9, (1, 20)).astype(np.float64)
    values = [Fraction(v) for v in window[0].tolist()]
    centre = sum(values, Fraction(0)) / 20
    second, third, fourth = (float(sum((v - centre) ** k for v in values) / 20) for k in (2, 3, 4))
    for off in (-1.0, 0.0, 1.0):
        assert moments.population_variance(window, 0, 0, 20, float(centre) + off) == pytest.approx(second, rel=1e-12)
        found = moments.central_moments(window, 0, 0, 20, float(centre) + off)
        assert found[1] / found[0] ** 1.5 == pytest.approx(third / second**1.5, rel=1e-9)
        assert found[2] / found[0] ** 2 == pytest.approx(fourth / second**2, rel=1e-12)
    assert negligible(0.0, 0.0)
    assert not negligible(5e-324, 0.0)


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


def assert_log_return_is_right(previous: float, price: float) -> None:
    with localcontext() as context:
        context.prec = 50
        exact = (Decimal(price) / Decimal(previous)).ln()
    assert abs(Decimal(log_return(previous, price)) - exact) <= abs(exact) * Decimal("4e-16")


@given(previous=PRICES, price=PRICES)
def test_any_log_return_is_right_to_the_last_bits_and_back_it_has_the_other_sign(previous: float, price: float) -> None:
    assert_log_return_is_right(previous, price)
    assert log_return(previous, price) == -log_return(price, previous)


@given(previous=DECODED, factor=floats(0.65, 1.55), move=floats(-1e-6, 1e-6))
def test_log_returns_of_small_moves_and_around_root_two_are_right(previous: float, factor: float, move: float) -> None:
    assert_log_return_is_right(previous, previous * factor)
    assert_log_return_is_right(previous, previous + previous * move)


@pytest.mark.parametrize("price", [1e-100, 1e-8, 0.1, 1.0, 1e13, 1e100])
def test_the_log_return_of_no_move_is_exactly_zero(price: float) -> None:
    assert log_return(price, price) == 0.0


@given(terms=lists(floats(-1e13, 1e13), min_size=1, max_size=50))
def test_adding_loses_nothing_that_a_double_shows(terms: list[float]) -> None:
    high, low = 0.0, 0.0
    for term in terms:
        high, low = add(high, low, term)
    largest = max(abs(Fraction(t)) for t in terms)
    error = abs(Fraction(high) + Fraction(low) - sum(map(Fraction, terms)))
    assert error <= largest * len(terms) ** 2 * Fraction(1, 2**100)


@given(value=DECODED, count=integers(1, 10_000))
def test_the_mean_of_equal_values_is_the_value(value: float, count: int) -> None:
    high, low = 0.0, 0.0
    for _ in range(min(count, 60)):
        high, low = add(high, low, value)
    assert mean(high, low, min(count, 60)) == value
    exact = Fraction(value) * count
    upper = float(exact)
    assert mean(upper, float(exact - Fraction(upper)), count) == value


@pytest.mark.parametrize("price", [1e-8, 1.0, 100.0, 1e13])
def test_values_are_tied_where_talibs_money_flow_sees_no_direction(price: float) -> None:
    for factor in (1.0, 1 + 1e-15, 1 + 1.8e-14, 1 + 2.2e-14, 1 + 1e-12, 2.0):
        typical = np.array([2 * price, price, price * factor])
        index = talib.MFI(typical, typical, typical, np.ones(3), 2)
        assert tied(price, price * factor) == (index[2] == 0)
