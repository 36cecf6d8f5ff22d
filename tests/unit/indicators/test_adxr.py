"""Average directional movement rating against TA-Lib and by hand."""

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
def test_adxr_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"adxr({period})", daily)[:, 0], talib.ADXR(high, low, close, period))


def test_adxr_is_the_mean_of_adx_now_and_a_period_less_one_before(compute: Compute, daily: Floats) -> None:
    found, adx = compute("adxr(5)", daily)[:, 0], compute("adx(5)", daily)[:, 0]
    np.testing.assert_array_equal(found[4:], (adx[4:] + adx[:-4]) / 2)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_adxr_of_a_flat_price_is_zero_as_in_talib(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("adxr", closes(np.full(60, price)))[:, 0]
    np.testing.assert_array_equal(found[40:], 0.0)
    assert np.isnan(found[:40]).all()


@pytest.mark.parametrize("power", [40, -40])
def test_adxr_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, power: int) -> None:
    np.testing.assert_array_equal(compute("adxr", daily * 2.0**power), compute("adxr", daily))


def test_adxr_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("adxr(2)", closes([7.0]))).all()
