"""Slow stochastic against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("parameters", [(5, 3, 3), (14, 3, 3), (14, 1, 3), (1, 1, 1), (3, 20, 7), (100, 5, 2)])
def test_stoch_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, parameters: tuple[int, int, int]
) -> None:
    fast_k, slow_k, slow_d = parameters
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    expected = np.column_stack(talib.STOCH(high, low, close, fast_k, slow_k, slowd_period=slow_d))
    assert_close(compute(f"stoch({fast_k},{slow_k},{slow_d})", daily), expected)


def test_stoch_by_hand(compute: Compute, closes: Closes) -> None:
    # windows of two: 4..8 at 7, 6..8 at 6, 6..10 at 9: raw 75, 0, 75; its means of two 37.5, 37.5
    bars = closes([5, 7, 6, 9])
    bars[:, HIGH], bars[:, LOW] = [6, 8, 7, 10], [4, 6, 6, 8]
    expected = [[np.nan, np.nan]] * 3 + [[37.5, 37.5]]
    np.testing.assert_array_equal(compute("stoch(2,2,2)", bars), expected)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_stoch_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    expected = np.column_stack(talib.STOCH(prices, prices, prices))
    np.testing.assert_array_equal(compute("stoch(5,3,3)", closes(prices)), expected)
    assert (expected[8:] == 0).all()


def test_stoch_is_exactly_zero_as_soon_as_its_windows_are_flat(compute: Compute, closes: Closes) -> None:
    moving = 100 + np.random.default_rng(3).normal(size=50)
    prices = np.concatenate([moving, np.full(30, moving[-1])])
    np.testing.assert_array_equal(compute("stoch(5,3,3)", closes(prices))[49 + 8 :], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_stoch_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(4).normal(size=200)
    expected = compute("stoch", closes(prices))
    np.testing.assert_allclose(compute("stoch", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_stoch_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("stoch", closes([7.0]))).all()
