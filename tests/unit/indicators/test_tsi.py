"""True strength index against TA-Lib's averages and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def by_talib(close: Floats, long: int, short: int) -> Floats:
    changes = np.concatenate([[np.nan], np.diff(close)])
    moved, size = (talib.EMA(talib.EMA(x, long), short) for x in (changes, np.abs(changes)))
    return np.asarray(100 * moved / size)


@pytest.mark.parametrize(("long", "short"), [(25, 13), (13, 25), (5, 2), (100, 3)])
def test_tsi_equals_talibs_averages_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, long: int, short: int
) -> None:
    expected = by_talib(daily[:, CLOSE], long, short)
    assert_close(compute(f"tsi({long},{short})", daily)[:, 0], expected)


def test_tsi_by_hand(compute: Compute, closes: Closes) -> None:
    # changes 3 -1 4 -2: averages of two 1 3 -1/3, of two 2 4/9; sizes 3 1 4 2: 2 10/3 22/9, 8/3 68/27
    found = compute("tsi(2,2)", closes([10, 13, 12, 16, 14]))[:, 0]
    np.testing.assert_allclose(found, [np.nan] * 3 + [75, 100 * (4 / 9) / (68 / 27)], rtol=1e-14)


def test_tsi_of_rises_only_is_100_and_of_falls_only_minus_100(compute: Compute, closes: Closes) -> None:
    rising = np.arange(1.0, 60.0) ** 2
    np.testing.assert_array_equal(compute("tsi", closes(rising))[37:, 0], 100.0)
    np.testing.assert_array_equal(compute("tsi", closes(rising[::-1]))[37:, 0], -100.0)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_tsi_is_null_until_the_price_moves(compute: Compute, closes: Closes, price: float) -> None:
    prices = np.full(60, price)
    prices[-1] *= 2
    found = compute("tsi", closes(prices))[:, 0]
    assert np.isnan(found[:-1]).all()
    assert found[-1] == 100.0


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_tsi_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(10).normal(size=200)
    expected = compute("tsi", closes(prices))
    np.testing.assert_allclose(compute("tsi", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


def test_tsi_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("tsi(1,1)", closes([7.0]))).all()
