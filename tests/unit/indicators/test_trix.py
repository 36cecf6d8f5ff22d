"""Rate of change of a triple exponential average against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [1, 2, 15, 30, 100])
def test_trix_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    assert_close(compute(f"trix({period})", daily)[:, 0], talib.TRIX(daily[:, CLOSE].copy(), period))


def test_trix_of_averages_of_one_is_the_rate_of_change(compute: Compute, closes: Closes) -> None:
    np.testing.assert_array_equal(compute("trix(1)", closes([4, 8, 6]))[:, 0], [np.nan, 100, -25])


def test_trix_by_hand(compute: Compute, closes: Closes) -> None:
    # averages of two of 1 3 5 7 …: 2 4 6 …, of these 3 5 7 …, of these 4 6 8 …
    found = compute("trix(2)", closes([1, 3, 5, 7, 9, 11]))[:, 0]
    np.testing.assert_allclose(found, [np.nan] * 4 + [50, 100 / 3], rtol=1e-14)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_trix_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("trix(5)", closes(np.full(60, price)))[13:, 0], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_trix_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(6).normal(size=200)
    expected = compute("trix", closes(prices))
    np.testing.assert_allclose(compute("trix", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_trix_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("trix(1)", closes([7.0]))).all()
