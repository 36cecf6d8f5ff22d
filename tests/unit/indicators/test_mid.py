"""Mid price by hand."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE

Floats = NDArray[np.float64]


def test_mid_lies_halfway_between_bid_and_ask_whatever_the_sizes(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50])
    bars[:, BID], bars[:, ASK] = [9.5, 12, 7], [10, 11, 7]
    bars[:, [BID_SIZE, ASK_SIZE]] = np.array([[0, 0], [1, 9], [np.nan, np.nan]])
    np.testing.assert_array_equal(compute("mid", bars)[:, 0], [9.75, 11.5, 7])


def test_mid_is_null_without_a_quote_or_with_one_side_only(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50, 50])
    bars[:, BID], bars[:, ASK] = [np.nan, 9, np.nan, 9], [np.nan, np.nan, 10, 11]
    np.testing.assert_array_equal(compute("mid", bars)[:, 0], [np.nan, np.nan, np.nan, 10])
