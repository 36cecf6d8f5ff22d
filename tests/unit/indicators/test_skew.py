"""Skewness against pandas and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [3, 5, 20, 100])
def test_skew_equals_pandas_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(daily[:, CLOSE], period)
    values = pd.DataFrame(windows).skew(axis=1).to_numpy(copy=True)
    values[np.ptp(windows, axis=1) == 0] = np.nan  # pandas: 0
    expected = np.concatenate([np.full(period - 1, np.nan), values])
    assert_close(compute(f"skew({period})", daily)[:, 0], expected)


def test_skew_by_hand(compute: Compute, closes: Closes) -> None:
    # distances -1 -1 2 from 1: squares 6, cubes 6: sqrt(3) (6 / 3) / (6 / 3)^1.5 sqrt(2)
    found = compute("skew(3)", closes([0.5, 0.5, 2]))[:, 0]
    np.testing.assert_allclose(found[2], math.sqrt(3), rtol=1e-15)
    assert compute("skew(3)", closes([1, 2, 3]))[2, 0] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_skew_is_null_exactly_while_the_window_is_flat(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    prices[20] *= 2
    found = compute("skew(5)", closes(prices))[:, 0]
    assert np.isnan(found[:20]).all()
    np.testing.assert_allclose(found[20:25], math.sqrt(5), rtol=1e-13)
    assert np.isnan(found[25:]).all()


@pytest.mark.parametrize("scale", [2.0**43, 2.0**-40, 2.0**-300])
def test_skew_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(5).normal(size=200)
    expected = compute("skew", closes(prices))
    np.testing.assert_allclose(compute("skew", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_skew_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("skew(3)", closes([7.0]))).all()
