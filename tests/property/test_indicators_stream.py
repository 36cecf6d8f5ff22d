"""Laws of every indicator in the catalogue, over several series that interleave as they like."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis.strategies import DrawFn, composite, floats, integers, lists, sampled_from
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import ASK, BID, CLOSE, HIGH, LOW, NOTIONAL, OPEN, VOLUME, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE, Indicator, Spec

Floats = NDArray[np.float64]

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


@composite
def streams(draw: DrawFn, *, size_min: int = 0, size_max: int = 240) -> Stream:
    """Flat stretches, volume 0, jumps over many decades, sessions of any length, quotes and bars without one."""
    n = draw(integers(size_min, size_max))
    seed = draw(integers(0, 2**32 - 1))
    scale = draw(sampled_from([1e-8, 1.0, 1e13]))
    rng = np.random.default_rng(seed)
    move = rng.choice([0.0, 0.01, 3.0], size=n, p=[0.5, 0.4, 0.1])
    close = scale * np.exp(np.clip(np.cumsum(rng.normal(size=n) * move), -20, 20))
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
    session = np.cumsum(rng.random(n) < 0.1).astype(np.int32)
    return Stream(rng.integers(0, N_SERIES, n), bars, session)


@composite
def specs(draw: DrawFn, indicator: Indicator) -> Spec:
    """The indicator with small parameters, so that short streams leave the warm-up."""
    values = []
    for p in indicator.parameters:
        if p.kind == "int":
            values.append(float(draw(integers(int(p.minimum), int(p.minimum) + 8))))
        else:
            values.append(draw(floats(p.minimum, p.maximum)))
    assume(indicator.fault(tuple(values)) is None)
    return Spec(indicator, tuple(values))


def advance(spec: Spec, state: Floats, stream: Stream) -> Floats:
    out = np.full((len(stream), len(spec.columns)), GUARD)
    spec.update(state, stream.series, stream.bars, stream.session, out)
    return out


@EVERY
@given(data=streams(), cuts=lists(integers(0, 240), max_size=6))
def test_the_bits_are_the_same_however_the_stream_is_cut(indicator: Indicator, data: Stream, cuts: list[int]) -> None:
    spec = Spec(indicator, indicator.defaults())
    assert_cut_changes_nothing(spec, data, cuts)


@given(spec=sampled_from(list(CATALOGUE.values())).flatmap(specs), data=streams(), cut=integers(0, 240))
def test_the_bits_are_the_same_with_any_parameters_too(spec: Spec, data: Stream, cut: int) -> None:
    assert_cut_changes_nothing(spec, data, [cut])


def assert_cut_changes_nothing(spec: Spec, data: Stream, cuts: list[int]) -> None:
    whole_state = spec.fresh_state(N_SERIES)
    whole = advance(spec, whole_state, data)
    state = spec.fresh_state(N_SERIES)
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    parts = [advance(spec, state, data.part(a, b)) for a, b in pairwise(edges)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert state.tobytes() == whole_state.tobytes()


@EVERY
@given(data=streams())
def test_a_series_does_not_know_of_the_others(indicator: Indicator, data: Stream) -> None:
    spec = Spec(indicator, indicator.defaults())
    whole = advance(spec, spec.fresh_state(N_SERIES), data)
    for one in range(N_SERIES):
        rows = data.series == one
        alone = Stream(np.zeros(rows.sum(), np.int64), data.bars[rows], data.session[rows])
        assert advance(spec, spec.fresh_state(1), alone).tobytes() == whole[rows].tobytes()


@EVERY
@given(data=streams(), end=integers(0, 240))
def test_what_comes_later_changes_nothing_before(indicator: Indicator, data: Stream, end: int) -> None:
    spec = Spec(indicator, indicator.defaults())
    whole = advance(spec, spec.fresh_state(N_SERIES), data)
    past = advance(spec, spec.fresh_state(N_SERIES), data.part(0, end))
    assert past.tobytes() == whole[:end].tobytes()


@given(spec=sampled_from(list(CATALOGUE.values())).flatmap(specs), data=streams(size_min=40))
def test_the_first_value_comes_after_the_declared_warm_up(spec: Spec, data: Stream) -> None:
    data.bars[:, VOLUME] += 1.0  # without any volume some values cannot be, however long the stream
    data.bars[:, BID:] = np.nan_to_num(data.bars[:, BID:]) + 1.0  # nor others without a quote
    if spec.indicator.name in UNDEFINED_WHEN_FLAT:
        data.bars[:, :VOLUME] *= 1 + 0.01 * (np.arange(len(data)) % 3)[:, np.newaxis]
    one = Stream(np.zeros(len(data), np.int64), data.bars, data.session)
    out = advance(spec, spec.fresh_state(1), one)
    assert np.isnan(out[: spec.warm_up]).any(axis=1).all()
    assert not np.isnan(out[spec.warm_up :]).any()


@given(spec=sampled_from(list(CATALOGUE.values())).flatmap(specs), data=streams())
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
def test_a_provisional_value_is_what_the_bar_would_give_and_changes_nothing(
    indicator: Indicator, data: Stream, forming: Stream
) -> None:
    spec = Spec(indicator, indicator.defaults())
    state = spec.fresh_state(N_SERIES)
    advance(spec, state, data)
    committed = state.copy()
    for i in range(len(forming)):
        bar = forming.part(i, i + 1)
        copied = state[bar.series]
        provisional = advance(spec, copied, Stream(np.zeros(1, np.int64), bar.bars, bar.session))
        assert state.tobytes() == committed.tobytes()
        closed = advance(spec, state.copy(), bar)
        assert provisional.tobytes() == closed.tobytes()


@given(
    spec=sampled_from(list(CATALOGUE.values())).flatmap(specs),
    data=streams(),
    factor=sampled_from([1e-90, 1e30, 1e150, 1e290]),
)
def test_no_value_is_ever_infinite(spec: Spec, data: Stream, factor: float) -> None:
    with np.errstate(over="ignore"):
        bars = np.minimum(data.bars * factor, 1e308)
    out = advance(spec, spec.fresh_state(N_SERIES), Stream(data.series, bars, data.session))
    assert not np.isinf(out).any()
