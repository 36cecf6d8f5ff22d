"""Every indicator over a split: what it would be if all bars before had been adjusted, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers, sampled_from

from examples import examples
from marketpulse.indicators.bar_columns import ASK, BID, CLOSE, HIGH, LOW, NOTIONAL, OPEN, VOLUME, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE, Indicator, Spec
from marketpulse.indicators.rebase import update_rebased
from split_rows import SIZES, Floats, adjusted

EVERY = pytest.mark.parametrize("indicator", list(CATALOGUE.values()), ids=list(CATALOGUE))


def random_bars(seed: int, n: int) -> Floats:
    """Flat stretches, bars without volume or quote, and prices of any size."""
    rng = np.random.default_rng(seed)
    move = rng.choice([0.0, 0.01, 0.5], size=n, p=[0.3, 0.6, 0.1])
    close = rng.choice([1e-6, 1.0, 1e9]) * np.exp(np.clip(np.cumsum(rng.normal(size=n) * move), -8, 8))
    bars = np.empty((n, WIDTH))
    bars[:, CLOSE] = close
    bars[:, OPEN] = close * (1 + rng.normal(0, 0.001, n))
    bars[:, HIGH] = bars[:, [OPEN, CLOSE]].max(axis=1) * (1 + rng.random(n) * 0.01)
    bars[:, LOW] = bars[:, [OPEN, CLOSE]].min(axis=1) * (1 - rng.random(n) * 0.01)
    bars[:, VOLUME] = rng.choice([0.0, 1.0, 1e6], size=n) * rng.random(n)
    bars[:, NOTIONAL] = bars[:, CLOSE] * bars[:, VOLUME]
    bars[:, SIZES[1:]] = rng.random((n, 2)) * 1e3
    bars[:, [BID, ASK]] = close[:, np.newaxis] * (1 + rng.normal(0, 0.001, (n, 2)))
    bars[rng.random(n) < 0.1, BID:] = np.nan
    return bars


def small(indicator: Indicator, more: int) -> Spec:
    """With short periods, so that short series leave the warm-up."""
    values = [
        min(p.minimum + more + i, p.maximum) if p.kind == "int" else p.default
        for i, p in enumerate(indicator.parameters)
    ]
    return Spec(indicator, tuple(float(v) for v in values))


def plain(spec: Spec, bars: Floats) -> Floats:
    out = np.empty((len(bars), len(spec.columns)))
    n = len(bars)
    spec.update(spec.fresh_state(1), np.zeros(n, np.int64), bars, np.arange(n, dtype=np.int32) // 30, out)
    return out


@EVERY
@examples(full=25)
@given(seed=integers(0, 2**32 - 1), at=integers(0, 90), ratio=sampled_from([2.0, 4.0, 0.125]), more=integers(1, 5))
def test_a_split_leaves_the_values_of_the_adjusted_series(
    indicator: Indicator, seed: int, at: int, ratio: float, more: int
) -> None:
    spec, bars = small(indicator, more), random_bars(seed, 90)
    raw = np.concatenate([bars[:at], adjusted(bars[at:], ratio)])
    factor, begins = np.ones(90), np.zeros(90, np.bool_)
    factor[at:], begins[at : at + 1] = ratio, True
    out = np.empty((90, len(spec.columns)))
    session = np.arange(90, dtype=np.int32) // 30
    update_rebased(spec, spec.fresh_state(1), np.zeros(90, np.int64), raw, session, factor, begins, out)
    before, behind = plain(spec, bars), plain(spec, adjusted(bars, ratio))
    assert out.tobytes() == np.concatenate([before[:at], behind[at:]]).tobytes()


@EVERY
def test_a_factor_of_one_changes_no_bit(indicator: Indicator) -> None:
    spec, bars, n = Spec(indicator, indicator.defaults()), random_bars(7, 300), 300
    out = np.empty((n, len(spec.columns)))
    session = np.arange(n, dtype=np.int32) // 30
    none = np.zeros(n, np.bool_)
    update_rebased(spec, spec.fresh_state(1), np.zeros(n, np.int64), bars, session, np.ones(n), none, out)
    assert out.tobytes() == plain(spec, bars).tobytes()


@EVERY
def test_every_column_has_a_degree_or_a_way_round(indicator: Indicator) -> None:
    degrees = indicator.price_degrees
    assert (degrees is None) == (indicator.derived is not None)
    assert degrees is None or len(degrees) == len(indicator.outputs)
