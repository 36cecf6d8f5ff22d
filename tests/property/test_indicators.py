"""Laws of every indicator in the catalogue: over several series that interleave as they like, and over a split."""

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
    session = np.cumsum(rng.random(n) < 0.1).astype(np.int32)
    return Stream(rng.integers(0, N_SERIES, n), bars, session)


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
    out = advance(spec, spec.fresh_state(N_SERIES), Stream(data.series, bars, data.session))
    assert not np.isinf(out).any()


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
