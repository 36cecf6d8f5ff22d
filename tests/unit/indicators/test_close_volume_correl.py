"""Correlation of close and volume against TA-Lib, numpy and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [2, 5, 30, 100])
def test_close_volume_correl_equals_numpy_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    a, b = (np.lib.stride_tricks.sliding_window_view(daily[:, column], period) for column in (CLOSE, VOLUME))
    still = (np.ptp(a, axis=1) == 0) | (np.ptp(b, axis=1) == 0)
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    values = np.where(still, 0.0, (a * b).sum(axis=1) / np.where(still, 1.0, size))
    expected = np.concatenate([np.full(period - 1, np.nan), values])
    assert_close(compute(f"close_volume_correl({period})", daily)[:, 0], expected)


@pytest.mark.parametrize("period", [5, 30, 100])
def test_close_volume_correl_equals_talib_where_its_sums_keep_their_digits(
    compute: Compute, closes: Closes, assert_close: Check, period: int
) -> None:
    rng = np.random.default_rng(6)
    bars = closes(10 + rng.normal(size=2_000))
    bars[:, VOLUME] = 10 + rng.normal(size=2_000)
    expected = talib.CORREL(bars[:, CLOSE].copy(), bars[:, VOLUME].copy(), period)
    assert_close(compute(f"close_volume_correl({period})", bars)[:, 0], expected)


def test_close_volume_correl_by_hand(compute: Compute, closes: Closes) -> None:
    # distances -1 0 1 and -1 -1 2: products 3, squares 2 and 6; then the same in another order
    bars = closes([1, 2, 3, 1])
    bars[:, VOLUME] = [1, 1, 4, 1]
    found = compute("close_volume_correl(3)", bars)[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 3 / math.sqrt(12), 3 / math.sqrt(12)], rtol=1e-14)


def test_close_volume_correl_of_what_stands_still_is_what_talib_returns(compute: Compute, closes: Closes) -> None:
    for prices, volume in ((np.full(40, 0.1), np.arange(40.0)), (np.arange(1.0, 41.0), np.zeros(40))):
        bars = closes(prices)
        bars[:, VOLUME] = volume
        found = compute("close_volume_correl(30)", bars)[:, 0]
        np.testing.assert_array_equal(found[29:], 0.0)
    np.testing.assert_array_equal(talib.CORREL(np.full(40, 2.0), np.arange(40.0), 30)[29:], 0.0)


@pytest.mark.parametrize("level", [1e13, 1.0, 1e-8])
def test_close_volume_correl_of_a_line_is_1_or_minus_1(compute: Compute, closes: Closes, level: float) -> None:
    prices = level * (1 + 0.01 * np.random.default_rng(7).random(60))
    bars = closes(prices)
    for sign in (1.0, -1.0):
        bars[:, VOLUME] = 3 * level + sign * prices
        found = compute("close_volume_correl(30)", bars)[29:, 0]
        np.testing.assert_allclose(found, sign, rtol=1e-12)
        assert (np.abs(found) <= 1).all()


def test_close_volume_correl_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("close_volume_correl", closes([7.0]))).all()
