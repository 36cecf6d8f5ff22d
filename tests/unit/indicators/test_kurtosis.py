"""Excess kurtosis against pandas and by hand."""

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


@pytest.mark.parametrize("period", [4, 5, 20, 100])
def test_kurtosis_equals_pandas_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(daily[:, CLOSE], period)
    values = pd.DataFrame(windows).kurt(axis=1).to_numpy(copy=True)
    values[np.ptp(windows, axis=1) == 0] = np.nan  # pandas: 0
    expected = np.concatenate([np.full(period - 1, np.nan), values])
    assert_close(compute(f"kurtosis({period})", daily)[:, 0], expected)


def test_kurtosis_by_hand(compute: Compute, closes: Closes) -> None:
    # distances -1 -1 -1 3 from 2: mean square 3, mean fourth power 21: (5 * 21 / 9 - 9) * 3 / 2
    found = compute("kurtosis(4)", closes([1, 1, 1, 5]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, np.nan, 4], rtol=1e-14)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_kurtosis_is_null_exactly_while_the_window_is_flat(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(40, price)
    prices[20] *= 2
    found = compute("kurtosis(5)", closes(prices))[:, 0]
    assert np.isnan(found[:20]).all()
    np.testing.assert_allclose(found[20:25], 5.0, rtol=1e-13)
    assert np.isnan(found[25:]).all()


@pytest.mark.parametrize("scale", [2.0**43, 2.0**-40, 2.0**-300])
def test_kurtosis_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(5).normal(size=200)
    expected = compute("kurtosis", closes(prices))
    np.testing.assert_allclose(compute("kurtosis", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_kurtosis_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("kurtosis(4)", closes([7.0]))).all()
