"""Average true range against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 14, 100])
def test_atr_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"atr({period})", daily)[:, 0], talib.ATR(high, low, close, period))


def test_atr_begins_with_the_second_bars_range(compute: Compute, closes: Closes) -> None:
    bars = closes([10, 10, 10, 10])
    bars[:, HIGH] = [99, 12, 11, 14]
    bars[:, LOW] = [1, 9, 10, 13]
    # true ranges: - 3 1 4; the first bar's 98 counts for nothing
    np.testing.assert_array_equal(compute("atr(2)", bars)[:, 0], [np.nan, np.nan, 2.0, 3.0])


def test_atr_counts_the_gap_to_the_previous_close(compute: Compute, closes: Closes) -> None:
    np.testing.assert_array_equal(compute("atr(1)", closes([10, 14, 9]))[:, 0], [np.nan, 4.0, 5.0])


@pytest.mark.parametrize("price", [0.1, 1e13, 1e-8])
def test_atr_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("atr", closes(np.full(60, price)))[14:, 0], 0.0)


def test_atr_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("atr(1)", closes([7.0]))).all()
