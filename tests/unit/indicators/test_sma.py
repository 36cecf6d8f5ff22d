"""Simple moving average against TA-Lib, published values and exact fractions."""

import json
from collections.abc import Callable
from fractions import Fraction
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


PUBLISHED = Path(__file__).parents[2] / "data" / "indicator_values" / "sma.standard.json"
DEFAULT_502 = Path(__file__).parents[2] / "data" / "daily_bars" / "default_502.csv"


def exact_mean(window: Floats) -> Fraction:
    values = [Fraction(v) for v in window.tolist()]
    return sum(values, Fraction(0)) / len(values)


@pytest.mark.parametrize("period", [1, 2, 5, 20, 200])
def test_sma_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check, period: int) -> None:
    expected = talib.SMA(daily[:, CLOSE].copy(), period)
    assert_close(compute(f"sma({period})", daily)[:, 0], expected)


def test_sma_equals_the_published_values(compute: Compute, closes: Closes, assert_close: Check) -> None:
    prices = np.loadtxt(DEFAULT_502, delimiter=",", skiprows=1, usecols=4)
    published = [row["sma"] for row in json.loads(PUBLISHED.read_text())]
    assert_close(compute("sma(20)", closes(prices))[:, 0], np.array(published, np.float64))


def test_sma_of_three_closes_by_hand(compute: Compute, closes: Closes) -> None:
    found = compute("sma(3)", closes([1, 2, 6, 4, 5]))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 3, 4, 5])


@pytest.mark.parametrize("price", [0.1, 1 / 49, 123.456, 1e13 / 3, 1e-8 / 7])
@pytest.mark.parametrize("period", [3, 20, 49, 50])
def test_sma_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float, period: int) -> None:
    found = compute(f"sma({period})", closes(np.full(300, price)))[:, 0]
    np.testing.assert_array_equal(found[period - 1 :], price)


def test_sma_is_right_again_when_huge_prices_have_left_the_window(compute: Compute, closes: Closes) -> None:
    rng = np.random.default_rng(4)
    prices = np.concatenate([1e13 * rng.random(33), 1e-8 * (1 + rng.random(60))])
    found = compute("sma(20)", closes(prices))[:, 0]
    for i in range(33 + 19, len(prices)):
        exact = exact_mean(prices[i - 19 : i + 1])
        assert abs(Fraction(float(found[i])) - exact) < exact * Fraction(1, 10**12)


def test_sma_does_not_drift_over_a_million_bars(compute: Compute, closes: Closes) -> None:
    prices = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, 1_000_000)))
    found = compute("sma(50)", closes(prices))[:, 0]
    for i in [*range(49, 200), *range(500_000, 500_100), *range(999_900, 1_000_000)]:
        exact = exact_mean(prices[i - 49 : i + 1])
        assert abs(Fraction(float(found[i])) - exact) < exact * Fraction(1, 10**15)


def test_sma_of_a_single_bar_is_null_and_with_period_one_the_close(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("sma(2)", closes([7.0]))).all()
    assert compute("sma(1)", closes([7.0]))[0, 0] == 7.0


def test_sma_is_null_where_the_sum_exceeds_a_double_and_recovers(compute: Compute, closes: Closes) -> None:
    found = compute("sma(2)", closes([1e308, 1e308, 3.0, 5.0, 7.0, 9.0]))[:, 0]
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[-2:], [6.0, 8.0])
