"""Z-score against TA-Lib's mean and deviation and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]


@pytest.mark.parametrize("period", [2, 5, 20, 100])
def test_zscore_equals_talibs_mean_and_deviation_on_real_daily_bars(
    compute: Compute, daily: Floats, period: int
) -> None:
    close = daily[:, CLOSE].copy()
    deviation = talib.STDDEV(close, period)
    deviation[deviation == 0] = np.nan
    expected = (close - talib.SMA(close, period)) / deviation
    found = compute(f"zscore({period})", daily)[:, 0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)


def test_zscore_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("zscore(4)", closes([2, 2, 2, 6, 2]))[:, 0]
    np.testing.assert_allclose(found, [np.nan] * 3 + [3 / math.sqrt(3), -1 / math.sqrt(3)], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_zscore_is_null_exactly_while_the_window_is_flat(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    prices[20] *= 2
    found = compute("zscore(5)", closes(prices))[:, 0]
    assert np.isnan(found[:20]).all()
    np.testing.assert_allclose(found[20:25], [2, -0.5, -0.5, -0.5, -0.5], rtol=1e-14)
    assert np.isnan(found[25:]).all()


@pytest.mark.parametrize("scale", [2.0**43, 2.0**-40])
def test_zscore_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(4).normal(size=200)
    expected = compute("zscore", closes(prices))
    np.testing.assert_allclose(compute("zscore", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_zscore_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("zscore", closes([7.0]))).all()
