"""Weighted moving average against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [1, 2, 5, 30, 200])
def test_wma_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    expected = talib.WMA(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"wma({period})", daily)[:, 0], expected)


def test_wma_of_three_closes_by_hand(compute: Compute, closes: Closes) -> None:
    # (1 + 2 * 2 + 3 * 6) / 6, (2 + 2 * 6 + 3 * 4) / 6
    found = compute("wma(3)", closes([1, 2, 6, 4]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 23 / 6, 26 / 6], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_wma_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("wma(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], price)


def test_wma_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("wma(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("wma(20)", closes(small))[19:])


def test_wma_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("wma(2)", closes([7.0]))).all()
    assert compute("wma(1)", closes([7.0]))[0, 0] == 7.0
