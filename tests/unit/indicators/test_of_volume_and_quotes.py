"""What is peculiar to one indicator of volume or of quotes."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, NOTIONAL, VOLUME
from unit.indicators.contract import EXACT, Floats, Tolerance, check, closes, compute, every_daily, minutes, moving
from unit.indicators.oracles import ORACLES

NAN = np.nan


def exact_sum(values: Floats) -> Fraction:
    mantissa, exponent = np.frexp(values)
    total = Fraction(0)
    for power in np.unique(exponent).tolist():
        whole = (mantissa[exponent == power] * 2.0**53).astype(np.int64).tolist()
        total += sum(whole) * Fraction(2) ** (power - 53)
    return total


def test_sums_over_everything_do_not_drift_over_a_million_bars() -> None:
    rng = np.random.default_rng(1)
    high, low = 1 + rng.random(1_000_000), 1 - rng.random(1_000_000)
    volume = 1e9 * rng.random(1_000_000)
    terms = ((1 - low) - (high - 1)) / (high - low) * volume
    found = compute("ad", closes(np.ones(1_000_000), high=high, low=low, volume=volume))
    assert found[-1] == pytest.approx(math.fsum(terms), rel=1e-15)

    rng = np.random.default_rng(2)
    close, volume = np.exp(np.cumsum(rng.normal(0, 0.01, 1_000_000))), 1e9 * rng.random(1_000_000)
    terms = volume[1:] * ((close[1:] - close[:-1]) / close[:-1])
    assert compute("vpt", closes(close, volume=volume))[-1] == pytest.approx(math.fsum(terms), rel=1e-14)


@pytest.mark.parametrize("price", [1e13, 1e-8])
def test_vwap_is_within_two_roundings_of_exact_after_a_million_bars(price: float) -> None:
    prices, volume = (np.random.default_rng(seed).random(1_000_000) for seed in (8, 9))
    bars = closes(price * (1 + prices), volume=volume)
    bars[:, NOTIONAL] *= bars[:, VOLUME]
    exact = exact_sum(bars[:, NOTIONAL]) / exact_sum(bars[:, VOLUME])
    assert abs(Fraction(float(compute("vwap", bars)[-1])) - exact) < exact * Fraction(4, 10**16)


def test_vwap_equals_pandas_cumulative_sums_by_session() -> None:
    bars, days = minutes()
    frame = pd.DataFrame({"notional": bars[:, NOTIONAL], "volume": bars[:, VOLUME], "day": days})
    sums = frame.groupby("day").cumsum()
    assert len(set(days.tolist())) == 4
    np.testing.assert_allclose(compute("vwap", bars, days), sums["notional"] / sums["volume"], rtol=1e-12)


def test_vwap_of_daily_bars_is_each_bars_own_and_null_without_volume() -> None:
    for bars in every_daily().values():
        expected = np.where(bars[:, VOLUME] > 0, bars[:, [HIGH, LOW, CLOSE]].mean(axis=1), NAN)
        found = compute("vwap", bars, np.arange(len(bars), dtype=np.int32))
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_adosc_forgets_a_level_that_would_drown_it() -> None:
    volume = np.ones(2_000)
    calm = compute("adosc", closes(np.full(2_000, 8.0), high=9, low=5, volume=volume))[-1]
    volume[:100] = 1e18
    found = compute("adosc", closes(np.full(2_000, 8.0), high=9, low=5, volume=volume))
    assert found[-1] == pytest.approx(calm, rel=1e-12)


def test_cmf_is_null_exactly_while_no_volume_is_in_the_window() -> None:
    volume = np.where((np.arange(12) < 3) | (np.arange(12) >= 8), 1e9 / 7, 0.0)
    found = compute("cmf(3)", closes(np.full(12, 8.0), high=9, low=5, volume=volume))
    np.testing.assert_allclose(found, [NAN] * 2 + [0.5] * 3 + [NAN] * 3 + [0.5] * 4, rtol=1e-14)


def test_mfi_without_volume_is_what_talib_returns_and_zero_as_soon_as_none_is_in_the_window() -> None:
    rising = {f"{price}": closes(price * np.arange(1.0, 41.0), volume=0) for price in (0.1, 1e13 / 3, 1e-8)}
    check("mfi", ORACLES["mfi"][0], "14", EXACT, rising)
    found = compute("mfi(14)", closes(moving(8, 60), volume=np.where(np.arange(60) < 30, 1e9 / 7, 0.0)))
    np.testing.assert_array_equal(found[29 + 14 :], 0.0)


def test_obv_comes_back_to_the_digit_after_huge_volumes() -> None:
    steps = np.tile([1.0, 2.0], 50_000)
    # 0.1 + 0.1 - 0.1 + 0.1, then the huge ones cancel in pairs
    found = compute("obv", closes(1e13 * steps, volume=np.where(np.arange(len(steps)) < 4, 0.1, 1e13 / 3)))
    assert (found[3], found[-1]) == (pytest.approx(0.2, rel=1e-15), pytest.approx(0.2, rel=1e-12))


def test_vwma_equals_its_formula_where_every_bar_has_traded() -> None:
    traded = {file: bars.copy() for file, bars in every_daily().items()}
    for bars in traded.values():
        bars[:, VOLUME] += 1.0

    def formula(b: Any, n: int) -> Any:
        return (b.close * b.volume).rolling(n).sum() / b.volume.rolling(n).sum()

    check("vwma", formula, "1 2 20 200", Tolerance(), traded)


def test_microprice_is_within_four_roundings_of_exact() -> None:
    rng = np.random.default_rng(4)
    bid = 1e13 * (1 + rng.random(500))
    ask = bid + rng.random(500)
    sizes = rng.random((500, 2)) * 1e6
    bars = closes(np.full(500, 50.0), bid=bid, ask=ask, bid_size=sizes[:, 0], ask_size=sizes[:, 1])
    values = compute("microprice", bars)
    for found, row in zip(values, np.column_stack([bid, sizes, ask]), strict=True):
        b, b_size, a_size, a = map(Fraction, row.tolist())
        exact = (b * a_size + a * b_size) / (b_size + a_size)
        assert abs(Fraction(float(found)) - exact) <= exact * Fraction(5, 10**16)


def test_ofi_equals_pandas_over_a_random_book_with_gaps() -> None:
    rng = np.random.default_rng(7)
    bids = 100 + rng.integers(-2, 3, 600).cumsum() / 100
    book = np.column_stack([bids, rng.random(600) * 9, bids + rng.integers(1, 4, 600) / 100, rng.random(600)])
    book[rng.random(600) < 0.01] = NAN
    frame = pd.DataFrame(book, columns=["bid", "bid_size", "ask", "ask_size"])
    last = frame.shift()
    flow = frame.bid_size.where(frame.bid >= last.bid, 0) - last.bid_size.where(frame.bid <= last.bid, 0)
    flow += last.ask_size.where(frame.ask >= last.ask, 0) - frame.ask_size.where(frame.ask <= last.ask, 0)
    flow[frame.bid.isna() | last.bid.isna()] = NAN
    bars = {"book": closes(np.full(600, 50.0), **frame)}
    assert np.isfinite(flow).sum() > 500
    check("ofi", lambda _, n: flow.rolling(n).sum(), "1 7 40", Tolerance(0, 1e-11), bars)
