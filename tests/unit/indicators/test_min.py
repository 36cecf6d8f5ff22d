"""Lowest close against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]


@pytest.mark.parametrize("period", [2, 3, 30, 100])
def test_min_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, period: int) -> None:
    expected = talib.MIN(daily[:, CLOSE].copy(), period)
    np.testing.assert_array_equal(compute(f"min({period})", daily)[:, 0], expected)


def test_min_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("min(3)", closes([4, 9, 2, 3, 5, 1]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 2, 2, 2, 1])


def test_min_of_one_bar_is_its_close(compute: Compute, closes: Closes) -> None:
    prices = [7.0, 1e13 / 3, 1e-8 / 3, 0.1]
    np.testing.assert_array_equal(compute("min(1)", closes(prices))[:, 0], prices)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_min_of_a_flat_price_is_that_price(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("min(5)", closes(np.full(40, price)))[4:, 0], price)


def test_min_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("min", closes([7.0]))).all()
