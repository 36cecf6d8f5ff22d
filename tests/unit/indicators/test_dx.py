"""Directional movement index against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 14, 200])
def test_dx_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    assert_close(compute(f"dx({period})", daily)[:, 0], talib.DX(high, low, close, period))


def test_dx_by_hand(compute: Compute, closes: Closes) -> None:
    # up, up and down count 2, 3 and 4: sums 4 and 0, then 2 and 4
    bars = closes([10, 10, 10, 10])
    bars[:, HIGH] = [12, 14, 17, 18]
    bars[:, LOW] = [9, 8, 6, 2]
    np.testing.assert_allclose(compute("dx(2)", bars)[:, 0], [np.nan, np.nan, 100, 100 * 2 / 6], rtol=1e-15)


def test_dx_keeps_its_value_where_neither_side_ever_moves_as_in_talib(compute: Compute, closes: Closes) -> None:
    moving = 100 + np.random.default_rng(1).normal(size=50)
    prices = np.concatenate([moving, np.full(30_000, moving[-1])])
    found = compute("dx(5)", closes(prices))[:, 0]
    np.testing.assert_allclose(found, talib.DX(prices, prices, prices, 5), rtol=1e-9)
    assert np.isfinite(found[-1])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_dx_of_a_flat_price_is_zero_as_in_talib(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("dx", closes(np.full(60, price)))[:, 0]
    np.testing.assert_array_equal(found[14:], 0.0)
    assert np.isnan(found[:14]).all()


@pytest.mark.parametrize("power", [40, -40])
def test_dx_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, power: int) -> None:
    np.testing.assert_array_equal(compute("dx", daily * 2.0**power), compute("dx", daily))


def test_dx_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("dx(2)", closes([7.0]))).all()
