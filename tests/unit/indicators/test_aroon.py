"""Aroon against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 14, 25, 200])
def test_aroon_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = np.column_stack(talib.AROON(daily[:, HIGH].copy(), daily[:, LOW].copy(), period))
    assert_close(compute(f"aroon({period})", daily), expected)


def test_aroon_by_hand_takes_the_newest_of_equal_extremes(compute: Compute, closes: Closes) -> None:
    bars = closes([5, 5, 5, 5, 5])
    bars[:, HIGH] = [9, 9, 8, 7, 6]
    bars[:, LOW] = [4, 3, 4, 3, 4]
    found = compute("aroon(4)", bars)
    np.testing.assert_array_equal(found[4], [75, 25])
    assert np.isnan(found[:4]).all()


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_aroon_of_a_flat_price_is_100_as_in_talib(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(60, price)
    found = compute("aroon", closes(prices))
    np.testing.assert_array_equal(found[14:], 100.0)
    np.testing.assert_allclose(found, np.column_stack(talib.AROON(prices, prices, 14)), rtol=1e-14)


def test_aroon_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("aroon(2)", closes([7.0]))).all()
