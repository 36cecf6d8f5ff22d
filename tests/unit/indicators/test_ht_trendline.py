"""Instantaneous trendline against TA-Lib."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.catalogue import parse_indicators

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
Check = Callable[..., None]


def test_ht_trendline_equals_talib_on_real_daily_bars(compute: Compute, daily: Floats, assert_close: Check) -> None:
    assert_close(compute("ht_trendline", daily)[:, 0], talib.HT_TRENDLINE(daily[:, CLOSE].copy()))


@pytest.mark.parametrize("bars", [63, 64])
def test_ht_trendline_has_its_first_value_on_bar_63_counted_from_0(compute: Compute, daily: Floats, bars: int) -> None:
    assert np.isfinite(compute("ht_trendline", daily[:bars])).sum() == bars - 63


@pytest.mark.parametrize("price", [0.1, 1 / 49, 1e13 / 3, 1e-8 / 7])
def test_ht_trendline_of_a_flat_price_is_exactly_that_price(compute: Compute, closes: Closes, price: float) -> None:
    np.testing.assert_array_equal(compute("ht_trendline", closes(np.full(5_000, price)))[63:, 0], price)


@pytest.mark.parametrize("power", [40, -40])
def test_ht_trendline_follows_the_scale_of_prices(compute: Compute, daily: Floats, power: int) -> None:
    expected = compute("ht_trendline", daily) * 2.0**power
    np.testing.assert_array_equal(compute("ht_trendline", daily * 2.0**power), expected)


def test_ht_trendline_is_null_or_finite_where_the_cycle_exceeds_a_double(compute: Compute, closes: Closes) -> None:
    prices = 1e300 * (1 + np.random.default_rng(1).random(300))
    assert not np.isinf(compute("ht_trendline", closes(prices))).any()


def test_ht_trendline_is_explained_with_the_kernels_bits(closes: Closes) -> None:
    (spec,) = parse_indicators("ht_trendline")
    bars = closes(100 * np.exp(np.cumsum(np.random.default_rng(6).normal(0, 0.02, 200))))
    state, out, one = spec.fresh_state(1), np.empty((1, 1)), np.zeros(1, np.int64)
    for i in range(len(bars)):
        explained = spec.explain(state[0], bars[i], 0)
        spec.update(state, one, bars[i : i + 1], np.zeros(1, np.int32), out)
        assert np.array(explained.values).tobytes() == out[0].tobytes()
        assert i < 63 or repr(float(out[0, 0])) in explained.lines[-1]
