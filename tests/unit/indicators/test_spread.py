"""Bid-ask spread by hand."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import ASK, BID

Floats = NDArray[np.float64]


def test_spread_is_negative_in_a_crossed_book_and_0_in_a_locked_one(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50])
    bars[:, BID], bars[:, ASK] = [9.5, 12, 7], [10, 11, 7]
    np.testing.assert_array_equal(compute("spread", bars)[:, 0], [0.5, -1, 0])


def test_spread_is_null_without_a_quote_or_with_one_side_only(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50])
    bars[:, BID], bars[:, ASK] = [np.nan, 9, np.nan], [np.nan, np.nan, 10]
    assert np.isnan(compute("spread", bars)).all()
