"""Bollinger bands against TA-Lib and exact fractions."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.moments import population_deviation
from marketpulse.indicators.rolling import add, mean

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def exact_deviation(window: Floats) -> float:
    values = [Fraction(v) for v in window.tolist()]
    centre = sum(values) / len(values)
    return math.sqrt(sum((v - centre) ** 2 for v in values) / len(values))


@pytest.mark.parametrize(("period", "deviations"), [(20, 2.0), (2, 1.5), (5, 2.5), (100, 3.0)])
def test_bbands_equal_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int, deviations: float
) -> None:
    expected = np.column_stack(talib.BBANDS(daily[:, CLOSE].copy(), period, deviations, deviations))
    assert_close(compute(f"bbands({period},{deviations})", daily), expected)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
@pytest.mark.parametrize("period", [2, 20, 49])
def test_bbands_of_a_flat_price_are_exactly_that_price(
    compute: Compute, closes: Closes, price: float, period: int
) -> None:
    found = compute(f"bbands({period},2)", closes(np.full(200, price)))
    np.testing.assert_array_equal(found[period - 1 :], price)


@pytest.mark.parametrize(("level", "tick"), [(1e13, 1.0), (1e-8, 1e-12), (1.0, 1e-9), (1e-13, 1e-15)])
def test_bbands_have_their_width_where_prices_are_large_against_their_moves_or_tiny(
    compute: Compute, closes: Closes, level: float, tick: float
) -> None:
    prices: Floats = level + tick * np.random.default_rng(3).integers(0, 50, 90).astype(np.float64)
    found = compute("bbands(20,1)", closes(prices))
    for i in range(19, 90):
        exact = exact_deviation(prices[i - 19 : i + 1])
        assert (found[i, 0] - found[i, 2]) / 2 == pytest.approx(exact, rel=1e-12, abs=2e-16 * level)


def test_the_deviation_is_exact_where_prices_differ_by_their_last_bit_only() -> None:
    price = 1e13
    last_bit = np.spacing(price)
    window = np.array([[price, price + last_bit]])
    high, low = add(price, 0.0, price + last_bit)
    assert population_deviation(window, 0, 0, 2, mean(high, low, 2)) == last_bit / 2


def test_bbands_with_factor_zero_are_the_mean(compute: Compute, daily: Floats) -> None:
    found = compute("bbands(20,0)", daily)
    middle = compute("sma(20)", daily)[:, 0]
    for column in range(3):
        np.testing.assert_array_equal(found[:, column], middle)


def test_bbands_of_a_single_bar_are_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("bbands", closes([7.0]))).all()
