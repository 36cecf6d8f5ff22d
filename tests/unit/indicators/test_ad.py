"""Accumulation/distribution line against TA-Lib and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def test_ad_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    columns = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE, VOLUME))
    assert_close(compute("ad", daily)[:, 0], talib.AD(*columns))


def test_ad_by_hand(compute: Compute, closes: Closes) -> None:
    # places in the range: +1, -1, +0.5, none
    bars = closes([8, 5, 9, 7])
    bars[:, HIGH], bars[:, LOW], bars[:, VOLUME] = [8, 9, 10, 7], [4, 5, 6, 7], [3, 2, 8, 50]
    np.testing.assert_array_equal(compute("ad", bars)[:, 0], [3, 1, 5, 5])


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_ad_of_bars_without_a_range_or_volume_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    bars = closes(np.full(10, price))
    np.testing.assert_array_equal(compute("ad", bars)[:, 0], 0.0)
    bars[:, HIGH], bars[:, VOLUME] = 2 * price, 0.0
    np.testing.assert_array_equal(compute("ad", bars)[:, 0], 0.0)


def test_ad_does_not_drift_over_a_million_bars(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(1)
    bars = closes(np.ones(1_000_000))
    bars[:, HIGH], bars[:, LOW] = 1 + rng.random(1_000_000), 1 - rng.random(1_000_000)
    bars[:, VOLUME] = 1e9 * rng.random(1_000_000)
    high, low, close, volume = (bars[:, column] for column in (HIGH, LOW, CLOSE, VOLUME))
    terms = ((close - low) - (high - close)) / (high - low) * volume
    assert compute("ad", bars)[-1, 0] == pytest.approx(math.fsum(terms), rel=1e-15)
