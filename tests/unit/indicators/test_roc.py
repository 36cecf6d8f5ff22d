"""Rate of change in per cent against TA-Lib and by hand."""

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


@pytest.mark.parametrize("period", [1, 10, 100])
def test_roc_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    assert_close(compute(f"roc({period})", daily)[:, 0], talib.ROC(daily[:, CLOSE].copy(), period))


def test_roc_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("roc(1)", closes([1, 4, 2, 2.5]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, 300.0, -50.0, 25.0])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_roc_of_a_flat_price_is_0(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("roc", closes(np.full(40, price)))[10:, 0], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_roc_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(1).normal(size=100)
    np.testing.assert_allclose(
        compute("roc", closes(prices * scale)), compute("roc", closes(prices)), rtol=1e-11, atol=1e-11
    )


def test_roc_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("roc(1)", closes([7.0]))).all()
