"""Slope of the linear regression against TA-Lib, exact fractions and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 14, 200])
def test_linearreg_slope_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.LINEARREG_SLOPE(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"linearreg_slope({period})", daily)[:, 0], expected)


def test_linearreg_slope_by_hand(compute: Compute, closes: Closes) -> None:
    # the lines through 1 2 6 and 2 6 4: 3 in the middle and 5/2 a bar, then 4 and 1
    found = compute("linearreg_slope(3)", closes([1, 2, 6, 4]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 2.5, 1], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_linearreg_slope_of_a_flat_price_is_exactly_zero(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("linearreg_slope(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], 0.0)


def test_linearreg_slope_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("linearreg_slope(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("linearreg_slope(20)", closes(small))[19:])


@pytest.mark.parametrize(("level", "tick"), [(1e13, 1.0), (1e-8, 1e-12), (1.0, 1e-9)])
def test_linearreg_slope_is_right_where_prices_are_large_against_their_moves_or_tiny(
    compute: Compute, closes: Closes, level: float, tick: float
) -> None:
    prices: Floats = level + tick * np.random.default_rng(3).integers(0, 50, 90).astype(np.float64)
    found = compute("linearreg_slope(20)", closes(prices))[:, 0]
    for i in range(19, 90):
        window = [Fraction(price) for price in prices[i - 19 : i + 1].tolist()]
        slope = sum((2 * x - 19) * price for x, price in enumerate(window)) * Fraction(6, 20 * (20**2 - 1))
        assert found[i] == pytest.approx(float(slope), rel=1e-15, abs=1e-12 * tick)


def test_linearreg_slope_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("linearreg_slope(2)", closes([7.0]))).all()
