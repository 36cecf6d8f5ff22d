"""What is peculiar to one indicator of prices: averages, oscillators, volatility and statistics."""

import math
from fractions import Fraction

import numpy as np
import pytest
import talib

from marketpulse.indicators.bar_columns import CLOSE
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.indicators.moments import population_deviation
from marketpulse.indicators.rolling import add, mean
from unit.indicators.contract import Floats, Tolerance, check, closes, compute, every_daily, moving

NAN = np.nan


def exact_mean(window: Floats) -> Fraction:
    return sum(map(Fraction, window.tolist()), Fraction(0)) / len(window)


def exact_variance(window: Floats) -> float:
    return float(exact_mean(np.array([(Fraction(value) - exact_mean(window)) ** 2 for value in window.tolist()])))


def exact_line(window: Floats, at: Fraction) -> float:
    """The regression line of 20 closes at this place from their middle; the slope alone where `at` is 0."""
    slope = sum((2 * x - 19) * Fraction(y) for x, y in enumerate(window.tolist())) * Fraction(6, 20 * (20**2 - 1))
    return float(exact_mean(window) + slope * at if at else slope)


def test_sma_is_exact_when_huge_prices_have_left_its_window_and_after_a_million_bars() -> None:
    rng = np.random.default_rng(4)
    after_huge = np.concatenate([1e13 * rng.random(33), 1e-8 * (1 + rng.random(60))])
    million = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, 1_000_000)))
    some = [*range(49, 200), *range(500_000, 500_100), *range(999_900, 1_000_000)]
    for prices, period, bars, within in ((after_huge, 20, range(33 + 19, 93), 10**12), (million, 50, some, 10**15)):
        found = compute(f"sma({period})", closes(prices))
        for i in bars:
            exact = exact_mean(prices[i - period + 1 : i + 1])
            assert abs(Fraction(float(found[i])) - exact) < exact / within


def test_sma_is_null_where_the_sum_exceeds_a_double_and_recovers() -> None:
    found = compute("sma(2)", closes([1e308, 1e308, 3.0, 5.0, 7.0, 9.0]))
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[-2:], [6.0, 8.0])


def test_kama_takes_the_fast_pace_where_nothing_moved_any_more() -> None:
    found = compute("kama(2)", closes([4, 1, 4, 4, 4]))
    assert found[4] == pytest.approx(found[3] + (4 - found[3]) * 4 / 9, rel=1e-15)


def test_t3_with_factor_zero_is_the_third_average_and_with_one_three_dema_in_a_row() -> None:
    for bars in every_daily().values():
        third, dema = bars[:, CLOSE].copy(), bars[:, CLOSE].copy()
        for _ in range(3):
            third, dema = talib.EMA(third, 4), talib.DEMA(dema, 4)
        np.testing.assert_allclose(compute("t3(4,0)", bars)[18:], third[18:], rtol=1e-12)
        np.testing.assert_allclose(compute("t3(4,1)", bars)[300:], dema[300:], rtol=1e-9)


def test_macd_differs_from_two_ema_columns_at_first_and_no_longer_later() -> None:
    for bars in every_daily().values():
        line, difference = compute("macd", bars)[:, 0], compute("ema(12)", bars) - compute("ema(26)", bars)
        assert abs(line[33] - difference[33]) > 1e-6 * abs(bars[33, CLOSE])
        np.testing.assert_allclose(line[400:], difference[400:], atol=1e-9 * bars[:, CLOSE].max())


def test_ht_trendline_has_its_first_value_on_bar_63_counted_from_0_and_none_beyond_a_double() -> None:
    for bars in every_daily().values():
        assert [np.isfinite(compute("ht_trendline", bars[:n])).sum() for n in (63, 64)] == [0, 1]
    prices = 1e300 * (1 + np.random.default_rng(1).random(300))
    assert not np.isinf(compute("ht_trendline", closes(prices))).any()


def test_ht_trendline_is_explained_with_the_kernels_bits() -> None:
    (spec,) = parse_indicators("ht_trendline")
    bars = closes(100 * np.exp(np.cumsum(np.random.default_rng(6).normal(0, 0.02, 200))))
    state, out, one = spec.fresh_state(1), np.empty((1, 1)), np.zeros(1, np.int64)
    for i in range(len(bars)):
        explained = spec.explain(state[0], bars[i], 0)
        spec.update(state, one, bars[i : i + 1], np.zeros(1, np.int32), out)
        assert np.array(explained.values).tobytes() == out[0].tobytes()
        assert i < 63 or repr(float(out[0, 0])) in explained.lines[-1]


LARGE_OR_TINY = [(1e13, 1.0), (1e-8, 1e-12), (1.0, 1e-9), (1e-13, 1e-15)]


@pytest.mark.parametrize(("level", "tick"), LARGE_OR_TINY)
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


def test_the_deviation_is_exact_where_prices_differ_by_their_last_bit_only() -> None:
    price = 1e13
    last_bit = np.spacing(price)
    high, low = add(price, 0.0, price + last_bit)
    window = np.array([[price, price + last_bit]])
    assert population_deviation(window, 0, 0, 2, mean(high, low, 2)) == last_bit / 2


def test_on_real_daily_files_indicators_are_what_their_definitions_make_of_others() -> None:
    for bars in every_daily().values():
        middle = compute("sma(20)", bars)
        np.testing.assert_array_equal(compute("bbands(20,0)", bars), np.column_stack([middle] * 3))
        adx = compute("adx(5)", bars)
        np.testing.assert_array_equal(compute("adxr(5)", bars)[4:], (adx[4:] + adx[:-4]) / 2)
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
        expected = [*[NAN] * 20, *after, *[NAN] * 15]
        np.testing.assert_allclose(compute(text, closes(prices)), expected, rtol=within)


def test_tsi_is_null_until_the_price_moves() -> None:
    for price in (0.1, 1e13 / 3, 1e-8):
        np.testing.assert_array_equal(compute("tsi", closes([*[price] * 59, 2 * price])), [*[NAN] * 59, 100.0])


def test_a_volatility_is_exactly_zero_as_soon_as_its_window_is_flat_and_not_before() -> None:
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


def test_realized_volatility_of_huge_then_tiny_prices_is_defined_and_forgotten() -> None:
    prices = np.concatenate([np.full(30, 1e13), 1e-8 * (1 + 1e-9 * np.arange(60))])
    found = compute("realized_volatility(20)", closes(prices))
    calm = np.sqrt(np.sum(np.log1p(np.diff(prices[-21:]) / prices[-21:-1]) ** 2))
    assert found[30] == pytest.approx(math.log(1e21), rel=1e-14)
    assert (found[-1], found[30 + 20]) == (pytest.approx(calm, rel=1e-12), pytest.approx(calm, rel=1e-6))


def test_realized_volatility_does_not_drift_over_a_million_bars() -> None:
    prices = np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, 1_000_000)))
    found = compute("realized_volatility(50)", closes(prices))
    for i in [*range(50, 150), *range(999_900, 1_000_000)]:
        window = prices[i - 50 : i + 1]
        steps = np.log1p(np.diff(window) / window[:-1])
        assert found[i] == pytest.approx(math.sqrt(math.fsum(steps**2)), rel=1e-14)


def test_close_volume_correl_equals_talib_where_its_sums_keep_their_digits() -> None:
    rng = np.random.default_rng(6)
    bars = closes(10 + rng.normal(size=2_000), volume=10 + rng.normal(size=2_000))
    name, oracle = "close_volume_correl", lambda b, n: talib.CORREL(b.close, b.volume, n)
    check(name, oracle, "5 30 100", Tolerance(), {"noise": bars})


def test_close_volume_correl_of_what_stands_still_is_zero_as_in_talib_and_of_a_line_1_or_minus_1() -> None:
    for bars in (closes(np.full(40, 0.1), volume=np.arange(40.0)), closes(np.arange(1.0, 41.0), volume=np.zeros(40))):
        np.testing.assert_array_equal(compute("close_volume_correl(30)", bars)[29:], 0.0)
    np.testing.assert_array_equal(talib.CORREL(np.full(40, 2.0), np.arange(40.0), 30)[29:], 0.0)
    for level in (1e13, 1.0, 1e-8):
        prices = level * (1 + 0.01 * np.random.default_rng(7).random(60))
        for sign in (1.0, -1.0):
            found = compute("close_volume_correl(30)", closes(prices, volume=3 * level + sign * prices))[29:]
            np.testing.assert_allclose(found, sign, rtol=1e-12)
            assert (np.abs(found) <= 1).all()
