"""Volume-weighted moving average against pandas and by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 20, 200])
def test_vwma_equals_pandas_rolling_sums_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    close, volume = pd.Series(daily[:, CLOSE]), pd.Series(daily[:, VOLUME] + 1.0)
    daily[:, VOLUME] = volume
    expected = (close * volume).rolling(period).sum() / volume.rolling(period).sum()
    assert_close(compute(f"vwma({period})", daily)[:, 0], expected.to_numpy())


def test_vwma_is_null_while_nothing_in_the_window_has_traded(compute: Compute, closes: Closes) -> None:
    bars = closes([5, 8, 2, 7, 9])
    bars[:, VOLUME] = [1, 3, 0, 0, 2]
    np.testing.assert_array_equal(compute("vwma(2)", bars)[:, 0], [np.nan, 29 / 4, 8, np.nan, 9])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_vwma_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("vwma(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], price)


def test_vwma_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("vwma(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("vwma(20)", closes(small))[19:])


def test_vwma_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("vwma(2)", closes([7.0]))).all()
    assert compute("vwma(1)", closes([7.0]))[0, 0] == 7.0
