"""Ichimoku lines against pandas and by hand."""

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


@pytest.mark.parametrize("lengths", [(9, 26, 52), (1, 2, 3), (52, 9, 26), (20, 60, 120)])
def test_ichimoku_equals_pandas_rolling_extremes_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, lengths: tuple[int, int, int]
) -> None:
    high, low = pd.Series(daily[:, HIGH]), pd.Series(daily[:, LOW])
    conversion, base, span_b = ((high.rolling(n).max() + low.rolling(n).min()) / 2 for n in lengths)
    expected = np.column_stack([conversion, base, (conversion + base) / 2, span_b])
    assert_close(compute("ichimoku({},{},{})".format(*lengths), daily), expected)


def test_ichimoku_by_hand(compute: Compute, closes: Closes) -> None:
    bars = closes([5, 5, 5])
    bars[:, HIGH] = [9, 6, 7]
    bars[:, LOW] = [5, 2, 3]
    found = compute("ichimoku(1,2,3)", bars)
    np.testing.assert_array_equal(found[1:], [[4, 5.5, 4.75, np.nan], [5, 4.5, 4.75, 5.5]])
    np.testing.assert_array_equal(found[0], [7, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_ichimoku_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("ichimoku", closes(np.full(90, price)))[51:], price)


def test_ichimoku_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("ichimoku", closes([7.0]))).all()
