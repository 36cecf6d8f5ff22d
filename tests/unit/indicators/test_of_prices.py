"""What is peculiar to one indicator: averages, oscillators, volatility, statistics; of volume and of quotes."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import talib

from marketpulse.indicators.bar_columns import CLOSE, HIGH, LOW, NOTIONAL, VOLUME
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.indicators.moments import population_deviation
from marketpulse.indicators.rolling import add, mean
from unit.indicators import oracles
from unit.indicators.oracles import Floats, Tolerance, check, closes, compute, every_daily, moving

NAN = np.nan


def exact_mean(window: Floats) -> Fraction:
    return sum(map(Fraction, window.tolist()), Fraction(0)) / len(window)


def exact_variance(window: Floats) -> float:
    return float(exact_mean(np.array([(Fraction(value) - exact_mean(window)) ** 2 for value in window.tolist()])))


def exact_line(window: Floats, at: Fraction) -> float:
    """The regression line of 20 closes at this place from their middle; the slope alone where `at` is 0."""
    slope = sum((2 * x - 19) * Fraction(y) for x, y in enumerate(window.tolist())) * Fraction(6, 20 * (20**2 - 1))
    return float(exact_mean(window) + slope * at if at else slope)


def test_sma_is_exact_after_huge_prices_and_ht_trendline_from_bar_63_on_and_neither_beyond_a_double() -> None:
    rng = np.random.default_rng(4)
    after_huge = np.concatenate([1e13 * rng.random(33), 1e-8 * (1 + rng.random(60))])
    million = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, 1_000_000)))
    some = [*range(49, 200), *range(500_000, 500_100), *range(999_900, 1_000_000)]
    for prices, period, bars, within in ((after_huge, 20, range(33 + 19, 93), 10**12), (million, 50, some, 10**15)):
        found = compute(f"sma({period})", closes(prices))
        for i in bars:
            exact = exact_mean(prices[i - period + 1 : i + 1])
            assert abs(Fraction(float(found[i])) - exact) < exact / within
    found = compute("sma(2)", closes([1e308, 1e308, 3.0, 5.0, 7.0, 9.0]))
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[-2:], [6.0, 8.0])
    for daily in every_daily().values():
        assert [np.isfinite(compute("ht_trendline", daily[:n])).sum() for n in (63, 64)] == [0, 1]
    prices = 1e300 * (1 + np.random.default_rng(1).random(300))
    assert not np.isinf(compute("ht_trendline", closes(prices))).any()
    (spec,) = parse_indicators("ht_trendline")
    wild = closes(100 * np.exp(np.cumsum(np.random.default_rng(6).normal(0, 0.02, 200))))
    state, out, one = spec.fresh_state(1), np.empty((1, 1)), np.zeros(1, np.int64)
    for i in range(len(wild)):
        explained = spec.explain(state[0], wild[i], 0)
        spec.update(state, one, wild[i : i + 1], np.zeros(1, np.int32), out)
        assert np.array(explained.values).tobytes() == out[0].tobytes()
        assert i < 63 or repr(float(out[0, 0])) in explained.lines[-1]


def test_kama_is_fast_where_nothing_moves_and_t3_of_factor_0_the_third_average_of_1_three_dema() -> None:
    found = compute("kama(2)", closes([4, 1, 4, 4, 4]))
    assert found[4] == pytest.approx(found[3] + (4 - found[3]) * 4 / 9, rel=1e-15)
    for bars in every_daily().values():
        third, dema = bars[:, CLOSE].copy(), bars[:, CLOSE].copy()
        for _ in range(3):
            third, dema = talib.EMA(third, 4), talib.DEMA(dema, 4)
        np.testing.assert_allclose(compute("t3(4,0)", bars)[18:], third[18:], rtol=1e-12)
        np.testing.assert_allclose(compute("t3(4,1)", bars)[300:], dema[300:], rtol=1e-9)


def test_macd_meets_two_ema_columns_later_tsi_waits_for_a_move_and_the_deviation_is_exact_to_the_last_bit() -> None:
    for bars in every_daily().values():
        line, difference = compute("macd", bars)[:, 0], compute("ema(12)", bars) - compute("ema(26)", bars)
        assert abs(line[33] - difference[33]) > 1e-6 * abs(bars[33, CLOSE])
        np.testing.assert_allclose(line[400:], difference[400:], atol=1e-9 * bars[:, CLOSE].max())
    for price in (0.1, 1e13 / 3, 1e-8):
        np.testing.assert_array_equal(compute("tsi", closes([*[price] * 59, 2 * price])), [*[NAN] * 59, 100.0])
    price = 1e13
    last_bit = np.spacing(price)
    high, low = add(price, 0.0, price + last_bit)
    assert population_deviation(np.array([[price, price + last_bit]]), 0, 0, 2, mean(high, low, 2)) == last_bit / 2


@pytest.mark.parametrize(("level", "tick"), [(1e13, 1.0), (1e-8, 1e-12), (1.0, 1e-9), (1e-13, 1e-15)])
def test_values_are_right_where_prices_are_large_against_their_moves_or_tiny(level: float, tick: float) -> None:
    prices: Floats = level + tick * np.random.default_rng(3).integers(0, 50, 90).astype(np.float64)
    windows = [prices[i - 19 : i + 1] for i in range(19, 90)]
    variances = np.array([exact_variance(window) for window in windows])
    np.testing.assert_allclose(compute("var(20)", closes(prices))[19:], variances, rtol=1e-12)
    np.testing.assert_allclose(compute("stddev(20)", closes(prices))[19:], np.sqrt(variances), rtol=1e-12)
    upper, _, lower = compute("bbands(20,1)", closes(prices))[19:].T
    assert (upper - lower) / 2 == pytest.approx(np.sqrt(variances), rel=1e-12, abs=2e-16 * level)
    for name, at in (("linearreg", 19), ("linearreg_intercept", -19), ("linearreg_slope", 0), ("tsf", 21)):
        found = compute(f"{name}(20)", closes(prices))[19:]
        exact = np.array([exact_line(window, Fraction(at, 2)) for window in windows])
        assert found == pytest.approx(exact, rel=1e-15, abs=1e-12 * tick)


def test_on_real_daily_files_indicators_are_what_their_definitions_make_of_others() -> None:
    for bars in every_daily().values():
        np.testing.assert_array_equal(compute("bbands(20,0)", bars), np.column_stack([compute("sma(20)", bars)] * 3))
        np.testing.assert_array_equal(compute("ultosc(28,14,7)", bars), compute("ultosc(7,14,28)", bars))
        for period in (2, 14, 200):
            angles = np.degrees(np.arctan(compute(f"linearreg_slope({period})", bars)))
            np.testing.assert_allclose(compute(f"linearreg_angle({period})", bars), angles, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("text", "after", "within"), [
    ("kurtosis(5)", [5.0] * 5, 1e-13), ("skew(5)", [math.sqrt(5)] * 5, 1e-13),
    ("zscore(5)", [2, -0.5, -0.5, -0.5, -0.5], 1e-14),
])  # fmt: skip
def test_it_is_null_exactly_while_the_window_is_flat(text: str, after: list[float], within: float) -> None:
    for price in (0.1, 1 / 49, 1e13 / 3, 1e-8 / 7):
        prices = np.full(40, price)
        prices[20] *= 2
        np.testing.assert_allclose(compute(text, closes(prices)), [*[NAN] * 20, *after, *[NAN] * 15], rtol=within)


def test_a_volatility_is_zero_once_its_window_is_flat_forgets_huge_prices_and_does_not_drift() -> None:
    prices = moving(6, 37, still=60)
    spread = np.concatenate([np.random.default_rng(3).random(30), np.zeros(30)])
    flat_from_30 = closes(np.full(60, 7.0), high=7.0 + spread)
    for text, bars, first, last in (
        ("realized_volatility(20)", closes(prices), 20, 36),
        ("garman_klass(20)", flat_from_30, 19, 29),
        ("parkinson(20)", flat_from_30, 19, 29),
    ):
        found = compute(text, bars)
        np.testing.assert_array_equal(found[last + 20 :], 0.0)
        assert (found[first : last + 20] > 0).all()
    prices = np.concatenate([np.full(30, 1e13), 1e-8 * (1 + 1e-9 * np.arange(60))])
    found = compute("realized_volatility(20)", closes(prices))
    calm = np.sqrt(np.sum(np.log1p(np.diff(prices[-21:]) / prices[-21:-1]) ** 2))
    assert found[30] == pytest.approx(math.log(1e21), rel=1e-14)
    assert (found[-1], found[30 + 20]) == (pytest.approx(calm, rel=1e-12), pytest.approx(calm, rel=1e-6))
    prices = np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, 1_000_000)))
    found = compute("realized_volatility(50)", closes(prices))
    for i in [*range(50, 150), *range(999_900, 1_000_000)]:
        window = prices[i - 50 : i + 1]
        assert found[i] == pytest.approx(math.sqrt(math.fsum(np.log1p(np.diff(window) / window[:-1]) ** 2)), rel=1e-14)


def test_close_volume_correl_equals_talib_is_zero_of_what_stands_still_and_1_or_minus_1_of_a_line() -> None:
    rng = np.random.default_rng(6)
    bars = closes(10 + rng.normal(size=2_000), volume=10 + rng.normal(size=2_000))
    name, oracle = "close_volume_correl", lambda b, n: talib.CORREL(b.close, b.volume, n)
    check(name, oracle, "5 30 100", Tolerance(), {"noise": bars})
    for bars in (closes(np.full(40, 0.1), volume=np.arange(40.0)), closes(np.arange(1.0, 41.0), volume=np.zeros(40))):
        np.testing.assert_array_equal(compute("close_volume_correl(30)", bars)[29:], 0.0)
    np.testing.assert_array_equal(talib.CORREL(np.full(40, 2.0), np.arange(40.0), 30)[29:], 0.0)
    for level in (1e13, 1.0, 1e-8):
        prices = level * (1 + 0.01 * np.random.default_rng(7).random(60))
        for sign in (1.0, -1.0):
            found = compute("close_volume_correl(30)", closes(prices, volume=3 * level + sign * prices))[29:]
            np.testing.assert_allclose(found, sign, rtol=1e-12)
            assert (np.abs(found) <= 1).all()


# What is peculiar to one indicator of volume or of quotes.


def exact_sum(values: Floats) -> Fraction:
    mantissa, exponent = np.frexp(values)
    total = Fraction(0)
    for power in np.unique(exponent).tolist():
        whole = (mantissa[exponent == power] * 2.0**53).astype(np.int64).tolist()
        total += sum(whole) * Fraction(2) ** (power - 53)
    return total


def test_sums_over_everything_do_not_drift_and_vwap_equals_pandas_by_session_and_is_null_without_volume() -> None:
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
    bars, days = oracles.minutes()
    frame = pd.DataFrame({"notional": bars[:, NOTIONAL], "volume": bars[:, VOLUME], "day": days})
    sums = frame.groupby("day").cumsum()
    assert len(set(days.tolist())) == 4
    np.testing.assert_allclose(compute("vwap", bars, days), sums["notional"] / sums["volume"], rtol=1e-12)
    for bars in every_daily().values():
        expected = np.where(bars[:, VOLUME] > 0, bars[:, [HIGH, LOW, CLOSE]].mean(axis=1), NAN)
        found = compute("vwap", bars, np.arange(len(bars), dtype=np.int32))
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("price", [1e13, 1e-8])
def test_vwap_is_within_two_roundings_of_exact_after_a_million_bars(price: float) -> None:
    prices, volume = (np.random.default_rng(seed).random(1_000_000) for seed in (8, 9))
    bars = closes(price * (1 + prices), volume=volume)
    bars[:, NOTIONAL] *= bars[:, VOLUME]
    exact = exact_sum(bars[:, NOTIONAL]) / exact_sum(bars[:, VOLUME])
    assert abs(Fraction(float(compute("vwap", bars)[-1])) - exact) < exact * Fraction(4, 10**16)


def test_adosc_and_obv_forget_huge_levels_cmf_is_null_without_volume_and_mfi_zero_as_talib_returns() -> None:
    volume = np.where((np.arange(12) < 3) | (np.arange(12) >= 8), 1e9 / 7, 0.0)
    found = compute("cmf(3)", closes(np.full(12, 8.0), high=9, low=5, volume=volume))
    np.testing.assert_allclose(found, [NAN] * 2 + [0.5] * 3 + [NAN] * 3 + [0.5] * 4, rtol=1e-14)
    rising = {f"{price}": closes(price * np.arange(1.0, 41.0), volume=0) for price in (0.1, 1e13 / 3, 1e-8)}
    check("mfi", oracles.ORACLES["mfi"][0], "14", oracles.EXACT, rising)
    found = compute("mfi(14)", closes(moving(8, 60), volume=np.where(np.arange(60) < 30, 1e9 / 7, 0.0)))
    np.testing.assert_array_equal(found[29 + 14 :], 0.0)
    volume = np.ones(2_000)
    calm = compute("adosc", closes(np.full(2_000, 8.0), high=9, low=5, volume=volume))[-1]
    volume[:100] = 1e18
    found = compute("adosc", closes(np.full(2_000, 8.0), high=9, low=5, volume=volume))
    assert found[-1] == pytest.approx(calm, rel=1e-12)
    steps = np.tile([1.0, 2.0], 50_000)
    # 0.1 + 0.1 - 0.1 + 0.1, then the huge ones cancel in pairs
    found = compute("obv", closes(1e13 * steps, volume=np.where(np.arange(len(steps)) < 4, 0.1, 1e13 / 3)))
    assert (found[3], found[-1]) == (pytest.approx(0.2, rel=1e-15), pytest.approx(0.2, rel=1e-12))


def test_microprice_is_within_four_roundings() -> None:
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
