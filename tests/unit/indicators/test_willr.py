"""Williams %R against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 3, 14, 100])
def test_willr_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"willr({period})", daily)[:, 0], talib.WILLR(high, low, close, period))


def test_willr_by_hand(compute: Compute, closes: Closes) -> None:
    # windows of two: 4..8 at 7, 6..8 at 6, 6..10 at 9
    bars = closes([5, 7, 6, 9])
    bars[:, HIGH], bars[:, LOW] = [6, 8, 7, 10], [4, 6, 6, 8]
    np.testing.assert_array_equal(compute("willr(2)", bars)[:, 0], [np.nan, -25, -100, -25])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_willr_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    found = compute("willr(14)", closes(prices))[:, 0]
    np.testing.assert_array_equal(found, talib.WILLR(prices, prices, prices, 14))
    assert found[13] == 0.0


def test_willr_of_rises_only_is_0_and_of_falls_only_minus_100(compute: Compute, closes: Closes) -> None:
    rising = np.arange(1.0, 40.0)
    np.testing.assert_array_equal(compute("willr", closes(rising))[13:, 0], 0.0)
    np.testing.assert_array_equal(compute("willr", closes(rising[::-1]))[13:, 0], -100.0)


def test_willr_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("willr", closes([7.0]))).all()
