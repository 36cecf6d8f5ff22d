"""A file through the engine's door; the clean series are the bundled ones."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from marketpulse.app.checking import Report, Suspect, check_file
from marketpulse.errors import ParameterError
from marketpulse.settings import Mapping, Settings
from marketpulse.sources.defaults import bundled

PRICES = ("open", "high", "low", "close")


def days(name: str = "daily/AAPL.csv") -> pl.DataFrame:
    return pl.read_csv(bundled(name), infer_schema_length=None)


def checked(frame: pl.DataFrame, folder: Path, mapping: Mapping | None = None) -> Report:
    path = folder / "series.csv"
    frame.write_csv(path)
    return check_file(Settings(), path, mapping or Mapping())


def rules(report: Report) -> list[tuple[str, str]]:
    return [(_day(s), s.rule) for s in report.suspects]


def _day(suspect: Suspect) -> str:
    return "" if suspect.time_ns is None else f"{datetime.fromtimestamp(suspect.time_ns / 1e9, UTC):%Y-%m-%d}"


def scaled(frame: pl.DataFrame, first: int, last: int, factor: float) -> pl.DataFrame:
    place = pl.int_range(pl.len())
    return frame.with_columns(
        pl.when((place >= first) & (place < last)).then(pl.col(n) * factor).otherwise(pl.col(n)) for n in PRICES
    )


@pytest.mark.parametrize(
    "name", ["daily/AAPL.csv", "daily/MSFT.csv", "daily/IBM.csv", "daily/KO.csv", "reference/default_502.csv"]
)
def test_real_days_are_left_alone(name: str) -> None:
    report = check_file(Settings(), bundled(name), Mapping())
    assert report.rows >= 502
    assert not report.suspects


def test_real_minutes_are_left_alone() -> None:
    mapping = Mapping(venue="XNYS", timezone="America/New_York")
    report = check_file(Settings(), bundled("minutes/SPY.csv"), mapping)
    assert report.rows == 1_564
    assert not report.suspects


def test_a_bar_in_another_unit_is_named_by_its_day(tmp_path: Path) -> None:
    report = checked(scaled(days(), 300, 301, 100), tmp_path)
    assert rules(report) == [(days()["date"][300], "price_unit")]
    assert report.suspects[0].symbol == "SERIES"
    assert report.suspects[0].kind == "bar"


def test_prices_that_were_not_adjusted_for_a_split_are_named(tmp_path: Path) -> None:
    assert rules(checked(scaled(days(), 0, 300, 7), tmp_path))[0] == (days()["date"][300], "split")


def test_what_could_not_be_a_bar_is_named_with_its_reason(tmp_path: Path) -> None:
    frame = days()
    swapped = frame.with_columns(
        low=frame["low"].scatter(300, 9_999.0), volume=frame["volume"].cast(pl.Float64).scatter(310, -5.0)
    )
    report = checked(swapped, tmp_path)
    found = {s.rule: s for s in report.suspects}
    assert found["bad_size"].line == 312
    assert found["bad_size"].origin.endswith("series.csv")
    assert found["bad_bar"].symbol == "SERIES"
    assert _day(found["bad_bar"]) == frame["date"][300]


def test_a_rounding_is_told_but_is_no_fault(tmp_path: Path) -> None:
    frame = days()
    short = frame["close"][300] * (1 - 1e-9)
    rounded = frame.with_columns(high=frame["high"].scatter(300, short), open=frame["open"].scatter(300, short))
    rounded = rounded.with_columns(low=pl.min_horizontal("low", "open"))
    report = checked(rounded, tmp_path)
    assert [(s.rule, s.severity) for s in report.suspects] == [("rounding", "count")]
    assert not report.is_suspect
    assert report.rows == len(frame) + 11


def with_low(frame: pl.DataFrame, place: int, part: float) -> pl.DataFrame:
    """The bar's low lies above its close by this part of the price, and its other prices above that."""
    low = frame["close"][place] * (1 + part)
    return frame.with_columns(
        low=frame["low"].scatter(place, low),
        **{name: frame[name].scatter(place, max(frame[name][place], low)) for name in ("open", "high")},
    )


def test_a_close_that_is_a_little_out_of_high_and_low_is_told_but_is_no_fault(tmp_path: Path) -> None:
    report = checked(with_low(days(), 300, 0.004), tmp_path)
    assert [(s.rule, s.severity) for s in report.suspects] == [("ohlc", "count")]
    assert _day(report.suspects[0]) == days()["date"][300]
    assert not report.is_suspect


def test_a_close_that_is_far_out_of_high_and_low_is_a_fault(tmp_path: Path) -> None:
    report = checked(with_low(days(), 300, 0.07), tmp_path)
    assert (report.suspects[0].rule, report.suspects[0].severity) == ("ohlc", "mark")
    assert report.is_suspect


def test_closes_from_elsewhere_than_highs_and_lows_are_the_way_of_some_feeds(tmp_path: Path) -> None:
    frame = days()
    for place in range(100, 500, 20):
        frame = with_low(frame, place, 0.035)
    report = checked(frame, tmp_path)
    assert {(s.rule, s.severity) for s in report.suspects} == {("ohlc", "count")}
    assert len(report.suspects) == 20


def test_a_close_in_another_unit_is_found_although_it_is_above_its_high(tmp_path: Path) -> None:
    frame = days()
    report = checked(frame.with_columns(close=frame["close"].scatter(300, frame["close"][300] * 100)), tmp_path)
    assert "price_unit" in {s.rule for s in report.suspects}


def test_a_day_without_any_price_is_told_but_is_no_fault(tmp_path: Path) -> None:
    frame = days()
    empty = frame.with_columns(frame[name].cast(pl.Float64).scatter(300, None) for name in PRICES)
    report = checked(empty, tmp_path)
    assert [(s.rule, s.severity, s.line) for s in report.suspects if s.rule == "empty_row"] == [
        ("empty_row", "count", 302)
    ]


def test_a_day_that_is_missing_is_found_by_the_calendar_that_the_others_fit(tmp_path: Path) -> None:
    frame = days("reference/default_502.csv")
    holed = pl.concat([frame[:300], frame[301:]])
    report = checked(holed, tmp_path)
    assert report.calendar == "XNYS"
    assert rules(report) == [(frame["date"][301], "missing_bars")]


def test_a_day_that_is_told_twice_is_found(tmp_path: Path) -> None:
    frame = days()
    doubled = pl.concat([frame[:301], frame[300:]])
    assert rules(checked(doubled, tmp_path)) == [(frame["date"][300], "duplicate_bar")]


def test_a_dividend_of_half_the_price_is_found(tmp_path: Path) -> None:
    frame = days()
    paid = frame.with_columns(dividend=frame["dividend"].cast(pl.Float64).scatter(300, frame["close"][299] / 2))
    assert rules(checked(paid, tmp_path)) == [(frame["date"][300], "dividend")]


def test_a_file_that_has_columns_for_payments_and_none_in_them_is_read(tmp_path: Path) -> None:
    frame = days().with_columns(dividend=pl.lit(0.0), split=pl.lit(0.0))
    assert checked(frame, tmp_path).rows == len(frame)


def test_a_fall_by_what_is_paid_is_no_split(tmp_path: Path) -> None:
    frame = days()
    fell = scaled(frame, 0, 300, 2.0)
    paid = fell.with_columns(dividend=frame["dividend"].cast(pl.Float64).scatter(300, fell["close"][299] / 2))
    assert rules(checked(fell, tmp_path))[0] == (frame["date"][300], "split")
    assert checked(paid, tmp_path).suspects == []


def test_weeks_are_taken_as_they_come(tmp_path: Path) -> None:
    weekly = days()[::5]
    weeks = weekly.with_columns(
        date=pl.date_range(
            pl.date(2012, 1, 2), interval="1w", end=pl.date(2012, 1, 2) + pl.duration(weeks=len(weekly) - 1), eager=True
        )
    )
    weeks = weeks.drop("venue", "dividend", "split")
    assert not checked(weeks, tmp_path).suspects
    assert [rule for _, rule in rules(checked(scaled(weeks, 100, 101, 0.01), tmp_path))] == ["price_unit"]


def test_trades_are_checked_as_trades(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "time": [f"2026-01-05T15:00:{i:02d}Z" for i in range(40)],
            "price": [100 + i % 3 / 100 for i in range(40)],
            "size": [10] * 40,
        }
    )
    assert not checked(frame, tmp_path).suspects
    bad = frame.with_columns(price=frame["price"].scatter(30, 1.0))
    report = checked(bad, tmp_path)
    assert [(s.kind, s.rule) for s in report.suspects] == [("trade", "price_unit")]
    assert report.is_suspect


def test_rows_further_apart_than_days_with_a_timeframe_given_are_still_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        checked(days(), tmp_path, Mapping(timeframe="7x"))
