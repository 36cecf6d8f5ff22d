"""Arnaud Legoux moving average against numpy and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize(
    ("period", "offset", "sigma"), [(9, 0.85, 6.0), (1, 0.85, 6.0), (2, 0.5, 30.0), (50, 0.0, 1.0), (200, 1.0, 9.5)]
)
def test_alma_equals_numpys_convolution_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, period: int, offset: float, sigma: float
) -> None:
    ages = np.arange(period)[::-1]
    bell = np.exp(-((ages - offset * (period - 1)) ** 2) / (2 * (period / sigma) ** 2))
    expected = np.full(len(daily), np.nan)
    expected[period - 1 :] = np.convolve(daily[:, CLOSE], bell / bell.sum(), "valid")
    assert_close(compute(f"alma({period},{offset},{sigma})", daily)[:, 0], expected)


def test_alma_of_two_closes_by_hand(compute: Compute, closes: Closes) -> None:
    # centre on the newest, width 2: the older one weighs exp(-1 / 8)
    older = 0.8824969025845955
    found = compute("alma(2,1,1)", closes([1, 2]))[1, 0]
    assert found == pytest.approx((older + 2) / (older + 1), rel=1e-15)


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_alma_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("alma(49)", closes(np.full(200, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], price)


def test_alma_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute("alma(20)", closes(np.concatenate([1e13 * rng.random(33), small])))[33 + 19 :]
    np.testing.assert_array_equal(found, compute("alma(20)", closes(small))[19:])


def test_alma_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("alma(2)", closes([7.0]))).all()
    assert compute("alma(1)", closes([7.0]))[0, 0] == 7.0
