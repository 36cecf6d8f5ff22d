"""Chaikin oscillator against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.errors import ParameterError
from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, VOLUME
from marketpulse.indicators.catalogue import parse_indicators

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]


@pytest.mark.parametrize(("fast", "slow"), [(3, 10), (2, 3), (20, 100)])
def test_adosc_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, fast: int, slow: int) -> None:
    high, low, close, volume = (daily[:, column].copy() for column in (HIGH, LOW, CLOSE, VOLUME))
    expected = talib.ADOSC(high, low, close, volume, fast, slow)
    found = compute(f"adosc({fast},{slow})", daily)[:, 0]
    # a difference of two averages of the line: 1e-9 of the line's size
    line = np.abs(talib.AD(high, low, close, volume)).max()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * line)


def test_adosc_by_hand(compute: Compute, closes: Closes) -> None:
    # the line 6 12 0; averages of two 6 10 10/3, of three 6 9 4.5
    bars = closes([8, 8, 4])
    bars[:, HIGH], bars[:, LOW], bars[:, VOLUME] = 8, 4, [6, 6, 12]
    found = compute("adosc(2,3)", bars)[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 10 / 3 - 4.5], rtol=1e-14)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_adosc_of_bars_without_a_range_or_volume_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    bars = closes(np.full(30, price))
    np.testing.assert_array_equal(compute("adosc", bars)[9:, 0], 0.0)
    bars[:, HIGH], bars[:, VOLUME] = 2 * price, 0.0
    np.testing.assert_array_equal(compute("adosc", bars)[9:, 0], 0.0)


def test_adosc_forgets_a_level_that_would_drown_it(compute: Compute, closes: Closes) -> None:
    bars = closes(np.full(2_000, 8.0))
    bars[:, HIGH], bars[:, LOW], bars[:, VOLUME] = 9, 5, 1.0
    calm = compute("adosc", bars)[-1, 0]
    bars[:100, VOLUME] = 1e18
    assert compute("adosc", bars)[-1, 0] == pytest.approx(calm, rel=1e-12)


@pytest.mark.parametrize("text", ["adosc(10,3)", "adosc(5,5)"])
def test_adosc_refuses_a_fast_period_that_is_not_below_the_slow_one(text: str) -> None:
    with pytest.raises(ParameterError, match="fast must be below slow"):
        parse_indicators(text)


def test_adosc_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("adosc", closes([7.0]))).all()
