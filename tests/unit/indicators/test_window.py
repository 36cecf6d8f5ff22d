"""The last values in a state row."""

import numpy as np
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists

from marketpulse.indicators.window import WINDOW_HEAD, earlier, window_push


@settings(deadline=None)
@given(values=lists(floats(-1e13, 1e13), min_size=1, max_size=40), size=integers(1, 8), at=integers(0, 3))
def test_a_window_holds_the_last_values_inside_its_slots(values: list[float], size: int, at: int) -> None:
    state = np.full((3, at + WINDOW_HEAD + size + 3), -7.0)
    slots = slice(at, at + WINDOW_HEAD + size)
    state[1, slots] = 0.0
    for i, value in enumerate(values):
        held, place = window_push(state, 1, at, size, value)
        assert held == min(i + 1, size)
        found = [state[1, at + WINDOW_HEAD + earlier(place, size, bars)] for bars in range(held)]
        assert found == values[i::-1][:held]
    state[1, slots] = -7.0
    assert (state == -7.0).all()
