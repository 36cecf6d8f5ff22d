"""Order-flow imbalance by hand and against pandas."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from marketpulse.indicators.bar_columns import ASK, ASK_SIZE, BID, BID_SIZE

Floats = NDArray[np.float64]
Compute = Callable[..., Floats]
Closes = Callable[[object], Floats]
OF_QUOTE = [BID, BID_SIZE, ASK, ASK_SIZE]
NAN = np.nan

BOOK = [
    (10, 5, 11, 7),
    (10, 8, 11, 4),  # 3 join the bid, 3 leave the ask: 3 + 3
    (10.5, 2, 11, 4),  # a better bid of 2, the ask stays: 2 + 0
    (10.5, 2, 10.8, 9),  # the bid stays, a better ask of 9: 0 - 9
    (10, 6, 12, 3),  # the bid of 2 is gone, the ask of 9 too: -2 + 9
]


def bars_of(closes: Closes, book: object) -> Floats:
    quotes = np.array(book, np.float64)
    bars = closes(np.full(len(quotes), 50.0))
    bars[:, OF_QUOTE] = quotes
    return bars


@pytest.mark.parametrize(
    ("period", "expected"),
    [(1, [NAN, 6, 2, -9, 7]), (2, [NAN, NAN, 8, -7, -2]), (3, [NAN, NAN, NAN, -1, 0]), (5, [NAN] * 5)],
)
def test_ofi_by_hand(compute: Compute, closes: Closes, period: int, expected: list[float]) -> None:
    np.testing.assert_array_equal(compute(f"ofi({period})", bars_of(closes, BOOK))[:, 0], expected)


@pytest.mark.parametrize("missing", OF_QUOTE)
def test_ofi_is_null_until_the_flows_behind_a_missing_quote_fill_the_window(
    compute: Compute, closes: Closes, missing: int
) -> None:
    bars = bars_of(closes, [*BOOK, *BOOK[3::-1]])
    bars[2, missing] = NAN
    # flows: . 6 . . 7, and back from (10, 6, 12, 3): +2 - 9 = -7, 0 + 9 = 9, -2 + 0 = -2, 5 - 8 - 7 + 4 = -6
    np.testing.assert_array_equal(compute("ofi(1)", bars)[:, 0], [NAN, 6, NAN, NAN, 7, -7, 9, -2, -6])
    np.testing.assert_array_equal(compute("ofi(2)", bars)[:, 0], [*[NAN] * 5, 0, 2, 7, -8])


def test_ofi_without_quotes_is_null_and_of_a_still_book_zero(compute: Compute, closes: Closes) -> None:
    assert np.isnan(compute("ofi(2)", bars_of(closes, [[NAN] * 4] * 5))).all()
    np.testing.assert_array_equal(compute("ofi(2)", bars_of(closes, [BOOK[0]] * 5))[2:, 0], 0.0)


def test_ofi_counts_sizes_of_zero_as_none_and_takes_a_crossed_book_as_it_is(compute: Compute, closes: Closes) -> None:
    # 4 leave the bid; then the book crosses: a bid of 1 at 12 is better, the ask of 5 at 11 stays
    bars = bars_of(closes, [(10, 4, 11, 5), (10, 0, 11, 5), (12, 1, 11, 5)])
    np.testing.assert_array_equal(compute("ofi(1)", bars)[:, 0], [NAN, -4, 1])


@pytest.mark.parametrize("period", [1, 7, 40])
def test_ofi_equals_pandas_over_a_random_book_with_gaps(compute: Compute, closes: Closes, period: int) -> None:
    rng = np.random.default_rng(7)
    bids = 100 + rng.integers(-2, 3, 600).cumsum() / 100
    book = np.column_stack([bids, rng.random(600) * 9, bids + rng.integers(1, 4, 600) / 100, rng.random(600)])
    book[rng.random(600) < 0.01] = NAN
    frame = pd.DataFrame(book, columns=["bid", "bid_size", "ask", "ask_size"])
    last = frame.shift()
    flow = frame.bid_size.where(frame.bid >= last.bid, 0) - last.bid_size.where(frame.bid <= last.bid, 0)
    flow += last.ask_size.where(frame.ask >= last.ask, 0) - frame.ask_size.where(frame.ask <= last.ask, 0)
    flow[frame.bid.isna() | last.bid.isna()] = NAN
    expected = flow.rolling(period).sum().to_numpy()
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(compute(f"ofi({period})", bars_of(closes, book))[:, 0], expected, rtol=0, atol=1e-11)
