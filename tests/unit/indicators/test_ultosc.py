"""Ultimate oscillator against TA-Lib and by hand."""

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


@pytest.mark.parametrize("periods", [(7, 14, 28), (1, 2, 3), (28, 7, 14), (5, 5, 5), (10, 50, 100)])
def test_ultosc_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, periods: tuple[int, int, int]
) -> None:
    high, low, close = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE))
    one, two, three = periods
    expected = talib.ULTOSC(high, low, close, one, two, three)
    assert_close(compute(f"ultosc({one},{two},{three})", daily)[:, 0], expected)


def test_ultosc_by_hand(compute: Compute, closes: Closes) -> None:
    # pressures 2 1 4 of ranges 4 2 4: shares 1 of 1, 5/6 of 2, 7/10 of 3
    bars = closes([10, 11, 10, 13])
    bars[:, HIGH], bars[:, LOW] = [10, 13, 11, 13], [10, 9, 9, 9]
    found = compute("ultosc(1,2,3)", bars)[:, 0]
    np.testing.assert_allclose(found, [np.nan] * 3 + [100 * (4 + 2 * 5 / 6 + 0.7) / 7], rtol=1e-14)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_ultosc_of_a_flat_price_is_what_talib_returns(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(60, price)
    found = compute("ultosc", closes(prices))[:, 0]
    np.testing.assert_array_equal(found, talib.ULTOSC(prices, prices, prices))
    assert found[28] == 0.0


def test_ultosc_of_rises_only_is_100(compute: Compute, closes: Closes) -> None:
    np.testing.assert_allclose(compute("ultosc", closes(np.arange(1.0, 60.0)))[28:, 0], 100.0, rtol=1e-15)


def test_ultosc_does_not_depend_on_the_order_of_its_periods(compute: Compute, daily: Floats) -> None:
    expected = compute("ultosc(7,14,28)", daily)
    np.testing.assert_array_equal(compute("ultosc(28,14,7)", daily), expected)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_ultosc_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(7).normal(size=200)
    expected = compute("ultosc", closes(prices))
    np.testing.assert_allclose(compute("ultosc", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_ultosc_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("ultosc(1,1,1)", closes([7.0]))).all()
