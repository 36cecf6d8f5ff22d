"""The words that explain an indicator work its values out beside the kernel: both have the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketpulse.indicators.arithmetic import ema_step, listed, mean_of_window, shown, wilder_step
from marketpulse.indicators.bar_columns import BID, CLOSE, HIGH, LOW, NOTIONAL, OPEN, VOLUME, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE, Spec, parse_indicators
from marketpulse.indicators.declaration import Floats

SMALL = {
    "macd": "macd(2,4,3)",
    "bbands": "bbands(3,1.5)",
    "ichimoku": "ichimoku(2,3,5)",
    "sar": "sar(0.02,0.2)",
    "keltner": "keltner(3,2,1.5)",
    "stochrsi": "stochrsi(3,3,2)",
    "apo": "apo(2,4)",
    "ppo": "ppo(2,4)",
    "ultosc": "ultosc(4,2,3)",
    "tsi": "tsi(3,2)",
    "adosc": "adosc(2,4)",
    "kurtosis": "kurtosis(4)",
}
SPECS = [
    parse_indicators(SMALL.get(name, f"{name}(3)") if declared.parameters else name)[0]
    for name, declared in CATALOGUE.items()
]

prices = st.floats(0.01, 1e6, allow_subnormal=False)
flat_or_not = st.one_of(prices, st.sampled_from([10.0, 10.0, 20.0]))


@st.composite
def series(draw: st.DrawFn) -> tuple[Floats, list[int]]:
    """Bars (n, 10) and their session dates."""
    closes = draw(st.lists(flat_or_not, min_size=1, max_size=25))
    bars = np.empty((len(closes), WIDTH))
    sessions, day = [], 20_000
    for i, close in enumerate(closes):
        spread = draw(st.floats(0, 5))
        bars[i, OPEN], bars[i, HIGH], bars[i, LOW], bars[i, CLOSE] = close, close + spread, close, close
        bars[i, VOLUME] = draw(st.sampled_from([0.0, 0.1, 3.0, 1e5]))
        bars[i, NOTIONAL] = bars[i, VOLUME] * close
        quoted, sizes = draw(st.booleans()), st.sampled_from([0.0, 0.0, 3.0, 7.5])
        bars[i, BID:] = (close, draw(sizes), close + spread, draw(sizes)) if quoted else np.nan
        day += draw(st.sampled_from([0, 0, 0, 1]))
        sessions.append(day)
    return bars, sessions


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.indicator.name)
@settings(max_examples=60)
@given(found=series())
def test_the_explained_values_have_the_kernels_bits(spec: Spec, found: tuple[Floats, list[int]]) -> None:
    bars, sessions = found
    state = spec.fresh_state(1)
    for i, session in enumerate(sessions):
        before, kept = state[0].copy(), state[0].copy()
        explained = spec.explain(before, bars[i], session)
        assert before.tobytes() == kept.tobytes(), "the state before stays"
        out = np.empty((1, len(spec.columns)))
        one = np.zeros(1, np.int64)
        spec.update(state, one, bars[i : i + 1].copy(), np.array([session], np.int32), out)
        values = np.array(explained.values)
        assert values.shape == out[0].shape
        assert np.array_equal(np.isnan(values), np.isnan(out[0]))
        assert values[~np.isnan(values)].tobytes() == out[0][~np.isnan(values)].tobytes()
        assert explained.lines
        last = explained.lines[-1]
        assert np.isnan(values[0]) or any(shown(value) in last or value == 0 for value in values), last


def test_a_mean_says_what_left_and_what_came() -> None:
    state = parse_indicators("sma(2)")[0].fresh_state(1)
    assert mean_of_window(state, 0, 2, 1.0, "closes")[1] is None
    assert mean_of_window(state, 0, 2, 3.0, "closes")[1] == 2.0
    lines, value = mean_of_window(state, 0, 2, 5.0, "closes")
    assert value == 4.0
    assert lines == [
        "the last 2 closes, the oldest first: 3.0, 5.0",
        "sum = 4.0 - 1.0 (leaves) + 5.0 (enters) = 8.0",
        "mean = sum / 2 = 4.0",
    ]


def test_averages_say_how_they_begin_and_how_they_move() -> None:
    state = np.zeros((1, 3))
    assert ema_step(state, 0, 2, 0.5, 4.0, "ema", "close")[1] is None
    assert ema_step(state, 0, 2, 0.5, 8.0, "ema", "close")[0] == [
        "ema begins as the mean of the first 2 values: (4.0 + 8.0) / 2 = 6.0"
    ]
    lines, value = ema_step(state, 0, 2, 0.5, 10.0, "ema", "close")
    assert (lines, value) == (
        ["ema = before + (close - before) * 2 / (2 + 1) = 6.0 + (10.0 - 6.0) * 0.5 = 8.0"], 8.0,
    )  # fmt: skip
    assert wilder_step(state, 0, 2, 4.0, "gain", "rise")[0] == [
        "gain = (before * 1 + rise) / 2 = (8.0 * 1 + 4.0) / 2 = 6.0"
    ]


def test_very_long_lists_show_their_ends() -> None:
    assert listed([1.0, 2.5]) == "1.0, 2.5"
    assert listed(list(range(100))).count(",") == 60
    assert "… 40 more …" in listed(list(range(100)))
