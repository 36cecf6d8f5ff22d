"""Angle of the linear regression against TA-Lib, numpy and by hand."""

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


@pytest.mark.parametrize("period", [2, 5, 14, 200])
def test_linearreg_angle_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, period: int) -> None:
    # TA-Lib's slope loses digits where the price is large against its movement: 1e-9 of a right angle
    expected = talib.LINEARREG_ANGLE(daily[:, CLOSE].copy(), period)
    np.testing.assert_allclose(compute(f"linearreg_angle({period})", daily)[:, 0], expected, rtol=0, atol=90e-9)


@pytest.mark.parametrize("period", [2, 14, 200])
def test_linearreg_angle_is_numpys_arctangent_of_the_slope_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int
) -> None:
    slope = compute(f"linearreg_slope({period})", daily)[:, 0]
    found = compute(f"linearreg_angle({period})", daily)[:, 0]
    assert_close(found, np.degrees(np.arctan(slope)), 1e-13)


def test_linearreg_angle_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("linearreg_angle(2)", closes([5, 6, 6, 5, 5 + 3**0.5]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, 45, 0, -45, 60], rtol=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_linearreg_angle_of_a_flat_price_is_exactly_zero(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("linearreg_angle(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], 0.0)


def test_linearreg_angle_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("linearreg_angle(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("linearreg_angle(20)", closes(small))[19:])


def test_linearreg_angle_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("linearreg_angle(2)", closes([7.0]))).all()
