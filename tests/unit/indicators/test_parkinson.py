"""Parkinson volatility against numpy and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 5, 20, 100])
def test_parkinson_equals_numpy_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    high, low = daily[:, HIGH], daily[:, LOW]
    terms = np.log(high / low) ** 2 / (4 * math.log(2))
    windows = np.lib.stride_tricks.sliding_window_view(terms, period)
    expected = np.concatenate([np.full(period - 1, np.nan), np.sqrt(windows.mean(axis=1))])
    assert_close(compute(f"parkinson({period})", daily)[:, 0], expected)


def test_parkinson_by_hand(compute: Compute, closes: Closes) -> None:
    # ranges e, e³ and none: 1, 9 and 0 over 4 ln 2
    bars = closes([1, 1, 1])
    bars[:, HIGH] = [math.e, math.e**3, 1]
    found = compute("parkinson(2)", bars)[:, 0]
    expected = [np.nan, math.sqrt(5 / (4 * math.log(2))), math.sqrt(4.5 / (4 * math.log(2)))]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_parkinson_of_bars_without_a_range_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("parkinson(20)", closes(price * np.arange(1.0, 41.0)))[:, 0]
    np.testing.assert_array_equal(found[19:], 0.0)


def test_parkinson_is_exactly_zero_as_soon_as_the_window_has_no_range(compute: Compute, closes: Closes) -> None:
    bars = closes(np.full(60, 7.0))
    bars[:30, HIGH] = 7.0 + np.random.default_rng(3).random(30)
    found = compute("parkinson(20)", bars)[:, 0]
    np.testing.assert_array_equal(found[29 + 20 :], 0.0)
    assert (found[19 : 29 + 20] > 0).all()


@pytest.mark.parametrize("scale", [2.0**43, 2.0**-40])
def test_parkinson_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, scale: float) -> None:
    np.testing.assert_array_equal(compute("parkinson", daily * scale), compute("parkinson", daily))


def test_parkinson_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("parkinson", closes([7.0]))).all()
