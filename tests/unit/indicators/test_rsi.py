"""Relative strength index against TA-Lib and by hand."""

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
def test_rsi_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    expected = talib.RSI(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"rsi({period})", daily)[:, 0], expected)


def test_rsi_by_hand(compute: Compute, closes: Closes) -> None:
    # changes +2 -1 +3: gains 1 then (1 + 3) / 2 = 2, losses 0.5 then 0.25
    found = compute("rsi(2)", closes([10, 12, 11, 14]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 100 / 1.5, 200 / 2.25], rtol=1e-15)


def test_rsi_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes) -> None:
    prices = np.full(40, 0.1)
    found = compute("rsi(14)", closes(prices))[:, 0]
    np.testing.assert_array_equal(found, talib.RSI(prices, 14))
    assert found[14] == 0.0


def test_rsi_of_rises_only_is_100_and_of_falls_only_0(compute: Compute, closes: Closes) -> None:
    rising = np.arange(1.0, 40.0)
    np.testing.assert_array_equal(compute("rsi", closes(rising))[14:, 0], 100.0)
    np.testing.assert_array_equal(compute("rsi", closes(rising[::-1]))[14:, 0], 0.0)


def test_rsi_keeps_its_value_while_the_price_stands_still(compute: Compute, closes: Closes) -> None:
    moving = 100 + np.random.default_rng(1).normal(size=50)
    prices = np.concatenate([moving, np.full(2_000, moving[-1])])
    found = compute("rsi", closes(prices))[:, 0]
    np.testing.assert_allclose(found[50:], found[49], rtol=1e-9)
    np.testing.assert_allclose(found, talib.RSI(prices, 14), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e13, 1e-8, 1e-13])
def test_rsi_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(2).normal(size=200)
    expected = compute("rsi", closes(prices))
    np.testing.assert_allclose(compute("rsi", closes(prices * scale)), expected, rtol=1e-9)


def test_rsi_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("rsi", closes([7.0]))).all()
