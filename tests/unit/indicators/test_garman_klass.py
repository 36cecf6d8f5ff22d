"""Garman-Klass volatility against numpy and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, OPEN

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 5, 20, 100])
def test_garman_klass_equals_numpy_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    start, high, low, close = (daily[:, column] for column in (OPEN, HIGH, LOW, CLOSE))
    terms = np.log(high / low) ** 2 / 2 - (2 * math.log(2) - 1) * np.log(close / start) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(terms, period)
    expected = np.concatenate([np.full(period - 1, np.nan), np.sqrt(windows.mean(axis=1))])
    assert_close(compute(f"garman_klass({period})", daily)[:, 0], expected)


def test_garman_klass_by_hand(compute: Compute, closes: Closes) -> None:
    # ranges e² and e, the second one crossed from the low to the high
    bars = closes([1, math.e])
    bars[:, OPEN], bars[:, HIGH], bars[:, LOW] = 1, [math.e, math.e], [1 / math.e, 1]
    found = compute("garman_klass(1)", bars)[:, 0]
    expected = [math.sqrt(2), math.sqrt(0.5 - (2 * math.log(2) - 1))]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_garman_klass_of_bars_without_a_range_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("garman_klass(20)", closes(price * np.arange(1.0, 41.0)))[:, 0]
    np.testing.assert_array_equal(found[19:], 0.0)


def test_garman_klass_is_exactly_zero_as_soon_as_the_window_has_no_range(compute: Compute, closes: Closes) -> None:
    bars = closes(np.full(60, 7.0))
    bars[:30, HIGH] = 7.0 + np.random.default_rng(3).random(30)
    found = compute("garman_klass(20)", bars)[:, 0]
    np.testing.assert_array_equal(found[29 + 20 :], 0.0)
    assert (found[19 : 29 + 20] > 0).all()


@pytest.mark.parametrize("scale", [2.0**43, 2.0**-40])
def test_garman_klass_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, scale: float) -> None:
    np.testing.assert_array_equal(compute("garman_klass", daily * scale), compute("garman_klass", daily))


def test_garman_klass_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("garman_klass", closes([7.0]))).all()
