"""The words that explain an indicator work its values out beside the kernel, also after a split: both have the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from marketpulse.indicators.arithmetic import ema_step, listed, mean_of_window, shown, wilder_step
from marketpulse.indicators.bar_columns import BID, NOTIONAL, VOLUME, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE, Spec, parse_indicators
from marketpulse.indicators.rebase import explain_rebased, in_first_units, in_units_of_now, update_rebased
from unit.indicators.contract import Floats

SMALL = """macd(2,4,3) bbands(3,1.5) ichimoku(2,3,5) sar(0.02,0.2) keltner(3,2,1.5) stochrsi(3,3,2) apo(2,4) ppo(2,4)
    ultosc(4,2,3) tsi(3,2) adosc(2,4) kurtosis(4)"""
SMALL_BY_NAME = {text.partition("(")[0]: text for text in SMALL.split()}
USUAL = {name: f"{name}(3)" if declared.parameters else name for name, declared in CATALOGUE.items()}

prices = st.floats(0.01, 1e6, allow_subnormal=False)
flat_or_not = st.one_of(prices, st.sampled_from([10.0, 10.0, 20.0]))


@st.composite
def series(draw: st.DrawFn) -> tuple[Floats, list[int]]:
    """Bars (n, 10) and their session dates."""
    closes = draw(st.lists(flat_or_not, min_size=1, max_size=25))
    bars = np.empty((len(closes), WIDTH))
    sessions, day = [], 20_000
    for bar, close in zip(bars, closes, strict=True):
        spread = draw(st.floats(0, 5))
        bar[:VOLUME] = close, close + spread, close, close
        bar[VOLUME] = draw(st.sampled_from([0.0, 0.1, 3.0, 1e5]))
        bar[NOTIONAL] = bar[VOLUME] * close
        quoted, sizes = draw(st.booleans()), st.sampled_from([0.0, 0.0, 3.0, 7.5])
        bar[BID:] = (close, draw(sizes), close + spread, draw(sizes)) if quoted else np.nan
        day += draw(st.sampled_from([0, 0, 0, 1]))
        sessions.append(day)
    return bars, sessions


@pytest.mark.parametrize("text", [SMALL_BY_NAME.get(name, usual) for name, usual in USUAL.items()])
@examples(100)
@given(found=series())
def test_the_explained_values_have_the_kernels_bits(text: str, found: tuple[Floats, list[int]]) -> None:
    (spec,) = parse_indicators(text)
    state, one = spec.fresh_state(1), np.zeros(1, np.int64)
    for bar, session in zip(*found, strict=True):
        before, kept = state[0].copy(), state[0].copy()
        explained = spec.explain(before, bar, session)
        assert before.tobytes() == kept.tobytes(), "the state before stays"
        out = np.empty((1, len(spec.columns)))
        spec.update(state, one, bar.reshape(1, -1).copy(), np.array([session], np.int32), out)
        values = np.array(explained.values)
        assert values.shape == out[0].shape
        assert np.array_equal(np.isnan(values), np.isnan(out[0]))
        assert values[~np.isnan(values)].tobytes() == out[0][~np.isnan(values)].tobytes()
        last = explained.lines[-1]
        assert np.isnan(values[0]) or any(shown(value) in last or value == 0 for value in values), last


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_words_after_a_split_have_the_bits_of_the_values(name: str) -> None:
    spec, n = Spec(CATALOGUE[name], CATALOGUE[name].defaults()), 300
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    raw = np.column_stack([close, close * 1.01, close * 0.98, close, *(100 * rng.random((6, n)))])
    begins = np.arange(n) == 299
    state, out = spec.fresh_state(1), np.empty((n, len(spec.columns)))
    zeros, session, factor = np.zeros(n, np.int64), np.zeros(n, np.int32), np.where(begins, 3.0, 1.0)

    def advance(part: slice) -> None:
        update_rebased(spec, state, zeros[part], raw[part], session[part], factor[part], begins[part], out[part])

    advance(slice(0, 299))
    explained = explain_rebased(spec, state[0], raw[299], 0, 3.0, begins=True)
    advance(slice(299, 300))
    assert np.array(explained.values).tobytes() == out[299].tobytes()
    assert explained.lines


def test_at_a_split_prices_grow_sizes_shrink_their_product_stays_and_values_come_back_by_their_degrees() -> None:
    bars = np.arange(1.0, 11.0).reshape(1, 10)
    assert in_first_units(bars, np.array([4.0]))[0].tolist() == [4, 8, 12, 16, 1.25, 6, 28, 2, 36, 2.5]
    values = np.array([[8.0, 8.0, 8.0, 8.0]])
    assert in_units_of_now(values, np.array([2.0]), (1, 2, 0, -1)).tolist() == [[4, 2, 8, 16]]
    assert np.isnan(in_units_of_now(np.array([[1e308]]), np.array([4.0]), (-1,))).all()


def test_a_mean_says_what_left_and_came_averages_how_they_begin_and_move_and_long_lists_show_their_ends() -> None:
    state = parse_indicators("sma(2)")[0].fresh_state(1)
    assert mean_of_window(state, 0, 2, 1.0, "closes")[1] is None
    assert mean_of_window(state, 0, 2, 3.0, "closes")[1] == 2.0
    said = ["the last 2 closes, the oldest first: 3.0, 5.0", "sum = 4.0 - 1.0 (leaves) + 5.0 (enters) = 8.0"]
    assert mean_of_window(state, 0, 2, 5.0, "closes") == ([*said, "mean = sum / 2 = 4.0"], 4.0)
    state = np.zeros((1, 3))
    assert ema_step(state, 0, 2, 0.5, 4.0, "ema", "close")[1] is None
    begins = "ema begins as the mean of the first 2 values: (4.0 + 8.0) / 2 = 6.0"
    assert ema_step(state, 0, 2, 0.5, 8.0, "ema", "close")[0] == [begins]
    moves = "ema = before + (close - before) * 2 / (2 + 1) = 6.0 + (10.0 - 6.0) * 0.5 = 8.0"
    assert ema_step(state, 0, 2, 0.5, 10.0, "ema", "close") == ([moves], 8.0)
    moves = "gain = (before * 1 + rise) / 2 = (8.0 * 1 + 4.0) / 2 = 6.0"
    assert wilder_step(state, 0, 2, 4.0, "gain", "rise")[0] == [moves]
    assert listed([1.0, 2.5]) == "1.0, 2.5"
    assert listed(list(range(100))).count(",") == 60
    assert "… 40 more …" in listed(list(range(100)))
