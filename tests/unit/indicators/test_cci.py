"""Commodity channel index against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 14, 20, 100])
def test_cci_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"cci({period})", daily)[:, 0], talib.CCI(high, low, close, period))


def test_cci_by_hand(compute: Compute, closes: Closes) -> None:
    # typical 2 4 9: mean 5, distances 3 1 4, their mean 8 / 3
    bars = closes([1, 4, 8])
    bars[:, HIGH], bars[:, LOW] = [4, 5, 13], [1, 3, 6]
    found = compute("cci(3)", bars)[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 4 / (0.015 * 8 / 3)], rtol=1e-14)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_cci_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("cci(14)", closes(np.full(60, price)))[13:, 0], 0.0)


def test_cci_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes) -> None:
    prices = np.full(40, 8.0)
    found = compute("cci(14)", closes(prices))[:, 0]
    np.testing.assert_array_equal(found, talib.CCI(prices, prices, prices, 14))


def test_cci_is_exactly_zero_as_soon_as_the_window_is_flat(compute: Compute, closes: Closes) -> None:
    moving = 100 + np.random.default_rng(3).normal(size=50)
    prices = np.concatenate([moving, np.full(30, moving[-1])])
    np.testing.assert_array_equal(compute("cci(14)", closes(prices))[49 + 13 :, 0], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_cci_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(4).normal(size=200)
    expected = compute("cci", closes(prices))
    np.testing.assert_allclose(compute("cci", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_cci_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("cci", closes([7.0]))).all()
