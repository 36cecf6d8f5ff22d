"""Average price against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def test_avgprice_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    prices = (daily[:, column].copy() for column in (OPEN, HIGH, LOW, CLOSE))
    assert_close(compute("avgprice", daily)[:, 0], talib.AVGPRICE(*prices))


def test_avgprice_by_hand(compute: Compute, closes: Closes) -> None:
    bars = closes([4])
    bars[:, HIGH], bars[:, LOW] = 8.5, 4
    bars[:, OPEN] = 6
    np.testing.assert_array_equal(compute("avgprice", bars)[:, 0], [5.625])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_avgprice_of_a_flat_price_is_that_price_without_any_volume(
    compute: Compute, closes: Closes, price: float
) -> None:
    bars = closes(np.full(9, price))
    bars[:, VOLUME] = 0.0
    np.testing.assert_allclose(compute("avgprice", bars)[:, 0], price, rtol=3e-16)
