"""What kernels are made of: windows and sums in the slots of a state row; and what their steps say."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

from marketpulse.indicators.extremes import EXTREME_HEAD, highest_step, lowest_step
from marketpulse.indicators.fast_k import fast_k_push, fast_k_step, fast_k_width
from marketpulse.indicators.money_flow import money_flow_step, money_flow_volume
from marketpulse.indicators.rises_and_falls import RISES_WIDTH, rises_step
from marketpulse.indicators.rolling import POSITIVE_SUM_HEAD, SUM_HEAD, positive_sum_push, sum_push
from marketpulse.indicators.running_total import TOTAL_WIDTH, total_push, total_step
from marketpulse.indicators.true_range import TRUE_RANGE_WIDTH, true_range_step

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
            spread = max(map(Fraction, values)) * Fraction(1, 2**96)
            assert abs(Fraction(high) + Fraction(low) - exact) <= spread
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
    said = "((7.0 - 4.0) - (8.0 - 7.0)) / (8.0 - 4.0) * 6.0 = 3.0"
    assert money_flow_step(8.0, 4.0, 7.0, 6.0)[0].endswith(said)
    assert money_flow_step(5.0, 5.0, 5.0, 6.0)[0] == "high = low = 5.0: money flow volume = 0"
