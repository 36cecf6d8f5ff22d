"""Minus directional indicator against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 14, 200])
def test_minus_di_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"minus_di({period})", daily)[:, 0], talib.MINUS_DI(high, low, close, period))


def test_minus_di_by_hand(compute: Compute, closes: Closes) -> None:
    # up, up and down count 2, 3 and 4, true ranges 6, 11 and 16; each sum is halved first
    bars = closes([10, 10, 10, 10])
    bars[:, HIGH] = [12, 14, 17, 18]
    bars[:, LOW] = [9, 8, 6, 2]
    np.testing.assert_allclose(compute("minus_di(2)", bars)[:, 0], [np.nan, np.nan, 0, 100 * 4 / 23], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_minus_di_of_a_flat_price_is_zero_as_in_talib(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("minus_di", closes(np.full(60, price)))[:, 0]
    np.testing.assert_array_equal(found[14:], 0.0)
    assert np.isnan(found[:14]).all()


@pytest.mark.parametrize("power", [40, -40])
def test_minus_di_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, power: int) -> None:
    np.testing.assert_array_equal(compute("minus_di", daily * 2.0**power), compute("minus_di", daily))


def test_minus_di_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("minus_di(2)", closes([7.0]))).all()
