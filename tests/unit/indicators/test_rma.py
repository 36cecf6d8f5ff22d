"""Wilder's moving average against pandas and by hand."""

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


@pytest.mark.parametrize("period", [1, 2, 14, 200])
def test_rma_equals_pandas_seeded_average_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    seeded = pd.Series(daily[:, CLOSE])
    seeded[period - 1] = seeded[:period].mean()
    seeded[: period - 1] = np.nan
    expected = seeded.ewm(alpha=1 / period, adjust=False).mean().to_numpy()
    assert_close(compute(f"rma({period})", daily)[:, 0], expected)


def test_rma_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("rma(3)", closes([1, 2, 6, 6, 10]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 3, 4, 6])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_rma_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("rma(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], price)


def test_rma_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("rma(2)", closes([7.0]))).all()
    assert compute("rma(1)", closes([7.0]))[0, 0] == 7.0
