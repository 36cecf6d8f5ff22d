"""Simple moving average of the volume against TA-Lib."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize("period", [1, 20, 200])
def test_volume_sma_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    expected = talib.SMA(daily[:, VOLUME].copy(), period)
    assert_close(compute(f"volume_sma({period})", daily)[:, 0], expected)


def test_volume_sma_reads_the_volume_only(compute: Compute, closes: Closes) -> None:
    bars = closes([50, 60, 70])
    bars[:, VOLUME] = [2, 4, 0]
    np.testing.assert_array_equal(compute("volume_sma(2)", bars)[:, 0], [np.nan, 3, 2])


def test_volume_sma_is_zero_when_nothing_trades(compute: Compute, closes: Closes) -> None:
    bars = closes(np.full(30, 5.0))
    bars[:, VOLUME] = 0.0
    np.testing.assert_array_equal(compute("volume_sma(20)", bars)[19:, 0], 0.0)


def test_volume_sma_of_huge_volumes_is_exact_to_the_last_digit(compute: Compute, closes: Closes) -> None:
    bars = closes(np.full(40, 5.0))
    bars[:, VOLUME] = 1e13 + np.arange(40)
    np.testing.assert_array_equal(compute("volume_sma(20)", bars)[19:, 0], 1e13 + 9.5 + np.arange(21))
