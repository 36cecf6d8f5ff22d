"""Frames in and out."""

from datetime import date
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from marketpulse.app.notebook.bars import as_kind, bars_of
from marketpulse.errors import ParameterError

FRAME = pl.DataFrame(
    {
        "day": [date(2024, 5, 2), date(2024, 5, 1)],
        "open": [1.0, 2.0],
        "high": [3.0, 3.0],
        "low": [0.5, 1.0],
        "close": [2.0, 2.5],
    }
)


@pytest.mark.parametrize("back", [lambda f: f, lambda f: f.to_pandas(), lambda f: f.to_arrow()])
def test_every_kind_of_frame_is_taken_and_put_in_order_of_time(back: Any) -> None:
    table, symbol, timeframe = bars_of(back(FRAME))
    assert table.column("close").to_pylist() == [2.5, 2.0]
    assert table.column("open_time_ns")[0].as_py() == 1_714_521_600 * 10**9
    assert (symbol, timeframe) == ("DATA", "")


def test_a_frame_with_its_series_named_says_it() -> None:
    named = FRAME.with_columns(pl.lit("KO").alias("symbol"), pl.lit("1d").alias("timeframe"))
    assert bars_of(named)[1:] == ("KO", "1d")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FRAME.drop("high"), "needs a column high"),
        (FRAME.drop("day"), "needs a column of times"),
        (FRAME.with_columns(pl.Series("symbol", ["A", "B"])), "shows one symbol, and the frame has A, B"),
        (FRAME.head(0), "no bar to draw yet"),
        ([1, 2], "found list"),
    ],
)
def test_what_is_no_series_of_bars_is_refused_in_words(frame: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        bars_of(frame)


def test_a_table_comes_as_the_kind_that_is_asked_for() -> None:
    table = pa.table({"a": [1, 2]})
    assert as_kind(table, "arrow") is table
    assert as_kind(table, "polars")["a"].to_list() == [1, 2]
    assert list(as_kind(table, "pandas")["a"]) == [1, 2]
    with pytest.raises(ParameterError, match="polars, pandas or arrow"):
        as_kind(table, "csv")  # type: ignore[arg-type]
