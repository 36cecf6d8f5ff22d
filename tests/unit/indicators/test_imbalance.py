"""Order imbalance at the best prices by hand."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE

Floats = NDArray[np.float64]


def test_imbalance_goes_from_minus_1_to_1_and_knows_no_price(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50, 50])
    bars[:, [BID_SIZE, ASK_SIZE]] = [[1, 3], [4, 0], [0, 4], [2, 2]]
    bars[:, [BID, ASK]] = np.array([[1, 2], [9, 8], [5, 5], [1e13, 2e13]])
    np.testing.assert_array_equal(compute("imbalance", bars)[:, 0], [-0.5, 1, -1, 0])


def test_imbalance_is_null_without_sizes_or_without_a_quote(
    compute: Callable[..., Floats], closes: Callable[[object], Floats]
) -> None:
    bars = closes([50, 50, 50])
    bars[:, [BID_SIZE, ASK_SIZE]] = np.array([[0, 0], [np.nan, 1], [np.nan, np.nan]])
    assert np.isnan(compute("imbalance", bars)).all()
