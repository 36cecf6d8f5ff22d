"""Fast stochastic against TA-Lib and by hand."""

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


@pytest.mark.parametrize(("fast_k", "fast_d"), [(5, 3), (14, 3), (1, 1), (3, 50), (100, 2)])
def test_stochf_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, fast_k: int, fast_d: int
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    expected = np.column_stack(talib.STOCHF(high, low, close, fast_k, fast_d))
    assert_close(compute(f"stochf({fast_k},{fast_d})", daily), expected)


def test_stochf_by_hand(compute: Compute, closes: Closes) -> None:
    # windows of two: 4..8 at 7, 6..8 at 6, 6..10 at 9
    bars = closes([5, 7, 6, 9])
    bars[:, HIGH], bars[:, LOW] = [6, 8, 7, 10], [4, 6, 6, 8]
    expected = [[np.nan, np.nan], [np.nan, np.nan], [0, 37.5], [75, 37.5]]
    np.testing.assert_array_equal(compute("stochf(2,2)", bars), expected)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_stochf_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    expected = np.column_stack(talib.STOCHF(prices, prices, prices, 5, 3))
    np.testing.assert_array_equal(compute("stochf(5,3)", closes(prices)), expected)
    assert (expected[6:] == 0).all()


def test_stochf_of_rises_only_is_100_and_of_falls_only_0(compute: Compute, closes: Closes) -> None:
    rising = np.arange(1.0, 40.0)
    np.testing.assert_array_equal(compute("stochf", closes(rising))[6:], 100.0)
    np.testing.assert_array_equal(compute("stochf", closes(rising[::-1]))[6:], 0.0)


def test_stochf_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("stochf", closes([7.0]))).all()
