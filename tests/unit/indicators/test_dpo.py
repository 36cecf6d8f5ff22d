"""Detrended price oscillator against pandas and by hand."""

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


@pytest.mark.parametrize("period", [1, 2, 3, 20, 21, 100])
def test_dpo_equals_pandas_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    close = pd.Series(daily[:, CLOSE])
    expected = close.shift(period // 2 + 1) - close.rolling(period).mean()
    assert_close(compute(f"dpo({period})", daily)[:, 0], expected.to_numpy())


def test_dpo_by_hand(compute: Compute, closes: Closes) -> None:
    # three bars back less the mean of four: 1 - 4, 2 - 5.25
    found = compute("dpo(4)", closes([1, 2, 6, 7, 6]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, -3, -3.25])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_dpo_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("dpo", closes(np.full(60, price)))[19:, 0], 0.0)


def test_dpo_of_huge_prices_is_exact_to_the_last_digit(compute: Compute, closes: Closes) -> None:
    found = compute("dpo(4)", closes(1e13 + 4 * np.arange(40.0)))[:, 0]
    np.testing.assert_array_equal(found[3:], -6.0)


def test_dpo_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("dpo(1)", closes([7.0]))).all()
