"""On-balance volume against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE, VOLUME

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def test_obv_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    close, volume = daily[:, CLOSE].copy(), daily[:, VOLUME].copy()
    assert_close(compute("obv", daily)[:, 0], talib.OBV(close, volume))


def test_obv_by_hand(compute: Compute, closes: Closes) -> None:
    bars = closes([10, 11, 11, 9, 12])
    bars[:, VOLUME] = [5, 3, 8, 4, 1]
    np.testing.assert_array_equal(compute("obv", bars)[:, 0], [5, 8, 8, 4, 5])


def test_obv_of_a_flat_price_stays_and_without_volume_is_0(compute: Compute, closes: Closes) -> None:
    np.testing.assert_array_equal(compute("obv", closes(np.full(9, 0.1)))[:, 0], 1.0)
    bars = closes([3, 4, 2, 5])
    bars[:, VOLUME] = 0.0
    np.testing.assert_array_equal(compute("obv", bars)[:, 0], 0.0)


def test_obv_comes_back_to_the_digit_after_huge_volumes(compute: Compute, closes: Closes) -> None:
    steps = np.tile([1.0, 2.0], 50_000)
    bars = closes(1e13 * steps)
    bars[:, VOLUME] = np.where(np.arange(len(steps)) < 4, 0.1, 1e13 / 3)
    # 0.1 + 0.1 - 0.1 + 0.1, then the huge ones cancel in pairs
    found = compute("obv", bars)[:, 0]
    assert found[3] == pytest.approx(0.2, rel=1e-15)
    assert found[-1] == pytest.approx(0.2, rel=1e-12)
