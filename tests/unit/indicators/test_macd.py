"""MACD against TA-Lib."""

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


@pytest.mark.parametrize("parameters", [(12, 26, 9), (5, 35, 5), (2, 3, 1), (19, 39, 9)])
def test_macd_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, parameters: tuple[int, int, int]
) -> None:
    expected = np.column_stack(talib.MACD(daily[:, CLOSE].copy(), *parameters))
    assert_close(compute("macd({},{},{})".format(*parameters), daily), expected)


def test_macd_by_hand(compute: Compute, closes: Closes) -> None:
    # fast 2 (k 2/3), slow 3 (k 1/2): seeds on the third bar are (2 + 6) / 2 = 4 and (1 + 2 + 6) / 3 = 3
    found = compute("macd(2,3,1)", closes([1, 2, 6, 7]))
    np.testing.assert_allclose(found[2], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(found[3], [6.0 - 5.0, 1.0, 0.0])
    assert np.isnan(found[:2]).all()


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_macd_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("macd", closes(np.full(100, price)))[33:], 0.0)


def test_macd_differs_from_two_ema_columns_at_first_and_no_longer_later(compute: Compute, daily: Floats) -> None:
    line = compute("macd", daily)[:, 0]
    difference = compute("ema(12)", daily)[:, 0] - compute("ema(26)", daily)[:, 0]
    assert abs(line[33] - difference[33]) > 1e-6 * abs(daily[33, CLOSE])
    np.testing.assert_allclose(line[400:], difference[400:], atol=1e-9 * daily[:, CLOSE].max())


def test_macd_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("macd", closes([7.0]))).all()
