"""Percent rank against pandas and by hand."""

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


@pytest.mark.parametrize("period", [1, 5, 20, 100])
def test_percent_rank_equals_pandas_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    # its place in the window of period + 1 closes, counting those that are equal, less itself
    place = pd.Series(daily[:, CLOSE]).rolling(period + 1).rank(method="max")
    expected = (100 * (place - 1) / period).to_numpy()
    assert_close(compute(f"percent_rank({period})", daily)[:, 0], expected)


def test_percent_rank_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("percent_rank(4)", closes([4, 1, 3, 2, 3, 0, 9]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan] * 4 + [75, 0, 100])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_percent_rank_of_a_flat_price_is_100(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("percent_rank(20)", closes(np.full(60, price)))[20:, 0], 100.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_percent_rank_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(8).normal(size=200)
    expected = compute("percent_rank(20)", closes(prices))
    np.testing.assert_allclose(compute("percent_rank(20)", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_percent_rank_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("percent_rank(1)", closes([7.0]))).all()
