"""The true range by hand; the indicators built on it are held against TA-Lib."""

import numpy as np

from marketpulse.indicators.true_range import TRUE_RANGE_WIDTH, true_range_push, true_range_step


def test_the_true_range_counts_the_way_from_the_close_before() -> None:
    state = np.zeros((1, TRUE_RANGE_WIDTH))
    assert not true_range_push(state, 0, 0, 11.0, 9.0, 10.0)[0]
    assert true_range_push(state, 0, 0, 16.0, 14.0, 15.0) == (True, 6.0)
    assert true_range_push(state, 0, 0, 16.0, 13.0, 14.0) == (True, 3.0)


def test_the_true_range_says_what_it_compares() -> None:
    state = np.zeros((1, TRUE_RANGE_WIDTH))
    said = "the first bar has no close before it, and so no true range"
    assert true_range_step(state, 0, 11.0, 9.0, 10.0) == (said, None)
    line, value = true_range_step(state, 0, 16.0, 14.0, 15.0)
    assert value == 6.0
    assert line.endswith("= max(16.0 - 14.0, |16.0 - 10.0|, |14.0 - 10.0|) = 6.0")
