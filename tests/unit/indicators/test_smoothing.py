"""Averages that never forget, by hand; the indicators built on them are held against TA-Lib."""

import numpy as np

from marketpulse.indicators.smoothing import AVERAGE_WIDTH, ema_push, wilder_push


def test_the_exponential_average_moves_by_its_weight() -> None:
    state = np.zeros((1, AVERAGE_WIDTH))
    found = [ema_push(state, 0, 0, 2, 0.5, value) for value in (1.0, 3.0, 6.0, 6.0)]
    assert [known for known, _ in found] == [False, True, True, True]
    assert [value for _, value in found[1:]] == [2.0, 4.0, 5.0]


def test_wilders_average_takes_one_part_of_the_new_value() -> None:
    state = np.zeros((1, AVERAGE_WIDTH))
    found = [wilder_push(state, 0, 0, 4, value) for value in (1.0, 1.0, 3.0, 3.0, 6.0, 3.0)]
    assert [known for known, _ in found] == [False, False, False, True, True, True]
    assert [value for _, value in found[3:]] == [2.0, 3.0, 3.0]


def test_an_average_of_length_one_is_the_value() -> None:
    ema, wilder = np.zeros((1, AVERAGE_WIDTH)), np.zeros((1, AVERAGE_WIDTH))
    for value in (5.0, 9.0):
        assert ema_push(ema, 0, 0, 1, 1.0, value) == (True, value)
        assert wilder_push(wilder, 0, 0, 1, value) == (True, value)


def test_an_average_stays_inside_its_slots() -> None:
    state = np.array([[-7.0, *[0.0] * AVERAGE_WIDTH, -7.0]])
    for value in range(30):
        ema_push(state, 0, 1, 10, 0.2, float(value))
    assert state[0, 0] == state[0, -1] == -7.0
