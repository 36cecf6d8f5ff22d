"""Plus directional movement against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 5, 14, 200])
def test_plus_dm_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.PLUS_DM(daily[:, HIGH].copy(), daily[:, LOW].copy(), period)
    assert_close(compute(f"plus_dm({period})", daily)[:, 0], expected)


def test_plus_dm_by_hand(compute: Compute, closes: Closes) -> None:
    # highs rise by 2, 3, 1; lows fall by 1, 2, 4: up, up and down count 2, 3 and 4; each sum is halved first
    bars = closes([10, 10, 10, 10])
    bars[:, HIGH] = [12, 14, 17, 18]
    bars[:, LOW] = [9, 8, 6, 2]
    np.testing.assert_array_equal(compute("plus_dm(2)", bars)[:, 0], [np.nan, 2, 1 + 3, 2])


def test_plus_dm_counts_neither_side_where_both_went_as_far(compute: Compute, closes: Closes) -> None:
    bars = closes([10, 10])
    bars[:, HIGH], bars[:, LOW] = [12, 14], [9, 7]
    assert compute("plus_dm(1)", bars)[1, 0] == 0.0


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_plus_dm_of_a_flat_price_is_zero_as_in_talib(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("plus_dm", closes(np.full(60, price)))[:, 0]
    np.testing.assert_array_equal(found[13:], 0.0)
    assert np.isnan(found[:13]).all()


def test_plus_dm_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("plus_dm(2)", closes([7.0]))).all()
