"""Variance against TA-Lib, exact fractions and by hand."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def exact_variance(window: Floats) -> float:
    values = [Fraction(v) for v in window.tolist()]
    centre = sum(values, Fraction(0)) / len(values)
    return float(sum(((v - centre) ** 2 for v in values), Fraction(0)) / len(values))


@pytest.mark.parametrize("period", [1, 2, 5, 20, 100])
def test_var_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    expected = talib.VAR(daily[:, CLOSE].copy(), period)
    found = compute(f"var({period})", daily)[:, 0]
    assert_close(found, expected)


def test_var_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("var(2)", closes([2, 8, 4, 4]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, 9, 4, 0])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_var_of_a_flat_price_is_exactly_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("var(20)", closes(np.full(99, price)))[19:, 0], 0.0)


@pytest.mark.parametrize(("level", "tick"), [(1e13, 1.0), (1e-8, 1e-12), (1.0, 1e-9), (1e-13, 1e-15)])
def test_var_is_right_where_prices_are_large_against_their_moves_or_tiny(
    compute: Compute, closes: Closes, level: float, tick: float
) -> None:
    prices: Floats = level + tick * np.random.default_rng(3).integers(0, 50, 90).astype(np.float64)
    found = compute("var(20)", closes(prices))[:, 0]
    exact = [exact_variance(prices[i - 19 : i + 1]) for i in range(19, 90)]
    np.testing.assert_allclose(found[19:], exact, rtol=1e-12)


def test_var_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("var(2)", closes([7.0]))).all()
