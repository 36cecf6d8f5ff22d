"""Chaikin money flow against numpy and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 2, 20, 100])
def test_cmf_equals_numpy_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    high, low, close, volume = (daily[:, column] for column in (HIGH, LOW, CLOSE, VOLUME))
    with np.errstate(invalid="ignore"):
        place = np.where(high > low, (2 * close - low - high) / (high - low), 0.0)
        sums = [
            np.lib.stride_tricks.sliding_window_view(terms, period).sum(axis=1) for terms in (place * volume, volume)
        ]
        expected = np.concatenate([np.full(period - 1, np.nan), sums[0] / sums[1]])
    assert_close(compute(f"cmf({period})", daily)[:, 0], expected)


def test_cmf_by_hand(compute: Compute, closes: Closes) -> None:
    # flows 3 -2 4 0 of volumes 3 2 8 50
    bars = closes([8, 5, 9, 7])
    bars[:, HIGH], bars[:, LOW], bars[:, VOLUME] = [8, 9, 10, 7], [4, 5, 6, 7], [3, 2, 8, 50]
    np.testing.assert_allclose(compute("cmf(2)", bars)[:, 0], [np.nan, 0.2, 0.2, 4 / 58], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_cmf_of_bars_without_a_range_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("cmf", closes(np.full(40, price)))[19:, 0], 0.0)


def test_cmf_is_null_exactly_while_no_volume_is_in_the_window(compute: Compute, closes: Closes) -> None:
    bars = closes(np.full(12, 8.0))
    bars[:, HIGH], bars[:, LOW], bars[:, VOLUME] = 9.0, 5.0, 1e9 / 7
    bars[3:8, VOLUME] = 0.0
    found = compute("cmf(3)", bars)[:, 0]
    np.testing.assert_allclose(found, [np.nan] * 2 + [0.5] * 3 + [np.nan] * 3 + [0.5] * 4, rtol=1e-14)


def test_cmf_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("cmf", closes([7.0]))).all()
