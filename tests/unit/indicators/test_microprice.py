"""Microprice by hand and against exact fractions."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE

Floats = NDArray[np.float64]
OF_QUOTE = [BID, BID_SIZE, ASK, ASK_SIZE]


def test_microprice_leans_to_the_side_with_less_size(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50, 50])
    bars[:, OF_QUOTE] = [[9, 1, 11, 3], [9, 3, 11, 1], [9, 5, 11, 5], [9, 0, 11, 2]]
    np.testing.assert_array_equal(compute("microprice", bars)[:, 0], [9.5, 10.5, 10, 9])


def test_microprice_is_null_without_sizes_or_with_one_side_only(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50])
    bars[:, OF_QUOTE] = np.array([[9, 0, 11, 0], [9, np.nan, 11, 3], [9, 1, np.nan, np.nan]])
    assert np.isnan(compute("microprice", bars)).all()


def test_microprice_is_within_four_roundings_of_exact(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    rng = np.random.default_rng(4)
    bars = closes(np.full(500, 50.0))
    bars[:, BID] = 1e13 * (1 + rng.random(500))
    bars[:, ASK] = bars[:, BID] + rng.random(500)
    bars[:, [BID_SIZE, ASK_SIZE]] = rng.random((500, 2)) * 1e6
    for found, row in zip(compute("microprice", bars)[:, 0], bars[:, OF_QUOTE], strict=True):
        bid, bid_size, ask, ask_size = map(Fraction, row.tolist())
        exact = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
        assert abs(Fraction(float(found)) - exact) <= exact * Fraction(5, 10**16)
