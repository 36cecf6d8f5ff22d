"""The stochastic's raw %K by hand; the indicators built on it are held against TA-Lib."""

import numpy as np

from marketpulse.indicators.fast_k import fast_k_push, fast_k_step, fast_k_width, fast_push, fast_step, fast_width


def test_fast_k_is_the_share_of_the_range_below_the_close() -> None:
    state = np.zeros((1, fast_k_width(2)))
    assert not fast_k_push(state, 0, 0, 2, 6.0, 4.0, 5.0)[0]
    assert fast_k_push(state, 0, 0, 2, 8.0, 6.0, 7.0) == (True, 75.0)
    assert fast_k_push(state, 0, 0, 2, 6.0, 6.0, 6.0) == (True, 0.0)


def test_fast_k_says_where_the_close_stands() -> None:
    state, of = np.zeros((1, fast_k_width(1))), ("highs", "lows", "close")
    lines, value = fast_k_step(state, 0, 1, (8.0, 4.0, 7.0), of)
    assert (lines[-1], value) == (
        "%K = 100 * (close - lowest) / (highest - lowest) = 100 * (7.0 - 4.0) / (8.0 - 4.0) = 75.0",
        75.0,
    )
    lines, value = fast_k_step(state, 0, 1, (4.0, 4.0, 4.0), of)
    assert (lines[-1], value) == ("highest = lowest: %K = 0", 0.0)


def test_a_range_of_rounding_alone_is_none() -> None:
    state, nearly = np.zeros((1, fast_k_width(2))), float(np.nextafter(50.0, 51.0))
    fast_k_push(state, 0, 0, 2, 50.0, 50.0, 50.0)
    assert fast_k_push(state, 0, 0, 2, nearly, nearly, nearly) == (True, 0.0)
    assert fast_k_push(state, 0, 0, 2, 50.5, 50.5, 50.5) == (True, 100.0)


def test_the_fast_stochastic_averages_its_raw_values() -> None:
    # %K 75, 0 and 75
    state, words, of = np.zeros((1, fast_width(1, 2))), np.zeros((1, fast_width(1, 2))), ("", "", "")
    expected = [None, (0.0, 37.5), (75.0, 37.5)]
    for (high, low, close), values in zip([(8.0, 4.0, 7.0), (8.0, 4.0, 4.0), (6.0, 2.0, 5.0)], expected, strict=True):
        known, *found = fast_push(state, 0, 0, (1, 2), high, low, close)
        assert (tuple(found) if known else None) == values
        assert fast_step(words, 0, (1, 2), (high, low, close), of)[1] == values
