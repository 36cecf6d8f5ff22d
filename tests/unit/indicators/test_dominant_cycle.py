"""The dominant cycle of waves whose length is known."""

import numpy as np
import pytest

from marketpulse.indicators.dominant_cycle import CYCLE_WIDTH, FIRST_BAR, SMOOTH_PERIOD, cycle_push


@pytest.mark.parametrize("bars", [10, 15, 20, 30])
def test_the_cycle_of_a_sine_is_as_long_as_the_sine(bars: int) -> None:
    state = np.zeros((1, CYCLE_WIDTH))
    found = []
    for i in range(400):
        if cycle_push(state, 0, 100 + 5 * np.sin(2 * np.pi * i / bars)):
            found.append(float(state[0, SMOOTH_PERIOD]))
    assert len(found) == 400 - FIRST_BAR
    np.testing.assert_allclose(found[200:], bars, atol=0.5)


def test_a_cycle_stays_inside_its_slots_and_between_6_and_50_bars() -> None:
    state = np.full((1, CYCLE_WIDTH + 2), -7.0)
    state[0, 1:-1] = 0.0
    for value in np.random.default_rng(2).random(2_000).tolist():
        cycle_push(state[:, 1:-1], 0, value)
    assert state[0, 0] == state[0, -1] == -7.0
    assert 6.0 <= state[0, 1 + SMOOTH_PERIOD] <= 50.0
