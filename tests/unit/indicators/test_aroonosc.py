"""Aroon oscillator against TA-Lib and by hand."""

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
def test_aroonosc_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.AROONOSC(daily[:, HIGH].copy(), daily[:, LOW].copy(), period)
    assert_close(compute(f"aroonosc({period})", daily)[:, 0], expected)


def test_aroonosc_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("aroonosc(4)", closes([5, 9, 6, 4, 7]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, np.nan, 25 - 75])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_aroonosc_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("aroonosc", closes(np.full(60, price)))[14:, 0], 0.0)


def test_aroonosc_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("aroonosc(2)", closes([7.0]))).all()
