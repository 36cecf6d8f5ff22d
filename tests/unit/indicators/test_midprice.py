"""Middle of the price range against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [2, 5, 14, 200])
def test_midprice_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.MIDPRICE(daily[:, HIGH].copy(), daily[:, LOW].copy(), period)
    assert_close(compute(f"midprice({period})", daily)[:, 0], expected)


def test_midprice_by_hand(compute: Compute, closes: Closes) -> None:
    bars = closes([5, 5, 5, 5])
    bars[:, HIGH] = [9, 6, 7, 8]
    bars[:, LOW] = [5, 2, 3, 4]
    np.testing.assert_array_equal(compute("midprice(2)", bars)[:, 0], [np.nan, 5.5, 4.5, 5.5])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_midprice_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("midprice(14)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[13:], price)


def test_midprice_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("midprice(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("midprice(20)", closes(small))[19:])


def test_midprice_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("midprice(2)", closes([7.0]))).all()
