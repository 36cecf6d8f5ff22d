"""Drawdown against pandas and by hand."""

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


@pytest.mark.parametrize("period", [1, 2, 20, 252])
def test_drawdown_equals_pandas_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    close = pd.Series(daily[:, CLOSE])
    expected = close / close.rolling(period).max() - 1
    assert_close(compute(f"drawdown({period})", daily)[:, 0], expected.to_numpy())


def test_drawdown_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("drawdown(3)", closes([8, 4, 6, 3, 2, 5]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, -0.25, -0.5, (2 - 6) / 6, 0])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_drawdown_of_a_flat_or_rising_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("drawdown(5)", closes(np.full(40, price)))[4:, 0], 0.0)
    rising = price * np.arange(1.0, 41.0)
    np.testing.assert_array_equal(compute("drawdown(5)", closes(rising))[4:, 0], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_drawdown_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(2).normal(size=200)
    expected = compute("drawdown(20)", closes(prices))
    np.testing.assert_allclose(compute("drawdown(20)", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_drawdown_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("drawdown(2)", closes([7.0]))).all()
