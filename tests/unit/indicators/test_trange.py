"""True range against TA-Lib and by hand."""

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


def test_trange_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute("trange", daily)[:, 0], talib.TRANGE(high, low, close))


def test_trange_is_the_longest_way_by_hand(compute: Compute, closes: Closes) -> None:
    # inside the bar, down from the close before, up from it
    bars = closes([10, 11, 6, 9])
    bars[:, HIGH], bars[:, LOW] = [11, 12, 7, 9], [9, 8, 5, 8]
    np.testing.assert_array_equal(compute("trange", bars)[:, 0], [np.nan, 4, 6, 3])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_trange_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("trange", closes(np.full(9, price)))[1:, 0], 0.0)


def test_trange_of_huge_prices_is_exact_to_the_last_digit(compute: Compute, closes: Closes) -> None:
    found = compute("trange", closes(1e13 + np.arange(30.0) ** 2))[:, 0]
    np.testing.assert_array_equal(found[1:], 2 * np.arange(1, 30) - 1.0)


def test_trange_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("trange", closes([7.0]))).all()
