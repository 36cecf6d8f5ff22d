"""Zero-lag exponential moving average against TA-Lib's average and by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 3, 20, 200])
def test_zlema_equals_talibs_average_of_the_close_ahead_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    close = pd.Series(daily[:, CLOSE])
    ahead = (2 * close - close.shift((period - 1) // 2)).to_numpy()
    assert_close(compute(f"zlema({period})", daily)[:, 0], talib.EMA(ahead, period))


def test_zlema_by_hand(compute: Compute, closes: Closes) -> None:
    # ahead from the second close on: 3 10 8 2, their mean 7, then half of the way
    found = compute("zlema(3)", closes([1, 2, 6, 7, 4.5]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, 7, 4.5])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_zlema_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("zlema(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[72:], price)


def test_zlema_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("zlema(2)", closes([7.0]))).all()
    assert compute("zlema(1)", closes([7.0]))[0, 0] == 7.0
