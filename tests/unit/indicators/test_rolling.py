"""Sums over a window: exact where they must be, and as wide as they say."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists

from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, SUM_HEAD, add, mean, positive_sum_push, sum_push

FIRST_CALL_COMPILES = settings(deadline=None)
PRICES = floats(1e-8, 1e13)


@FIRST_CALL_COMPILES
@given(terms=lists(floats(-1e13, 1e13), min_size=1, max_size=50))
def test_adding_loses_nothing_that_a_double_shows(terms: list[float]) -> None:
    high, low = 0.0, 0.0
    for term in terms:
        high, low = add(high, low, term)
    exact = sum(map(Fraction, terms))
    largest = max(abs(Fraction(t)) for t in terms)
    assert abs(Fraction(high) + Fraction(low) - exact) <= largest * len(terms) ** 2 * Fraction(1, 2**100)


@FIRST_CALL_COMPILES
@given(value=PRICES, count=integers(1, 10_000))
def test_the_mean_of_equal_values_is_the_value(value: float, count: int) -> None:
    high, low = 0.0, 0.0
    for _ in range(min(count, 60)):
        high, low = add(high, low, value)
    assert mean(high, low, min(count, 60)) == value
    exact = Fraction(value) * count
    upper = float(exact)
    assert mean(upper, float(exact - Fraction(upper)), count) == value


@FIRST_CALL_COMPILES
@given(values=lists(PRICES, min_size=1, max_size=60), period=integers(1, 8))
def test_the_rolling_sum_is_that_of_the_window(values: list[float], period: int) -> None:
    state = np.zeros((1, SUM_HEAD + period))
    for i, value in enumerate(values):
        full, high, low = sum_push(state, 0, 0, period, value)
        assert full == (i >= period - 1)
        if full:
            exact = sum(map(Fraction, values[i - period + 1 : i + 1]))
            spread = max(map(Fraction, values)) * Fraction(1, 2**96)
            assert abs(Fraction(high) + Fraction(low) - exact) <= spread


@FIRST_CALL_COMPILES
@given(values=lists(PRICES, min_size=1, max_size=60), period=integers(1, 8))
def test_the_positive_rolling_sum_cancels_nothing(values: list[float], period: int) -> None:
    state = np.zeros((1, POSITIVE_SUM_HEAD + period))
    for i, value in enumerate(values):
        full, total = positive_sum_push(state, 0, 0, period, value)
        assert full == (i >= period - 1)
        if full:
            assert total == pytest.approx(math.fsum(values[i - period + 1 : i + 1]), rel=1e-15 * period)


@FIRST_CALL_COMPILES
@given(values=lists(PRICES, min_size=1, max_size=40), period=integers(1, 8), at=integers(0, 3))
def test_windows_stay_inside_their_slots(values: list[float], period: int, at: int) -> None:
    for push, head in ((sum_push, SUM_HEAD), (positive_sum_push, POSITIVE_SUM_HEAD)):
        state = np.full((3, at + head + period + 3), -7.0)
        slots = (1, slice(at, at + head + period))
        state[slots] = 0.0
        for value in values:
            push(state, 1, at, period, value)
        state[slots] = -7.0
        assert (state == -7.0).all()
