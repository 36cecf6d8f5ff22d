"""Double exponential moving average against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [1, 2, 5, 30, 200])
def test_dema_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.DEMA(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"dema({period})", daily)[:, 0], expected)


def test_dema_by_hand(compute: Compute, closes: Closes) -> None:
    # ema(2) 2 4 8 with k 2/3 from the second close on; its own average 3, then 3 + (8 - 3) * 2/3
    found = compute("dema(2)", closes([1, 3, 5, 10]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 2 * 4 - 3, 2 * 8 - (3 + 10 / 3)], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_dema_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("dema(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[144:], price)


def test_dema_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("dema(2)", closes([7.0]))).all()
    assert compute("dema(1)", closes([7.0]))[0, 0] == 7.0
