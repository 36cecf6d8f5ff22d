"""Kaufman's adaptive moving average against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 10, 30, 200])
def test_kama_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.KAMA(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"kama({period})", daily)[:, 0], expected)


def test_kama_by_hand(compute: Compute, closes: Closes) -> None:
    # efficiency |7 - 4| / (2 + 5) from the second close, 2, on; then |2 - 2| / (5 + 5), so the slow pace
    found = compute("kama(2)", closes([4, 2, 7, 2]))[:, 0]
    first = 2 + (7 - 2) * (3 / 7 * (2 / 3 - 2 / 31) + 2 / 31) ** 2
    np.testing.assert_allclose(found, [np.nan, np.nan, first, first + (2 - first) * (2 / 31) ** 2], rtol=1e-15)


def test_kama_takes_the_fast_pace_where_nothing_moved_any_more(compute: Compute, closes: Closes) -> None:
    found = compute("kama(2)", closes([4, 1, 4, 4, 4]))[:, 0]
    assert found[4] == pytest.approx(found[3] + (4 - found[3]) * 4 / 9, rel=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_kama_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("kama(30)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[30:], price)


def test_kama_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("kama(2)", closes([7.0]))).all()
