"""Tillson's T3 moving average against TA-Lib and by hand."""

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


@pytest.mark.parametrize(("period", "factor"), [(5, 0.7), (1, 0.7), (2, 0.0), (3, 1.0), (50, 0.618)])
def test_t3_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int, factor: float
) -> None:
    expected = talib.T3(daily[:, CLOSE].copy(), period, factor)
    assert_close(compute(f"t3({period},{factor})", daily)[:, 0], expected)


def test_t3_with_factor_zero_is_the_third_average_and_with_one_three_dema_in_a_row(
    compute: Compute, daily: Floats
) -> None:
    close = daily[:, CLOSE].copy()
    third = talib.EMA(talib.EMA(talib.EMA(close, 4), 4), 4)
    np.testing.assert_allclose(compute("t3(4,0)", daily)[18:, 0], third[18:], rtol=1e-12)
    dema = talib.DEMA(talib.DEMA(talib.DEMA(close, 4), 4), 4)
    np.testing.assert_allclose(compute("t3(4,1)", daily)[300:, 0], dema[300:], rtol=1e-9)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_t3_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("t3(20)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[114:], price)


def test_t3_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("t3(2)", closes([7.0]))).all()
    assert compute("t3(1)", closes([7.0]))[0, 0] == 7.0
