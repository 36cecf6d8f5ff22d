"""Percentage price oscillator against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.errors import ParameterError
from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.catalogue import parse_indicators

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


@pytest.mark.parametrize(("fast", "slow"), [(12, 26), (2, 3), (5, 100)])
def test_ppo_equals_talib_on_real_daily_bars(
    compute: Compute, daily: Floats, assert_close: Check, fast: int, slow: int
) -> None:
    expected = talib.PPO(daily[:, CLOSE].copy(), fast, slow)
    assert_close(compute(f"ppo({fast},{slow})", daily)[:, 0], expected)


def test_ppo_by_hand(compute: Compute, closes: Closes) -> None:
    # ema(2) moves by 2/3: 2, 4, 6 after the seed (1 + 3) / 2 = 2; ema(3) by 1/2: 3, 4 after the seed 3
    found = compute("ppo(2,3)", closes([1, 3, 5, 7]))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 100 / 3, 20.0], rtol=1e-14)


@pytest.mark.parametrize("price", [0.1, 1e13 / 3, 1e-8])
def test_ppo_of_a_flat_price_is_zero(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("ppo", closes(np.full(60, price)))[25:, 0], 0.0)


@pytest.mark.parametrize("scale", [1e13, 1e-8])
def test_ppo_does_not_depend_on_the_scale_of_prices(compute: Compute, closes: Closes, scale: float) -> None:
    prices = 100 + np.random.default_rng(5).normal(size=200)
    expected = compute("ppo", closes(prices))
    np.testing.assert_allclose(compute("ppo", closes(prices * scale)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", ["ppo(26,12)", "ppo(5,5)"])
def test_ppo_refuses_a_fast_period_that_is_not_below_the_slow_one(text: str) -> None:
    with pytest.raises(ParameterError, match="fast must be below slow"):
        parse_indicators(text)


def test_ppo_of_a_single_bar_is_null(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("ppo", closes([7.0]))).all()
