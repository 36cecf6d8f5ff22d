"""Donchian channel against pandas and by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 20, 200])
def test_donchian_equals_pandas_rolling_extremes_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    upper = pd.Series(daily[:, HIGH]).rolling(period).max().to_numpy()
    lower = pd.Series(daily[:, LOW]).rolling(period).min().to_numpy()
    expected = np.column_stack([upper, (upper + lower) / 2, lower])
    assert_close(compute(f"donchian({period})", daily), expected)


def test_donchian_counts_its_own_bar(compute: Compute, closes: Closes) -> None:
    bars = closes([5, 5, 5])
    bars[:, HIGH] = [9, 6, 7]
    bars[:, LOW] = [5, 2, 3]
    np.testing.assert_array_equal(compute("donchian(2)", bars)[1:], [[9, 5.5, 2], [7, 4.5, 2]])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_donchian_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("donchian", closes(np.full(60, price)))[19:], price)


def test_donchian_of_a_single_bar_is_null_and_with_period_one_its_range(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("donchian(2)", closes([7.0]))).all()
    np.testing.assert_array_equal(compute("donchian(1)", closes([7.0]))[0], 7.0)
