"""The highest and the lowest of a window, against a search through it."""

import numpy as np
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists

from marketpulse.indicators.extremes import EXTREME_HEAD, highest_push, highest_step, lowest_push, lowest_step

FIRST_CALL_COMPILES = settings(deadline=None)


@FIRST_CALL_COMPILES
@given(values=lists(floats(-1e13, 1e13), min_size=1, max_size=60), period=integers(1, 8), at=integers(0, 3))
def test_extremes_are_those_of_the_window_and_stay_inside_their_slots(
    values: list[float], period: int, at: int
) -> None:
    for push, search in ((highest_push, max), (lowest_push, min)):
        state = np.full((3, at + EXTREME_HEAD + period + 3), -7.0)
        slots = (1, slice(at, at + EXTREME_HEAD + period))
        state[slots] = 0.0
        for i, value in enumerate(values):
            full, found = push(state, 1, at, period, value)
            assert full == (i >= period - 1)
            assert found == search(values[max(0, i - period + 1) : i + 1])
        state[slots] = -7.0
        assert (state == -7.0).all()


def test_extremes_say_what_they_are_of() -> None:
    state = np.zeros((1, EXTREME_HEAD + 2))
    assert highest_step(state, 0, 2, 3.0, "highs")[1] is None
    assert highest_step(state, 0, 2, 1.0, "highs") == (["highest of the last 2 highs, with 1.0 = 3.0"], 3.0)
    state = np.zeros((1, EXTREME_HEAD + 1))
    assert lowest_step(state, 0, 1, 4.0, "lows") == (["lowest of the last 1 lows, with 4.0 = 4.0"], 4.0)
