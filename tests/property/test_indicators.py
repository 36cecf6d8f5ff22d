"""Laws of every indicator in the catalogue: over several series that interleave as they like, over a split, and of a
price that stands still, only rises, is in another unit or was huge once."""

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis.strategies import DataObject, DrawFn, composite, floats, integers, lists, sampled_from
from hypothesis.strategies import data as drawn
from numpy.typing import NDArray

from examples import examples
from market_rows import Floats, adjusted
from marketpulse.indicators.bar_columns import ASK, BID, CLOSE, HIGH, LOW, NOTIONAL, OPEN, VOLUME, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE, Indicator, Spec
from marketpulse.indicators.rebase import update_rebased
from unit.indicators.oracles import EXACT, ORACLES, Tolerance, check, closes, compute, every_daily, moving

N_SERIES = 3
GUARD = -7.5
UNDEFINED_WHEN_FLAT = {"tsi", "zscore", "skew", "kurtosis"}
EVERY = pytest.mark.parametrize("indicator", list(CATALOGUE.values()), ids=list(CATALOGUE))


@dataclass(frozen=True)
class Stream:
    """Bars in the order of the log: which series each belongs to, its values and its session."""

    series: NDArray[np.int64]
    bars: Floats
    session: NDArray[np.int32]

    def part(self, start: int, stop: int) -> "Stream":
        return Stream(self.series[start:stop], self.bars[start:stop], self.session[start:stop])

    def __len__(self) -> int:
        return len(self.series)


def random_bars(rng: np.random.Generator, n: int, scale: float, jump: float, clip: float) -> Floats:
    """Flat stretches, jumps, bars without volume, quotes without sizes, and bars without a quote."""
    move = rng.choice([0.0, 0.01, jump], size=n, p=[0.4, 0.5, 0.1])
    close = scale * np.exp(np.clip(np.cumsum(rng.normal(size=n) * move), -clip, clip))
    bars = np.empty((n, WIDTH))
    bars[:, CLOSE] = close
    bars[:, OPEN] = close * (1 + rng.normal(0, 0.001, n))
    bars[:, HIGH] = bars[:, [OPEN, CLOSE]].max(axis=1) * (1 + rng.random(n) * 0.01)
    bars[:, LOW] = bars[:, [OPEN, CLOSE]].min(axis=1) * (1 - rng.random(n) * 0.01)
    bars[:, VOLUME] = rng.choice([0.0, 1.0, 1e6], size=n) * rng.random(n)
    bars[:, NOTIONAL] = bars[:, CLOSE] * bars[:, VOLUME]
    bars[:, BID : ASK + 2] = rng.choice([0.0, 1.0, 1e6], size=(n, 4)) * rng.random((n, 4))
    bars[:, [BID, ASK]] = close[:, np.newaxis] * (1 + rng.normal(0, 0.001, (n, 2)))
    bars[rng.random(n) < 0.2, BID:] = np.nan
    return bars


@composite
def streams(draw: DrawFn, *, size_min: int = 0, size_max: int = 240) -> Stream:
    """Bars of any size, jumps over many decades, sessions of any length."""
    n = draw(integers(size_min, size_max))
    rng = np.random.default_rng(draw(integers(0, 2**32 - 1)))
    bars = random_bars(rng, n, draw(sampled_from([1e-8, 1.0, 1e13])), 3.0, 20)
    return Stream(rng.integers(0, N_SERIES, n), bars, np.cumsum(rng.random(n) < 0.1).astype(np.int32))


@composite
def specs(draw: DrawFn, indicator: Indicator) -> Spec:
    """The indicator with small parameters, so that short streams leave the warm-up."""
    values = [
        float(draw(integers(int(p.minimum), int(p.minimum) + 8))) if p.kind == "int" else draw(floats(p.minimum, p.maximum))
        for p in indicator.parameters
    ]  # fmt: skip
    assume(indicator.fault(tuple(values)) is None)
    return Spec(indicator, tuple(values))


any_spec = sampled_from(list(CATALOGUE.values())).flatmap(specs)


def default(indicator: Indicator) -> Spec:
    return Spec(indicator, indicator.defaults())


def advance(spec: Spec, state: Floats, stream: Stream) -> Floats:
    out = np.full((len(stream), len(spec.columns)), GUARD)
    spec.update(state, stream.series, stream.bars, stream.session, out)
    return out


@EVERY
@given(data=streams(size_min=10), cuts=lists(integers(0, 240), min_size=1, max_size=6), chosen=drawn())
def test_the_bits_are_the_same_however_the_stream_is_cut(
    indicator: Indicator, data: Stream, cuts: list[int], chosen: DataObject
) -> None:
    """By default and with any parameters; so what comes later changes nothing before it, either."""
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    for spec in (default(indicator), chosen.draw(specs(indicator))):
        whole_state, state = spec.fresh_state(N_SERIES), spec.fresh_state(N_SERIES)
        whole = advance(spec, whole_state, data)
        parts = [advance(spec, state, data.part(a, b)) for a, b in pairwise(edges)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
        assert state.tobytes() == whole_state.tobytes()


@EVERY
@given(data=streams())
def test_a_series_does_not_know_of_the_others(indicator: Indicator, data: Stream) -> None:
    spec = default(indicator)
    whole = advance(spec, spec.fresh_state(N_SERIES), data)
    for one in range(N_SERIES):
        rows = data.series == one
        alone = Stream(np.zeros(rows.sum(), np.int64), data.bars[rows], data.session[rows])
        assert advance(spec, spec.fresh_state(1), alone).tobytes() == whole[rows].tobytes()


@given(spec=any_spec, data=streams(size_min=40))
def test_the_first_value_comes_after_the_declared_warm_up(spec: Spec, data: Stream) -> None:
    data.bars[:, VOLUME] += 1.0  # without any volume some values cannot be, however long the stream
    data.bars[:, BID:] = np.nan_to_num(data.bars[:, BID:]) + 1.0  # nor others without a quote
    if spec.indicator.name in UNDEFINED_WHEN_FLAT:
        data.bars[:, :VOLUME] *= 1 + 0.01 * (np.arange(len(data)) % 3)[:, np.newaxis]
    one = Stream(np.zeros(len(data), np.int64), data.bars, data.session)
    out = advance(spec, spec.fresh_state(1), one)
    assert np.isnan(out[: spec.warm_up]).any(axis=1).all()
    assert not np.isnan(out[spec.warm_up :]).any()


@given(spec=any_spec, data=streams())
def test_a_kernel_writes_all_of_its_own_and_nothing_else(spec: Spec, data: Stream) -> None:
    width, columns = spec.state_width, len(spec.columns)
    wide_state = np.full((N_SERIES + 2, width + 2), GUARD)
    state = wide_state[1:-1, 1:-1]
    state[:] = 0.0
    wide_out = np.full((len(data) + 2, columns + 2), GUARD)
    inputs = (data.series.copy(), data.bars.copy(), data.session.copy())
    spec.update(state, data.series, data.bars, data.session, wide_out[1:-1, 1:-1])
    for guarded in (wide_state, wide_out):
        border = np.ones(guarded.shape, bool)
        border[1:-1, 1:-1] = False
        assert (guarded[border] == GUARD).all()
    assert not (wide_out[1:-1, 1:-1] == GUARD).any()
    for before, after in zip(inputs, (data.series, data.bars, data.session), strict=True):
        np.testing.assert_array_equal(before, after)


@EVERY
@given(data=streams(size_min=1), forming=streams(size_min=1, size_max=10))
def test_a_provisional_value_is_what_the_bar_would_give(indicator: Indicator, data: Stream, forming: Stream) -> None:
    """And it changes nothing."""
    spec = default(indicator)
    state = spec.fresh_state(N_SERIES)
    advance(spec, state, data)
    committed = state.copy()
    for bar in (forming.part(i, i + 1) for i in range(len(forming))):
        provisional = advance(spec, state[bar.series], Stream(np.zeros(1, np.int64), bar.bars, bar.session))
        assert state.tobytes() == committed.tobytes()
        assert provisional.tobytes() == advance(spec, state.copy(), bar).tobytes()


@given(spec=any_spec, data=streams(), factor=sampled_from([1e-90, 1e30, 1e150, 1e290]))
def test_no_value_is_ever_infinite(spec: Spec, data: Stream, factor: float) -> None:
    with np.errstate(over="ignore"):
        bars = np.minimum(data.bars * factor, 1e308)
    assert not np.isinf(advance(spec, spec.fresh_state(N_SERIES), Stream(data.series, bars, data.session))).any()


def one_series(bars: Floats) -> Stream:
    """Sessions of 30 bars."""
    return Stream(np.zeros(len(bars), np.int64), bars, np.arange(len(bars), dtype=np.int32) // 30)


def rebased(spec: Spec, bars: Floats, factor: Floats, begins: NDArray[np.bool_]) -> bytes:
    """Their values where so many shares, at each bar, stand for one of the first; splits begin where it says."""
    out, one = np.empty((len(bars), len(spec.columns))), one_series(bars)
    update_rebased(spec, spec.fresh_state(1), one.series, bars, one.session, factor, begins, out)
    return out.tobytes()


@EVERY
@examples(full=25)
@given(seed=integers(0, 2**32 - 1), at=integers(0, 90), ratio=sampled_from([2.0, 4.0, 0.125]), more=integers(1, 5))
def test_a_split_leaves_the_adjusted_values(indicator: Indicator, seed: int, at: int, ratio: float, more: int) -> None:
    """What they would be if all bars before had been adjusted, to the bit; with short periods, so that short series
    leave the warm-up."""
    numbered = enumerate(indicator.parameters)
    periods = [min(p.minimum + more + i, p.maximum) if p.kind == "int" else p.default for i, p in numbered]
    rng = np.random.default_rng(seed)
    spec, bars = Spec(indicator, tuple(map(float, periods))), random_bars(rng, 90, rng.choice([1e-6, 1.0, 1e9]), 0.5, 8)
    raw, factor, begins = np.concatenate([bars[:at], adjusted(bars[at:], ratio)]), np.ones(90), np.zeros(90, np.bool_)
    factor[at:], begins[at : at + 1] = ratio, True
    before, behind = (advance(spec, spec.fresh_state(1), one_series(of)) for of in (bars, adjusted(bars, ratio)))
    assert rebased(spec, raw, factor, begins) == np.concatenate([before[:at], behind[at:]]).tobytes()


@EVERY
def test_a_factor_of_one_changes_no_bit_and_every_column_has_a_degree_or_a_way_round(indicator: Indicator) -> None:
    spec, bars = default(indicator), random_bars(np.random.default_rng(7), 300, 1.0, 0.5, 8)
    unsplit = advance(spec, spec.fresh_state(1), one_series(bars))
    assert rebased(spec, bars, np.ones(300), np.zeros(300, np.bool_)) == unsplit.tobytes()
    degrees = indicator.price_degrees
    assert (degrees is None) == (indicator.derived is not None)
    assert degrees is None or len(degrees) == len(indicator.outputs)


PRICES = (0.1, 1 / 49, 123.456, 1e13, 1e13 / 3, 1e-8, 1e-8 / 7)


def entries(table: str) -> list[tuple[str, int]]:
    """`sma(3) 2, vpt 1`: the notations, each with the bar from which on, counted from 0, the law holds."""
    return [(text, int(bar)) for text, bar in re.findall(r"([a-z0-9_]+(?:\([0-9,]+\))?) (\d+)", table)]


FLAT = {
    "price": """alma(49) 48, bbands(2,2) 1, bbands(20,2) 19, bbands(49,2) 48, dema(49) 96, donchian 19, ema(49) 48,
        hma(49) 54, ht_trendline 63, ichimoku 51, kama(30) 30, keltner 19, linearreg(49) 48, linearreg_intercept(49) 48,
        max(5) 4, midpoint(14) 13, midprice(14) 13, min(5) 4, rma(49) 48, sar 1, sma(3) 2, sma(20) 19, sma(49) 48,
        sma(50) 49, t3(20) 114, tema(49) 144, trima(49) 48, tsf(49) 48, vwma(49) 48, wma(49) 48, zlema(49) 72""",
    "0": """ad 0, adosc 9, adx 27, adxr 40, apo 25, aroonosc 14, atr 14, bop 0, cci(14) 13, cmf 19, cmo(14) 14, dpo 19,
        drawdown(5) 4, dx 14, eom 14, force_index 13, garman_klass(20) 19, linearreg_angle(49) 48,
        linearreg_slope(49) 48, macd 33, mfi(14) 14, minus_di 14, minus_dm 13, mom 10, natr 14, parkinson(20) 19,
        plus_di 14, plus_dm 13, ppo 25, roc 10, rocp 10, stddev(20) 19, stoch(5,3,3) 8, stochf(5,3) 6, trange 1,
        trix(5) 13, ultosc 28, var(20) 19, vpt 1, willr(14) 13, rsi(14) 14, stochrsi 20""",
    "1": "obv 0, rocr 10",
    "100": "aroon 14, percent_rank(20) 20",
    "price -1": "supertrend 10",
}


@pytest.mark.parametrize(
    ("text", "first", "values"), [(*entry, values) for values, table in FLAT.items() for entry in entries(table)]
)
def test_of_a_flat_price_its_values_are_exact_from_its_first_on(text: str, first: int, values: str) -> None:
    for price in PRICES:
        found = compute(text, closes(np.full(5_000, price))).reshape(5_000, -1)
        expected = [price if value == "price" else float(value) for value in values.split()]
        if (text, price) == ("rma(49)", 1e-8):
            continue  # it is off by the last digit, as its page says
        np.testing.assert_array_equal(found[first:], np.broadcast_to(expected, found[first:].shape), f"{price}")
        assert np.isnan(found[:first]).any(axis=1).all()


AS_TALIB = {
    "adx": "5 14", "adxr": "14", "aroon": "14", "bop": "", "cci": "14", "cmo": "14", "dx": "5 14", "mfi": "14",
    "minus_di": "14", "minus_dm": "14", "plus_di": "14", "plus_dm": "14", "rsi": "14", "stoch": "5,3,3",
    "stochf": "5,3", "stochrsi": "14,5,3", "ultosc": "7,14,28", "willr": "14",
}  # fmt: skip


@pytest.mark.parametrize("name", AS_TALIB)
def test_of_a_price_that_stands_still_or_only_rises_or_falls_it_is_exactly_what_talib_returns(name: str) -> None:
    still = {f"a price of {price}": closes(np.full(60, price)) for price in (*PRICES, 8.0)}
    rising = np.arange(1.0, 61.0)
    moved = {"rises": closes(rising), "falls": closes(rising[::-1] + 1)}
    check(name, ORACLES[name][0], AS_TALIB[name], EXACT, still | moved)


@pytest.mark.parametrize(("name", "period", "still"), [("adx", 5, 30_000), ("dx", 5, 30_000), ("rsi", 14, 2_000)])
def test_it_keeps_its_value_where_the_price_never_moves_again_as_in_talib(name: str, period: int, still: int) -> None:
    bars = closes(moving(1, 50, still))
    check(name, ORACLES[name][0], f"{period}", Tolerance(1e-9, 0), {"still": bars})
    found = compute(f"{name}({period})", bars)
    assert np.isfinite(found[-1])
    if name == "rsi":
        np.testing.assert_allclose(found[50:], found[49], rtol=1e-9)


@pytest.mark.parametrize("seed", [3, 7])
@pytest.mark.parametrize(("text", "bars"), [("cci(14)", 13), ("stoch(5,3,3)", 8), ("stochrsi", 6)])
def test_it_is_exactly_zero_as_soon_as_its_window_is_flat(text: str, bars: int, seed: int) -> None:
    np.testing.assert_array_equal(compute(text, closes(moving(seed, 50, still=2_000)))[49 + bars :], 0.0)


RISING = [np.arange(1.0, 40.0), np.arange(1.0, 60.0), np.arange(1.0, 60.0) ** 2]
RISING += [price * np.arange(1.0, 41.0) for price in (1.0, *PRICES)]
OF_RISES_AND_FALLS: dict[tuple[int, int | None], str] = {
    (100, -100): "cmo 14, tsi 37", (100, 0): "mfi 14, rsi 14, stochf 6, ultosc 28",
    (0, 0): "garman_klass(20) 19, parkinson(20) 19, stochrsi 20", (0, -100): "willr 13", (0, None): "drawdown(5) 4",
}  # fmt: skip


@pytest.mark.parametrize("ends", OF_RISES_AND_FALLS)
def test_it_stands_at_an_end_of_its_scale_where_the_price_only_rises_or_falls(ends: tuple[int, int | None]) -> None:
    for text, first in entries(OF_RISES_AND_FALLS[ends]):
        for rising in RISING:
            found, falling = compute(text, closes(rising))[first:], compute(text, closes(rising[::-1]))[first:]
            np.testing.assert_allclose(found, ends[0], rtol=1e-15 if text == "ultosc" else 0, err_msg=text)
            if ends[1] is not None:
                np.testing.assert_array_equal(falling, ends[1], text)


@pytest.mark.parametrize(
    ("text", "first"), entries("ad 0, adosc 9, force_index 13, mfi(14) 14, obv 0, volume_sma(20) 19, vpt 1")
)
def test_without_volume_it_is_zero(text: str, first: int) -> None:
    wide = [closes(np.full(40, price), high=2 * price, volume=0) for price in PRICES]
    for bars in (*wide, *(closes(rising, volume=0) for rising in RISING)):
        np.testing.assert_array_equal(compute(text, bars)[first:], 0.0)


SCALE_FREE = """cci cmo drawdown(20) kurtosis mfi natr percent_rank(20) ppo roc rocp rocr rsi skew stoch stochrsi trix tsi
    ultosc zscore"""


@pytest.mark.parametrize("text", SCALE_FREE.split())
def test_a_ratio_of_prices_does_not_depend_on_their_unit_and_not_a_bit_where_it_is_a_power_of_two(text: str) -> None:
    within = 1e-11 if text.startswith("roc") else 1e-9
    for seed in range(1, 11):
        prices = moving(seed, 200)
        expected = compute(text, closes(prices))
        for power in (43, -40, -300):
            np.testing.assert_array_equal(compute(text, closes(prices * 2.0**power)), expected)
        for scale in (1e13, 1e-8, 1e-13):
            found = compute(text, closes(prices * scale))
            np.testing.assert_allclose(found, expected, rtol=within, atol=0 if text == "rsi" else within)


IN_NO_UNIT, IN_THE_UNIT_OF_PRICES = "adx adxr bop dx garman_klass minus_di parkinson plus_di", ["ht_trendline", "sar"]


@pytest.mark.parametrize(
    ("name", "degree"), [*((name, 0) for name in IN_NO_UNIT.split()), *((name, 1) for name in IN_THE_UNIT_OF_PRICES)]
)
def test_on_real_daily_files_a_power_of_two_as_unit_changes_no_bit(name: str, degree: int) -> None:
    for file, bars in every_daily().items():
        expected = compute(name, bars)
        for power in (43, 40, -40):
            found = compute(name, bars * 2.0**power)
            np.testing.assert_array_equal(found, expected * 2.0 ** (power * degree), err_msg=f"{power}: {file}")


OF_A_WINDOW = """alma(20) 19, hma(20) 22, linearreg(20) 19, linearreg_angle(20) 19, linearreg_intercept(20) 19,
    linearreg_slope(20) 19, midpoint(20) 19, midprice(20) 19, trima(20) 19, tsf(20) 19, vwma(20) 19, wma(20) 19"""


@pytest.mark.parametrize(("text", "first"), entries(OF_A_WINDOW))
def test_it_is_right_again_when_huge_prices_have_left_the_window(text: str, first: int) -> None:
    rng = np.random.default_rng(4)
    small = 1e-8 * (1 + rng.random(60))
    found = compute(text, closes(np.concatenate([1e13 * rng.random(33), small])))[33 + first :]
    np.testing.assert_array_equal(found, compute(text, closes(small))[first:])
