"""Chande momentum oscillator against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 9, 14, 100])
def test_cmo_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    assert_close(compute(f"cmo({period})", daily)[:, 0], talib.CMO(daily[:, CLOSE].copy(), period))


def test_cmo_by_hand(compute: Compute, closes: Closes) -> None:
    # changes +2 -1 +3: gains 1 then (1 + 3) / 2 = 2, losses 0.5 then 0.25
    found = compute("cmo(2)", closes([10, 12, 11, 14]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 50 / 1.5, 175 / 2.25], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_cmo_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    found = compute("cmo(14)", closes(prices))[:, 0]
    np.testing.assert_array_equal(found, talib.CMO(prices, 14))
    assert found[14] == 0.0


def test_cmo_of_rises_only_is_100_and_of_falls_only_minus_100(compute: Compute, closes: Closes) -> None:
    rising = np.arange(1.0, 40.0)
    np.testing.assert_array_equal(compute("cmo", closes(rising))[14:, 0], 100.0)
    np.testing.assert_array_equal(compute("cmo", closes(rising[::-1]))[14:, 0], -100.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_cmo_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(2).normal(size=200)
    expected = compute("cmo", closes(prices))
    np.testing.assert_allclose(compute("cmo", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_cmo_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("cmo", closes([7.0]))).all()
