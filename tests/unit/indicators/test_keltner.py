"""Keltner channel against TA-Lib's averages and by hand."""

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


@pytest.mark.parametrize(("period", "atr", "factor"), [(20, 10, 2.0), (1, 1, 0.5), (10, 20, 1.5), (50, 14, 0.0)])
def test_keltner_equals_talibs_averages_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int, atr: int, factor: float
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    width = factor * talib.ATR(high, low, close, atr)
    middle = talib.EMA(close, period) + 0 * width
    expected = np.column_stack([middle + width, middle, middle - width])
    assert_close(compute(f"keltner({period},{atr},{factor})", daily), expected)


def test_keltner_by_hand(compute: Compute, closes: Closes) -> None:
    # ema(2) 11, then 2/3 of the way to 14; true ranges 2 and 2
    found = compute("keltner(2,1,2)", closes([10, 12, 14]))
    np.testing.assert_allclose(found[1:], [[15, 11, 7], [17, 13, 9]], rtol=1e-15)
    assert np.isnan(found[0]).all()


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_keltner_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("keltner", closes(np.full(60, price)))[19:], price)


def test_keltner_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("keltner(1,1,2)", closes([7.0]))).all()
