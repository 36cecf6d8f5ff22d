"""Middle of the range of closes against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 14, 200])
def test_midpoint_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.MIDPOINT(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"midpoint({period})", daily)[:, 0], expected)


def test_midpoint_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("midpoint(3)", closes([1, 5, 2, 3, 10]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 3, 3.5, 6])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_midpoint_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("midpoint(14)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[13:], price)


def test_midpoint_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("midpoint(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("midpoint(20)", closes(small))[19:])


def test_midpoint_is_null_where_the_sum_exceeds_a_double_and_recovers(compute: Compute, closes: Closes) -> None:
    found = compute("midpoint(2)", closes([1e308, 1.5e308, 3.0, 5.0]))[:, 0]
    assert np.isnan(found[:2]).all()
    assert found[3] == 4.0
