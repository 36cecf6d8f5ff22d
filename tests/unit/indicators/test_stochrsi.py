"""Stochastic of the relative strength index against TA-Lib."""

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


@pytest.mark.parametrize("parameters", [(14, 5, 3), (14, 14, 3), (2, 1, 1), (9, 30, 10)])
def test_stochrsi_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, parameters: tuple[int, int, int]
) -> None:
    period, fast_k, fast_d = parameters
    expected = np.column_stack(talib.STOCHRSI(daily[:, CLOSE].copy(), period, fast_k, fast_d))
    assert_close(compute(f"stochrsi({period},{fast_k},{fast_d})", daily), expected)


def test_stochrsi_is_exactly_zero_as_soon_as_the_price_stands_still(compute: Compute, closes: Closes) -> None:
    moving = 100 + np.random.default_rng(7).normal(size=50)
    prices = np.concatenate([moving, np.full(2_000, moving[-1])])
    np.testing.assert_array_equal(compute("stochrsi", closes(prices))[49 + 6 :], 0.0)


def test_stochrsi_by_hand(compute: Compute, closes: Closes) -> None:
    # changes +2 -1 +3 -1: rsi(2) = 66.67, 200 / 2.25 = 88.89, gain 1, loss 0.625: 61.54
    found = compute("stochrsi(2,2,1)", closes([10, 12, 11, 14, 13]))
    np.testing.assert_array_equal(found, [[np.nan, np.nan]] * 3 + [[100, 100], [0, 0]])


@pytest.mark.parametrize("prices", [np.full(60, 0.1), np.arange(1.0, 61.0), np.arange(61.0, 1.0, -1.0)])
def test_stochrsi_of_an_index_that_stands_still_is_what_talib_returns(
    compute: Compute, closes: Closes, prices: Floats
) -> None:
    found = compute("stochrsi", closes(prices))
    np.testing.assert_array_equal(found, np.column_stack(talib.STOCHRSI(prices)))
    assert (found[20:] == 0).all()


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_stochrsi_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(5).normal(size=200)
    expected = compute("stochrsi", closes(prices))
    np.testing.assert_allclose(compute("stochrsi", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_stochrsi_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("stochrsi", closes([7.0]))).all()
