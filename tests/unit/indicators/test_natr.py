"""Normalised average true range against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 14, 100])
def test_natr_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"natr({period})", daily)[:, 0], talib.NATR(high, low, close, period))


def test_natr_by_hand(compute: Compute, closes: Closes) -> None:
    # true ranges 4 6, their mean 5 of a close of 20; then (5 + 7) / 2 = 6 of 24
    bars = closes([16, 20, 20, 24])
    bars[:, HIGH], bars[:, LOW] = [16, 20, 22, 26], [16, 18, 16, 19]
    np.testing.assert_array_equal(compute("natr(2)", bars)[:, 0], [np.nan, np.nan, 25, 25])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_natr_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("natr", closes(np.full(60, price)))[14:, 0], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_natr_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(1).normal(size=200)
    expected = compute("natr", closes(prices))
    np.testing.assert_allclose(compute("natr", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_natr_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("natr", closes([7.0]))).all()
