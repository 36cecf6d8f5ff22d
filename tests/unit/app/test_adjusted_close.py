from pathlib import Path

import polars as pl

from marketpulse.app.adjusted_close import wrong_steps
from marketpulse.sources.defaults import bundled


def adjusted_days() -> pl.DataFrame:
    """Real days with dividends, and their adjusted closes by hand from the newest back."""
    frame = pl.read_csv(bundled("daily/KO.csv"), infer_schema_length=None)
    close, paid = frame["close"].to_list(), frame["dividend"].cast(pl.Float64).to_list()
    factor, adjusted = 1.0, []
    for i in range(len(close) - 1, -1, -1):
        adjusted.append(close[i] * factor)
        if paid[i]:
            factor *= 1 - paid[i] / close[i - 1]
    return frame.with_columns(pl.Series("Adj Close", adjusted[::-1]), dividend=pl.Series(paid))


def steps(frame: pl.DataFrame, folder: Path) -> list[tuple[int, float]]:
    path = folder / "days.csv"
    frame.write_csv(path)
    return [(step.line, round(step.found, 4)) for step in wrong_steps(path)]


def paid_at(frame: pl.DataFrame) -> int:
    places: list[int] = (frame["dividend"] > 0).arg_true().to_list()
    return places[3]


def test_closes_that_are_adjusted_as_their_dividends_say_are_left_alone(tmp_path: Path) -> None:
    frame = adjusted_days()
    assert (frame["dividend"] > 0).sum() >= 12
    assert steps(frame, tmp_path) == []
    assert steps(frame.reverse(), tmp_path) == [], "the newest first"


def test_a_dividend_that_was_not_adjusted_for_is_named_by_its_line(tmp_path: Path) -> None:
    frame = adjusted_days()
    at = paid_at(frame)
    left_out = 1 - frame["dividend"][at] / frame["close"][at - 1]
    place = pl.int_range(pl.len())
    bad = frame.with_columns(
        pl.when(place < at)
        .then(pl.col("Adj Close") / left_out)
        .otherwise(pl.col("Adj Close"))
        .alias("Adj Close")
    )
    assert steps(bad, tmp_path) == [(at + 2, 1.0)]


def test_a_step_without_a_dividend_is_named(tmp_path: Path) -> None:
    frame = adjusted_days()
    at = paid_at(frame)
    bad = frame.with_columns(dividend=frame["dividend"].scatter(at, 0.0))
    assert [line for line, _ in steps(bad, tmp_path)] == [at + 2]


def test_a_file_without_such_a_column_says_nothing() -> None:
    assert list(wrong_steps(bundled("daily/KO.csv"))) == []
