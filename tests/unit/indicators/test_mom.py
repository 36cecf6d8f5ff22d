"""Momentum against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 10, 100])
def test_mom_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    assert_close(compute(f"mom({period})", daily)[:, 0], talib.MOM(daily[:, CLOSE].copy(), period))


def test_mom_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("mom(2)", closes([1, 5, 4, 9, 2]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 3, 4, -2])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_mom_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("mom", closes(np.full(40, price)))[10:, 0], 0.0)


def test_mom_of_huge_prices_is_exact_to_the_last_digit(compute: Compute, closes: Closes) -> None:
    found = compute("mom(3)", closes(1e13 + np.arange(50.0) ** 2))[:, 0]
    np.testing.assert_array_equal(found[3:], 6 * np.arange(3, 50) - 9.0)


def test_mom_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("mom(1)", closes([7.0]))).all()
