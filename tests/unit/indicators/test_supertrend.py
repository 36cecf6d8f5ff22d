"""Supertrend against a plain reading of its rule, with TA-Lib's ATR, and by hand."""

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


@pytest.mark.parametrize(("period", "factor"), [(10, 3.0), (1, 0.0), (7, 1.5), (50, 2.0)])
def test_supertrend_equals_its_rule_over_talibs_atr_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int, factor: float
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    width = factor * talib.ATR(high, low, close, period)
    upper, lower = (high + low) / 2 + width, (high + low) / 2 - width
    expected = np.full((len(daily), 2), np.nan)
    expected[period] = upper[period], -1
    for i in range(period + 1, len(daily)):
        if close[i - 1] <= upper[i - 1]:
            upper[i] = min(upper[i], upper[i - 1])
        if close[i - 1] >= lower[i - 1]:
            lower[i] = max(lower[i], lower[i - 1])
        if expected[i - 1, 1] < 0:
            expected[i] = (lower[i], 1) if close[i] > upper[i] else (upper[i], -1)
        else:
            expected[i] = (upper[i], -1) if close[i] < lower[i] else (lower[i], 1)
    assert_close(compute(f"supertrend({period},{factor})", daily), expected)


def test_supertrend_by_hand(compute: Compute, closes: Closes) -> None:
    # bands 11 ± 1, 12 ± 1, 17 ± 5, 18 ± 1, 9 ± 9: the upper stays at 12 until 17 has passed it, then the lower
    # rises from 12 to 17 until 9 has passed that; the upper one is 18 by then
    found = compute("supertrend(1,1)", closes([10, 11, 12, 17, 18, 9]))
    expected = [[np.nan, np.nan], [12, -1], [12, -1], [12, 1], [17, 1], [18, -1]]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_supertrend_of_a_flat_price_is_that_price_and_a_fall(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("supertrend", closes(np.full(60, price)))[10:]
    np.testing.assert_array_equal(found, np.tile([price, -1.0], (50, 1)))


def test_supertrend_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("supertrend(1,1)", closes([7.0]))).all()
