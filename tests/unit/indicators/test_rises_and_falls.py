"""Averages of rises and falls by hand; the indicators built on them are held against TA-Lib."""

import numpy as np

from marketpulse.indicators.rises_and_falls import RISES_WIDTH, rises_push, rises_step


def test_rises_and_falls_are_averaged_apart() -> None:
    state = np.zeros((1, RISES_WIDTH))
    found = [rises_push(state, 0, 0, 2, value) for value in (10.0, 12.0, 11.0, 14.0)]
    assert [known for known, _, _ in found] == [False, False, True, True]
    assert [tuple(averages) for _, *averages in found[2:]] == [(1.0, 0.5), (2.0, 0.25)]


def test_rises_and_falls_say_the_change_first() -> None:
    state = np.zeros((1, RISES_WIDTH))
    assert rises_step(state, 0, 1, 10.0, "close") == (["close 10.0 is the first: no change yet"], None)
    lines, averages = rises_step(state, 0, 1, 8.0, "close")
    assert lines[0] == "change = close - close before = 8.0 - 10.0 = -2.0"
    assert averages == (0.0, 2.0)
