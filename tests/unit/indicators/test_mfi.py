"""Money flow index against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [2, 14, 100])
def test_mfi_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    high, low, close, volume = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE, VOLUME))
    assert_close(compute(f"mfi({period})", daily)[:, 0], talib.MFI(high, low, close, volume, period))


def test_mfi_by_hand(compute: Compute, closes: Closes) -> None:
    # flows: in 12 * 3 = 36, out 10 * 2 = 20, none, in 15 * 4 = 60
    bars = closes([10, 12, 10, 10, 15])
    bars[:, VOLUME] = [9, 3, 2, 7, 4]
    found = compute("mfi(2)", bars)[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 100 * 36 / 56, 0, 100], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_mfi_of_a_flat_price_or_without_volume_is_what_talib_returns(
    compute: Compute, closes: Closes, price: float
) -> None:
    for prices, volume in ((np.full(40, price), 1.0), (price * np.arange(1.0, 41.0), 0.0)):
        bars = closes(prices)
        bars[:, VOLUME] = volume
        found = compute("mfi(14)", bars)[:, 0]
        np.testing.assert_array_equal(found, talib.MFI(prices, prices, prices, bars[:, VOLUME].copy(), 14))
        assert (found[14:] == 0).all()


def test_mfi_of_rises_only_is_100(compute: Compute, closes: Closes) -> None:
    np.testing.assert_array_equal(compute("mfi", closes(np.arange(1.0, 40.0)))[14:, 0], 100.0)


def test_mfi_is_exactly_zero_as_soon_as_no_volume_is_in_the_window(compute: Compute, closes: Closes) -> None:
    bars = closes(100 + np.random.default_rng(8).normal(size=60))
    bars[:, VOLUME] = 1e9 / 7
    bars[30:, VOLUME] = 0.0
    found = compute("mfi(14)", bars)[:, 0]
    np.testing.assert_array_equal(found[29 + 14 :], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_mfi_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(9).normal(size=200)
    expected = compute("mfi", closes(prices))
    np.testing.assert_allclose(compute("mfi", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_mfi_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("mfi", closes([7.0]))).all()
