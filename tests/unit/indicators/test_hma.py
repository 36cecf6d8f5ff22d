"""Hull moving average against TA-Lib's weighted averages and by hand."""

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


@pytest.mark.parametrize("period", [2, 3, 9, 16, 55, 200])
def test_hma_equals_three_weighted_averages_of_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    close = daily[:, CLOSE].copy()
    quick = 2 * talib.WMA(close, period // 2) - talib.WMA(close, period)
    assert_close(compute(f"hma({period})", daily)[:, 0], talib.WMA(quick, int(period**0.5)))


def test_hma_by_hand(compute: Compute, closes: Closes) -> None:
    # wma(2) 5/3 14/3, wma(4) 30/10 and 40/10 from the fourth close on: quick 22/3 - 3, 28/3 - 4; wma(2) of these
    found = compute("hma(4)", closes([1, 2, 3, 4, 5]))[:, 0]
    np.testing.assert_allclose(found[4], (2 * (28 / 3 - 4) + (22 / 3 - 3)) / 3, rtol=1e-15)
    assert np.isnan(found[:4]).all()


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_hma_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("hma(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[54:], price)


def test_hma_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("hma(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 22 :]
    np.testing.assert_array_equal(found, compute("hma(20)", closes(small))[22:])


def test_hma_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("hma(2)", closes([7.0, 8.0]))[0]).all()
