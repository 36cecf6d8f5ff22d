"""What kernels are made of, windows and sums in the slots of a state row, and functions of their own, against 50
decimal digits, exact fractions and the system's; and the words that explain an indicator, which work its values out to
the same bits."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import floats, integers, lists, one_of

from examples import examples
from marketpulse.indicators import moments
from marketpulse.indicators.arctangent import arctangent
from marketpulse.indicators.arithmetic import ema_step, listed, mean_of_window, shown, wilder_step
from marketpulse.indicators.bar_columns import BID, NOTIONAL, VOLUME, WIDTH
from marketpulse.indicators.catalogue import CATALOGUE, Spec, parse_indicators
from marketpulse.indicators.exponential import exp_of_minus
from marketpulse.indicators.extremes import EXTREME_HEAD, highest_step, lowest_step
from marketpulse.indicators.fast_k import fast_k_push, fast_k_step, fast_k_width
from marketpulse.indicators.log_return import log_return
from marketpulse.indicators.money_flow import money_flow_step, money_flow_volume
from marketpulse.indicators.rebase import explain_rebased, in_first_units, in_units_of_now, update_rebased
from marketpulse.indicators.rises_and_falls import RISES_WIDTH, rises_step
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, SUM_HEAD, add, mean, positive_sum_push, sum_push
from marketpulse.indicators.running_total import TOTAL_WIDTH, total_push, total_step
from marketpulse.indicators.tie import negligible, tied
from marketpulse.indicators.true_range import TRUE_RANGE_WIDTH, true_range_step
from unit.indicators.oracles import Floats

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


PRICES = lists(floats(1e-8, 1e13), min_size=1, max_size=60)
PERIODS, PLACES = integers(1, 8), integers(0, 3)


class Slots:
    """A state of three rows in which only these slots of the middle one may be written."""

    def __init__(self, at: int, width: int) -> None:
        self.state, self.slots = np.full((3, at + width + 3), -7.0), (1, slice(at, at + width))
        self.state[self.slots] = 0.0

    def assert_nothing_else_was_written(self) -> None:
        self.state[self.slots] = -7.0
        assert (self.state == -7.0).all()


def test_extremes_and_running_totals_say_what_they_are_of() -> None:
    state = np.zeros((1, EXTREME_HEAD + 2))
    assert highest_step(state, 0, 2, 3.0, "highs")[1] is None
    assert highest_step(state, 0, 2, 1.0, "highs") == (["highest of the last 2 highs, with 1.0 = 3.0"], 3.0)
    state = np.zeros((1, EXTREME_HEAD + 1))
    assert lowest_step(state, 0, 1, 4.0, "lows") == (["lowest of the last 1 lows, with 4.0 = 4.0"], 4.0)
    state = np.zeros((1, TOTAL_WIDTH))
    total_push(state, 0, 0, 2.0)
    assert total_step(state, 0, -0.5, "obv") == ("obv = before + term = 2.0 + -0.5 = 1.5", 1.5)


@given(values=PRICES, period=PERIODS, at=PLACES)
def test_a_rolling_sum_is_that_of_the_window_inside_its_slots(values: list[float], period: int, at: int) -> None:
    row = Slots(at, SUM_HEAD + period)
    for i, value in enumerate(values):
        full, high, low = sum_push(row.state, 1, at, period, value)
        assert full == (i >= period - 1)
        if full:
            exact = sum(map(Fraction, values[i - period + 1 : i + 1]))
            assert abs(Fraction(high) + Fraction(low) - exact) <= (max(map(Fraction, values)) * Fraction(1, 2**96))
    row.assert_nothing_else_was_written()


@given(values=PRICES, period=PERIODS, at=PLACES)
def test_a_positive_rolling_sum_cancels_nothing_inside_its_slots(values: list[float], period: int, at: int) -> None:
    row = Slots(at, POSITIVE_SUM_HEAD + period)
    for i, value in enumerate(values):
        full, total = positive_sum_push(row.state, 1, at, period, value)
        assert full == (i >= period - 1)
        if full:
            assert total == pytest.approx(math.fsum(values[i - period + 1 : i + 1]), rel=1e-15 * period)
    row.assert_nothing_else_was_written()


def test_changes_and_true_ranges_are_said_with_the_close_before() -> None:
    state = np.zeros((1, RISES_WIDTH))
    assert rises_step(state, 0, 1, 10.0, "close") == (["close 10.0 is the first: no change yet"], None)
    lines, found_averages = rises_step(state, 0, 1, 8.0, "close")
    assert lines[0] == "change = close - close before = 8.0 - 10.0 = -2.0"
    assert found_averages == (0.0, 2.0)
    state = np.zeros((1, TRUE_RANGE_WIDTH))
    said = "the first bar has no close before it, and so no true range"
    assert true_range_step(state, 0, 11.0, 9.0, 10.0) == (said, None)
    line, value = true_range_step(state, 0, 16.0, 14.0, 15.0)
    assert value == 6.0
    assert line.endswith("= max(16.0 - 14.0, |16.0 - 10.0|, |14.0 - 10.0|) = 6.0")


def test_fast_k_says_which_share_of_the_range_it_is_and_a_range_of_rounding_alone_is_none() -> None:
    state, of = np.zeros((1, fast_k_width(1))), ("highs", "lows", "close")
    lines, value = fast_k_step(state, 0, 1, (8.0, 4.0, 7.0), of)
    said = "%K = 100 * (close - lowest) / (highest - lowest) = 100 * (7.0 - 4.0) / (8.0 - 4.0) = 75.0"
    assert (lines[-1], value) == (said, 75.0)
    lines, value = fast_k_step(state, 0, 1, (4.0, 4.0, 4.0), of)
    assert (lines[-1], value) == ("highest = lowest: %K = 0", 0.0)
    state, nearly = np.zeros((1, fast_k_width(2))), float(np.nextafter(50.0, 51.0))
    fast_k_push(state, 0, 0, 2, 50.0, 50.0, 50.0)
    assert fast_k_push(state, 0, 0, 2, nearly, nearly, nearly) == (True, 0.0)
    assert fast_k_push(state, 0, 0, 2, 50.5, 50.5, 50.5) == (True, 100.0)


def test_volume_flows_to_where_the_close_is_and_says_how() -> None:
    for high, low, close, flow in ((8, 4, 8, 6), (8, 4, 4, -6), (8, 4, 6, 0), (8, 4, 7, 3), (5, 5, 5, 0)):
        assert money_flow_volume(high, low, close, 6.0) == money_flow_step(high, low, close, 6.0)[1] == flow
    assert money_flow_step(8.0, 4.0, 7.0, 6.0)[0].endswith("((7.0 - 4.0) - (8.0 - 7.0)) / (8.0 - 4.0) * 6.0 = 3.0")
    assert money_flow_step(5.0, 5.0, 5.0, 6.0)[0] == "high = low = 5.0: money flow volume = 0"


ANY_PRICE = floats(1e-100, 1e100)
DECODED = floats(1e-8, 1e13)


@given(tangent=one_of(floats(-10, 10), floats(-1e300, 1e300)))
def test_the_arctangent_is_the_systems_to_four_roundings(tangent: float) -> None:
    assert arctangent(tangent) == pytest.approx(math.atan(tangent), rel=4 * 2**-53, abs=2**-1000)


def test_the_arctangent_knows_its_angles_a_centre_may_be_nearly_the_mean_and_nothing_is_negligible_to_nothing() -> None:
    for tangent, degrees in {0.0: 0, 1.0: 45, -1.0: -45, math.sqrt(3): 60, math.inf: 90}.items():
        assert math.degrees(arctangent(tangent)) == pytest.approx(degrees, rel=1e-15)
    assert math.isnan(arctangent(math.nan))
    window = 1e13 + np.random.default_rng(1).integers(0, 9, (1, 20)).astype(np.float64)
    values = [Fraction(v) for v in window[0].tolist()]
    centre = sum(values, Fraction(0)) / 20
    second, third, fourth = (float(sum((v - centre) ** k for v in values) / 20) for k in (2, 3, 4))
    for off in (-1.0, 0.0, 1.0):
        assert moments.population_variance(window, 0, 0, 20, float(centre) + off) == pytest.approx(second, rel=1e-12)
        found = moments.central_moments(window, 0, 0, 20, float(centre) + off)
        assert found[1] / found[0] ** 1.5 == pytest.approx(third / second**1.5, rel=1e-9)
        assert found[2] / found[0] ** 2 == pytest.approx(fourth / second**2, rel=1e-12)
    assert negligible(0.0, 0.0)
    assert not negligible(5e-324, 0.0)


@given(x=floats(0, 700))
def test_the_exponential_is_within_two_roundings_of_50_digits(x: float) -> None:
    with localcontext() as digits:
        digits.prec = 50
        exact = (-Decimal(x)).exp()
        assert abs(Decimal(exp_of_minus(x)) - exact) <= 2 * Decimal(2) ** -53 * exact * Decimal("1.1")


@pytest.mark.parametrize(("x", "value"), [(0.0, 1.0), (701.0, 0.0), (1e308, 0.0)])
def test_the_exponential_of_nothing_is_one_and_of_much_zero(x: float, value: float) -> None:
    assert exp_of_minus(x) == value
    assert math.copysign(1.0, exp_of_minus(x)) == 1.0


def assert_log_return_is_right(previous: float, price: float) -> None:
    with localcontext() as context:
        context.prec = 50
        exact = (Decimal(price) / Decimal(previous)).ln()
    assert abs(Decimal(log_return(previous, price)) - exact) <= abs(exact) * Decimal("4e-16")


@given(previous=ANY_PRICE, price=ANY_PRICE)
def test_any_log_return_is_right_to_the_last_bits_and_back_it_has_the_other_sign(previous: float, price: float) -> None:
    assert_log_return_is_right(previous, price)
    assert log_return(previous, price) == -log_return(price, previous)


@given(previous=DECODED, factor=floats(0.65, 1.55), move=floats(-1e-6, 1e-6))
def test_log_returns_of_small_moves_and_around_root_two_are_right(previous: float, factor: float, move: float) -> None:
    assert_log_return_is_right(previous, previous * factor)
    assert_log_return_is_right(previous, previous + previous * move)


@pytest.mark.parametrize("price", [1e-100, 1e-8, 0.1, 1.0, 1e13, 1e100])
def test_the_log_return_of_no_move_is_exactly_zero(price: float) -> None:
    assert log_return(price, price) == 0.0


@given(terms=lists(floats(-1e13, 1e13), min_size=1, max_size=50))
def test_adding_loses_nothing_that_a_double_shows(terms: list[float]) -> None:
    high, low = 0.0, 0.0
    for term in terms:
        high, low = add(high, low, term)
    largest = max(abs(Fraction(t)) for t in terms)
    error = abs(Fraction(high) + Fraction(low) - sum(map(Fraction, terms)))
    assert error <= largest * len(terms) ** 2 * Fraction(1, 2**100)


@given(value=DECODED, count=integers(1, 10_000))
def test_the_mean_of_equal_values_is_the_value(value: float, count: int) -> None:
    high, low = 0.0, 0.0
    for _ in range(min(count, 60)):
        high, low = add(high, low, value)
    assert mean(high, low, min(count, 60)) == value
    exact = Fraction(value) * count
    upper = float(exact)
    assert mean(upper, float(exact - Fraction(upper)), count) == value


@pytest.mark.parametrize("price", [1e-8, 1.0, 100.0, 1e13])
def test_values_are_tied_where_talibs_money_flow_sees_no_direction(price: float) -> None:
    for factor in (1.0, 1 + 1e-15, 1 + 1.8e-14, 1 + 2.2e-14, 1 + 1e-12, 2.0):
        typical = np.array([2 * price, price, price * factor])
        assert tied(price, price * factor) == (talib.MFI(typical, typical, typical, np.ones(3), 2)[2] == 0)
