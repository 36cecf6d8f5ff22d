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
        pl.when(place < at).then(pl.col("Adj Close") / left_out).otherwise(pl.col("Adj Close")).alias("Adj Close")
    )
    assert steps(bad, tmp_path) == [(at + 2, 1.0)]


def test_a_step_without_a_dividend_is_named(tmp_path: Path) -> None:
    frame = adjusted_days()
    at = paid_at(frame)
    bad = frame.with_columns(dividend=frame["dividend"].scatter(at, 0.0))
    assert [line for line, _ in steps(bad, tmp_path)] == [at + 2]


def test_a_file_without_such_a_column_says_nothing() -> None:
    assert list(wrong_steps(bundled("daily/KO.csv"))) == []


def weekly(late: int) -> pl.DataFrame:
    """Weeks of a steady price that falls by a payment of a fifth, whose row is that many weeks before the fall."""
    weeks = pl.date_range(pl.date(2022, 1, 3), pl.date(2022, 12, 26), "1w", eager=True)
    close = [100.0 + i % 3 if i < 20 else (100.0 + i % 3) * 0.8 for i in range(len(weeks))]
    adjusted = [price * 0.8 if i < 20 else price for i, price in enumerate(close)]
    dividend = [close[19] / 5 if i == 20 - late else 0.0 for i in range(len(weeks))]
    return pl.DataFrame({"date": weeks, "close": close, "Adj Close": adjusted, "dividend": dividend})


def test_the_row_of_a_week_may_hold_the_payment_of_the_next_one(tmp_path: Path) -> None:
    assert steps(weekly(0), tmp_path) == []
    assert steps(weekly(1), tmp_path) == []
    assert [line for line, _ in steps(weekly(4), tmp_path)] == [18, 22], "but not of the fourth"


def test_adjusted_closes_that_leap_where_closes_do_not_are_found_in_weeks_too(tmp_path: Path) -> None:
    frame = weekly(1)
    early = frame.with_columns(frame[name].scatter(19, frame[name][19] * 0.8) for name in ("close", "Adj Close"))
    assert 22 in [line for line, _ in steps(early, tmp_path)]


def test_a_payment_above_the_price_and_adjusted_closes_near_nothing_are_read(tmp_path: Path) -> None:
    frame = adjusted_days()
    at = paid_at(frame)
    absurd = frame.with_columns(dividend=frame["dividend"].scatter(at, 1e6))
    assert [line for line, _ in steps(absurd, tmp_path)] == [at + 2]
    place = pl.int_range(pl.len())
    tiny = frame.with_columns(pl.when(place < at).then(1e-310).otherwise(pl.col("Adj Close")).alias("Adj Close"))
    assert at + 2 not in [line for line, _ in steps(tiny, tmp_path)], "far below what they are rounded to"
