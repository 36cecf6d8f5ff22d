"""Parabolic stop and reverse against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import HIGH, LOW

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize(("acceleration", "maximum"), [(0.02, 0.2), (0.0, 0.2), (0.05, 1.0), (0.1, 0.1), (0.3, 0.1)])
def test_sar_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, acceleration: float, maximum: float
) -> None:
    expected = talib.SAR(daily[:, HIGH].copy(), daily[:, LOW].copy(), acceleration, maximum)
    assert_close(compute(f"sar({acceleration},{maximum})", daily)[:, 0], expected)


def test_sar_by_hand(compute: Compute, closes: Closes) -> None:
    # up from the low 8 towards the high 14: 8 + 0.5 * 6 = 11, held down to the low before, 10, which is reached:
    # the stop jumps to the extreme 14 and falls by half of the way to 9, held up to the high before, 13
    bars = closes([9, 12, 10, 9])
    bars[:, HIGH] = [10, 14, 13, 12]
    bars[:, LOW] = [8, 10, 9, 8]
    np.testing.assert_array_equal(compute("sar(0.5,0.5)", bars)[:, 0], [np.nan, 8, 14, 14])


def test_sar_begins_down_only_where_the_low_fell_further_than_the_high_rose(compute: Compute, closes: Closes) -> None:
    # down with the high before as its stop; up with the low before; up too where both are equal, and turned at once
    bars = closes([10, 10])
    for high, low, stop in ((9.5, 8, 10), (12, 9.5, 9), (11, 8, 11)):
        bars[:, HIGH], bars[:, LOW] = [10, high], [9, low]
        assert compute("sar", bars)[1, 0] == stop


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8 / 7])
def test_sar_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("sar", closes(np.full(60, price)))[1:, 0], price)


@pytest.mark.parametrize("power", [40, -40])
def test_sar_does_not_depend_on_the_scale_of_prices(compute: Compute, daily: Floats, power: int) -> None:
    np.testing.assert_allclose(compute("sar", daily * 2.0**power), compute("sar", daily) * 2.0**power, rtol=0, atol=0)


def test_sar_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("sar", closes([7.0]))).all()
