"""Exponential moving average against TA-Lib and published values."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


PUBLISHED = Path(__file__).parents[2] / "data" / "indicator_values" / "ema.standard.json"
DEFAULT_502 = Path(__file__).parents[2] / "data" / "daily_bars" / "default_502.csv"


@pytest.mark.parametrize("period", [1, 2, 12, 26, 200])
def test_ema_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    expected = talib.EMA(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"ema({period})", daily)[:, 0], expected)


def test_ema_equals_the_published_values(compute: Compute, closes: Closes, assert_close: Check) -> None:
    prices = np.loadtxt(DEFAULT_502, delimiter=",", skiprows=1, usecols=4)
    published = [row["ema"] for row in json.loads(PUBLISHED.read_text())]
    assert_close(compute("ema(20)", closes(prices))[:, 0], np.array(published, np.float64))


def test_ema_is_seeded_with_the_mean_of_the_first_closes(compute: Compute, closes: Closes) -> None:
    found = compute("ema(3)", closes([1, 2, 6, 7, 1]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 3, 5, 3])  # k = 1/2


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_ema_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    found = compute("ema(49)", closes(np.full(300, price)))[:, 0]
    np.testing.assert_array_equal(found[48:], price)


def test_ema_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("ema(2)", closes([7.0]))).all()
    assert compute("ema(1)", closes([7.0]))[0, 0] == 7.0
