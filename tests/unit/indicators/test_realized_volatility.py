"""Realised volatility against numpy and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 5, 20, 100])
def test_realized_volatility_equals_numpy_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    squares = np.diff(np.log(daily[:, CLOSE])) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(squares, period)
    expected = np.concatenate([np.full(period, np.nan), np.sqrt(windows.sum(axis=1))])
    assert_close(compute(f"realized_volatility({period})", daily)[:, 0], expected)


def test_realized_volatility_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("realized_volatility(2)", closes([1, math.e, 1 / math.e**3, 1 / math.e**3]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, math.sqrt(1 + 16), 4.0], rtol=1e-15)


def test_realized_volatility_is_exactly_zero_as_soon_as_the_window_is_flat(compute: Compute, closes: Closes) -> None:
    moving = 100 + np.random.default_rng(6).normal(size=37)
    prices = np.concatenate([moving, np.full(60, moving[-1])])
    found = compute("realized_volatility(20)", closes(prices))[:, 0]
    np.testing.assert_array_equal(found[36 + 20 :], 0.0)
    assert (found[20 : 36 + 20] > 0).all()


def test_realized_volatility_of_huge_then_tiny_prices_is_defined_and_forgotten(
    compute: Compute, closes: Closes
) -> None:
    prices = np.concatenate([np.full(30, 1e13), 1e-8 * (1 + 1e-9 * np.arange(60))])
    found = compute("realized_volatility(20)", closes(prices))[:, 0]
    assert found[30] == pytest.approx(math.log(1e21), rel=1e-14)
    calm = np.sqrt(np.sum(np.log1p(np.diff(prices[-21:]) / prices[-21:-1]) ** 2))
    assert found[-1] == pytest.approx(calm, rel=1e-12)
    assert found[30 + 20] == pytest.approx(calm, rel=1e-6)


def test_realized_volatility_does_not_drift_over_a_million_bars(compute: Compute, closes: Closes) -> None:
    prices = np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, 1_000_000)))
    found = compute("realized_volatility(50)", closes(prices))[:, 0]
    for i in [*range(50, 150), *range(999_900, 1_000_000)]:
        window = prices[i - 50 : i + 1]
        steps = np.log1p(np.diff(window) / window[:-1])
        assert found[i] == pytest.approx(math.sqrt(math.fsum(steps**2)), rel=1e-14)


def test_realized_volatility_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("realized_volatility(1)", closes([7.0]))).all()
