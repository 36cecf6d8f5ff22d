"""Balance of power against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def test_bop_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    prices = (daily[:, column].copy() for column in (OPEN, HIGH, LOW, CLOSE))
    assert_close(compute("bop", daily)[:, 0], talib.BOP(*prices))


def test_bop_by_hand(compute: Compute, closes: Closes) -> None:
    bars = closes([6, 4, 5])
    bars[:, OPEN], bars[:, HIGH], bars[:, LOW] = [5, 8, 5], [8, 8, 7], [4, 4, 3]
    np.testing.assert_array_equal(compute("bop", bars)[:, 0], [0.25, -1, 0])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_bop_of_a_bar_without_a_range_is_what_talib_returns(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(3, price)
    found = compute("bop", closes(prices))[:, 0]
    np.testing.assert_array_equal(found, talib.BOP(prices, prices, prices, prices))
    assert (found == 0).all()


@pytest.mark.parametrize("scale", [2.0**43, 2.0**-40])
def test_bop_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, scale: float) -> None:
    np.testing.assert_array_equal(compute("bop", daily * scale), compute("bop", daily))
