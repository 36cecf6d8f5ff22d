import numpy as np
import polars as pl
import pytest

from marketpulse.sources.split_columns import LastCloses

DAY = 86_400 * 10**9


def bars(*rows: tuple[str, int, float, float, float | None]) -> tuple[pl.DataFrame, np.ndarray]:
    """Symbol, day, open, close, split."""
    frame = pl.DataFrame(rows, ["symbol", "day", "open", "close", "split"], orient="row")
    return frame.with_columns(pl.col("split").cast(pl.Float64)), frame["day"].to_numpy() * DAY


RAW = [("A", 1, 400.0, 404.0, None), ("A", 2, 101.5, 99.0, 4.0), ("A", 3, 98.0, 97.0, None)]
ADJUSTED = [("A", 1, 100.0, 101.0, None), ("A", 2, 101.5, 99.0, 4.0), ("A", 3, 98.0, 97.0, None)]
REVERSE = [("A", 1, 1.0, 1.1, None), ("A", 2, 10.5, 11.0, 0.1)]


@pytest.mark.parametrize(
    ("rows", "expected"), [(RAW, [False, False, False]), (ADJUSTED, [False, True, False]), (REVERSE, [False, False])]
)
def test_the_prices_say_whether_they_are_adjusted(
    rows: list[tuple[str, int, float, float, float | None]], expected: list[bool]
) -> None:
    assert LastCloses().adjusted(*bars(*rows)).tolist() == expected


def test_a_file_may_have_the_newest_row_first() -> None:
    assert LastCloses().adjusted(*bars(*ADJUSTED[::-1])).tolist() == [False, True, False]
    assert LastCloses().adjusted(*bars(*RAW[::-1])).tolist() == [False, False, False]


def test_the_bar_before_may_lie_in_another_block_and_be_of_another_symbol() -> None:
    closes = LastCloses()
    closes.adjusted(*bars(ADJUSTED[0], ("B", 1, 400.0, 404.0, None)))
    found = closes.adjusted(*bars(("B", 2, 101.5, 99.0, 4.0), ADJUSTED[1]))
    assert found.tolist() == [False, True]


def test_of_a_split_in_the_first_row_nothing_is_said() -> None:
    assert not LastCloses().adjusted(*bars(RAW[1])).any()
