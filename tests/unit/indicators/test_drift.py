"""Nothing piles up: after ten million bars the values are those of an indicator that began fifty thousand bars ago.

Among the bars are half a million at a price of 1e13, so that whatever a running sum loses there would stay in it.
(Those that count from the first bar on, such as `obv`, have tests against exact sums of their own.)
"""

from collections.abc import Iterator

import numpy as np
import pytest

from marketpulse.indicators.bar_columns import NOTIONAL
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.indicators.declaration import Spec
from unit.indicators.contract import Floats, closes

CHUNK, CHUNKS, LAST = 500_000, 20, 50_000
SPECS = parse_indicators("""sma(20),ema(26),rma(14),rsi(14),macd,bbands(20,2),atr(14),wma(30),kama(30),vwma(20),dema(30),t3,
    stddev(20),var(20),zscore,linearreg(14),linearreg_slope(14),adx(14),cci(20),mfi(14),cmf,close_volume_correl,
    realized_volatility(20),stoch,ultosc,donchian""")


def chunks() -> Iterator[Floats]:
    """Ten million bars, 500,000 at a time."""
    random = np.random.default_rng(7)
    for chunk in range(CHUNKS):
        close = (100 + 5 * np.sin(np.arange(CHUNK) / 300) + random.normal(0, 0.3, CHUNK)) * (1e11 if chunk == 3 else 1)
        spread = close * 0.003 * random.random(CHUNK)
        volume = random.integers(1, 1_000, CHUNK)
        bars = closes(close, open=close - spread / 2, high=close + spread, low=close - spread, volume=volume)
        bars[:, NOTIONAL] = volume * close
        yield bars


def run(spec: Spec, state: Floats, bars: Floats) -> Floats:
    """The last thousand values."""
    out = np.empty((len(bars), len(spec.columns)))
    spec.update(state, np.zeros(len(bars), np.int64), bars, np.zeros(len(bars), np.int32), out)
    return out[-1_000:]


Ends = dict[str, tuple[Floats, Floats]]


@pytest.fixture(scope="module")
def values() -> Ends:
    """By notation, the last thousand values of the long run and of the short one."""
    states = [spec.fresh_state(1) for spec in SPECS]
    for bars in chunks():
        ends = [run(spec, state, bars) for spec, state in zip(SPECS, states, strict=True)]
    return {s.text: (end, run(s, s.fresh_state(1), bars[-LAST:])) for s, end in zip(SPECS, ends, strict=True)}


@pytest.mark.parametrize("text", [spec.text for spec in SPECS])
def test_after_ten_million_bars_the_values_are_those_of_the_last_ones(values: Ends, text: str) -> None:
    long, short = values[text]
    assert np.isfinite(short).all()
    np.testing.assert_allclose(long, short, rtol=1e-11, atol=1e-11)
