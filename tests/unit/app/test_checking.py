"""A file through the engine's door, and its adjusted closes; the clean series are the bundled ones."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from marketpulse.app.adjusted_close import wrong_steps
from marketpulse.app.checking import Report, Suspect, check_file
from marketpulse.errors import ParameterError
from marketpulse.settings import Mapping, Settings
from marketpulse.sources.defaults import bundled

PRICES = ("open", "high", "low", "close")


def days(name: str = "daily/AAPL.csv") -> pl.DataFrame:
    return pl.read_csv(bundled(name), infer_schema_length=None)


def checked(frame: pl.DataFrame, folder: Path, mapping: Mapping | None = None, **quality: str) -> Report:
    path = folder / "series.csv"
    frame.write_csv(path)
    return check_file(Settings(engine={"quality": quality}), path, mapping or Mapping())


def rules(report: Report) -> list[tuple[str, str]]:
    return [(_day(s), s.rule) for s in report.suspects]


def _day(suspect: Suspect) -> str:
    return "" if suspect.time_ns is None else f"{datetime.fromtimestamp(suspect.time_ns / 1e9, UTC):%Y-%m-%d}"


def scaled(frame: pl.DataFrame, first: int, last: int, factor: float) -> pl.DataFrame:
    factors = pl.when(pl.int_range(pl.len()).is_between(first, last - 1)).then(factor).otherwise(1.0)
    return frame.with_columns(pl.col(n) * factors for n in PRICES)


def found_in(report: Report) -> list[tuple[str, str]]:
    return [(suspect.rule, suspect.severity) for suspect in report.suspects]


def test_real_days_are_left_alone_other_units_splits_missing_and_doubled_days_are_named(tmp_path: Path) -> None:
    for name in ("daily/AAPL.csv", "daily/MSFT.csv", "daily/IBM.csv", "daily/KO.csv", "reference/default_502.csv"):
        report = check_file(Settings(), bundled(name), Mapping())
        assert (report.rows >= 502, report.suspects) == (True, []), name
    report = check_file(Settings(), bundled("minutes/SPY.csv"), Mapping(venue="XNYS", timezone="America/New_York"))
    assert (report.rows, len(report.suspects)) == (1_564, 0)
    report = checked(scaled(days(), 300, 301, 100), tmp_path)
    assert rules(report) == [(days()["date"][300], "price_unit")]
    assert (report.suspects[0].symbol, report.suspects[0].kind) == ("SERIES", "bar")
    assert (report.suspects[0].origin[-10:], report.suspects[0].line) == ("series.csv", 302)
    assert rules(checked(scaled(days(), 0, 300, 7), tmp_path))[0] == (days()["date"][300], "split")
    frame = days("reference/default_502.csv")
    report = checked(pl.concat([frame[:300], frame[301:]]), tmp_path)
    assert (report.calendar, rules(report)) == ("XNYS", [(frame["date"][301], "missing_bars")])
    frame = days()
    assert rules(checked(pl.concat([frame[:301], frame[300:]]), tmp_path)) == [(frame["date"][300], "duplicate_bar")]


@pytest.mark.parametrize(("first", "end", "factor", "said"), [
    (0, 300, 100.0, "the 300 rows up to {last} are about 100 times those after it"),
    (700, 754, 1_000.0, "the 54 rows from {first} on are about 1,000 times those before it"),
    (300, 320, 0.01, "the 20 rows from {first} to {last} are about a 100th of those around them"),
])  # fmt: skip
def test_a_block_of_another_unit_is_named_alone(tmp_path: Path, first: int, end: int, factor: float, said: str) -> None:
    report = checked(scaled(days(), first, end, factor), tmp_path, price_unit="drop")
    dates = days()["date"]
    told = [(s.rule, s.severity, s.detail, s.line) for s in report.suspects]
    assert told == [("price_unit", "drop", said.format(first=dates[first], last=dates[end - 1]), first + 2)]
    assert report.refused == end - first


def test_what_could_not_be_a_bar_is_named_with_its_reason_and_a_rounding_is_no_fault(tmp_path: Path) -> None:
    frame = days()
    wrong_volume = frame["volume"].cast(pl.Float64).scatter(310, -5.0)
    report = checked(frame.with_columns(low=frame["low"].scatter(300, 9_999.0), volume=wrong_volume), tmp_path)
    found = {s.rule: s for s in report.suspects}
    assert (found["bad_size"].line, found["bad_size"].origin[-10:]) == (312, "series.csv")
    assert (found["bad_bar"].symbol, _day(found["bad_bar"])) == ("SERIES", frame["date"][300])
    short = frame["close"][300] * (1 - 1e-9)
    rounded = frame.with_columns(frame[name].scatter(300, short) for name in ("high", "open"))
    report = checked(rounded.with_columns(low=pl.min_horizontal("low", "open")), tmp_path)
    assert (found_in(report), report.is_suspect) == ([("rounding", "count")], False)
    assert report.rows == len(frame) + 11


def with_low(frame: pl.DataFrame, place: int, part: float) -> pl.DataFrame:
    """The bar's low lies above its close by this part of the price, and its other prices above that."""
    low = frame["close"][place] * (1 + part)
    return frame.with_columns(
        low=frame["low"].scatter(place, low),
        **{name: frame[name].scatter(place, max(frame[name][place], low)) for name in ("open", "high")},
    )


def test_a_close_far_out_or_in_another_unit_is_a_fault_a_little_out_or_none_is_not(tmp_path: Path) -> None:
    report = checked(with_low(days(), 300, 0.004), tmp_path)
    assert (found_in(report), report.is_suspect) == ([("ohlc", "count")], False)
    assert _day(report.suspects[0]) == days()["date"][300]
    report = checked(with_low(days(), 300, 0.07), tmp_path)
    assert (found_in(report)[0], report.is_suspect) == (("ohlc", "mark"), True)
    frame = days()
    for place in range(100, 500, 20):
        frame = with_low(frame, place, 0.035)
    assert found_in(checked(frame, tmp_path)) == [("ohlc", "count")] * 20
    frame = days()
    report = checked(frame.with_columns(close=frame["close"].scatter(300, frame["close"][300] * 100)), tmp_path)
    assert "price_unit" in {s.rule for s in report.suspects}
    report = checked(frame.with_columns(frame[name].cast(pl.Float64).scatter(300, None) for name in PRICES), tmp_path)
    empty = [(s.rule, s.severity, s.line) for s in report.suspects if s.rule == "empty_row"]
    assert empty == [("empty_row", "count", 302)]


def test_a_dividend_of_half_the_price_is_found_and_a_fall_by_what_is_paid_is_no_split(tmp_path: Path) -> None:
    def paying_half(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(dividend=frame["dividend"].cast(pl.Float64).scatter(300, frame["close"][299] / 2))

    frame = days()
    assert rules(checked(paying_half(frame), tmp_path)) == [(frame["date"][300], "dividend")]
    fell = scaled(frame, 0, 300, 2.0)
    assert rules(checked(fell, tmp_path))[0] == (frame["date"][300], "split")
    assert checked(paying_half(fell), tmp_path).suspects == []
    assert checked(frame.with_columns(dividend=pl.lit(0.0), split=pl.lit(0.0)), tmp_path).rows == len(frame)


def test_weeks_and_trades_are_taken_as_they_come_and_a_timeframe_that_is_none_is_refused(tmp_path: Path) -> None:
    weekly = days()[::5].drop("venue", "dividend", "split")
    weeks = weekly.with_columns(date=pl.Series(date(2012, 1, 2) + timedelta(weeks=i) for i in range(len(weekly))))
    assert not checked(weeks, tmp_path).suspects
    assert [rule for _, rule in rules(checked(scaled(weeks, 100, 101, 0.01), tmp_path))] == ["price_unit"]
    with pytest.raises(ParameterError):
        checked(days(), tmp_path, Mapping(timeframe="7x"))
    times = [f"2026-01-05T15:00:{i:02d}Z" for i in range(40)]
    frame = pl.DataFrame({"time": times, "price": [100 + i % 3 / 100 for i in range(40)], "size": [10] * 40})
    assert not checked(frame, tmp_path).suspects
    report = checked(frame.with_columns(price=frame["price"].scatter(30, 1.0)), tmp_path)
    assert [(s.kind, s.rule) for s in report.suspects] == [("trade", "price_unit")]
    assert report.is_suspect


def adjusted_days() -> pl.DataFrame:
    """Real days with dividends, and their adjusted closes by hand from the newest back."""
    frame = days("daily/KO.csv")
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


def adjusted_before(frame: pl.DataFrame, at: int, adjusted: pl.Expr | float) -> pl.DataFrame:
    """With other adjusted closes before a row."""
    was = pl.col("Adj Close")
    return frame.with_columns(pl.when(pl.int_range(pl.len()) < at).then(adjusted).otherwise(was).alias("Adj Close"))


def test_adjusted_closes_step_as_dividends_say_up_to_a_week_late_or_are_named_by_their_line(tmp_path: Path) -> None:
    frame = adjusted_days()
    assert (frame["dividend"] > 0).sum() >= 12
    assert steps(frame, tmp_path) == []
    assert steps(frame.reverse(), tmp_path) == [], "the newest first"
    assert list(wrong_steps(bundled("daily/KO.csv"))) == [], "a file without such a column"
    at = int((frame["dividend"] > 0).arg_true()[3])
    left_out = 1 - frame["dividend"][at] / frame["close"][at - 1]
    assert steps(adjusted_before(frame, at, pl.col("Adj Close") / left_out), tmp_path) == [(at + 2, 1.0)]
    for dividend in (0.0, 1e6):  # none, and one above the price
        bad = frame.with_columns(dividend=frame["dividend"].scatter(at, dividend))
        assert [line for line, _ in steps(bad, tmp_path)] == [at + 2]
    tiny = steps(adjusted_before(frame, at, 1e-310), tmp_path)
    assert at + 2 not in [line for line, _ in tiny], "far below what they are rounded to"
    assert steps(weekly(0), tmp_path) == steps(weekly(1), tmp_path) == []
    assert [line for line, _ in steps(weekly(4), tmp_path)] == [18, 22], "but not of the fourth"
    frame = weekly(1)
    early = frame.with_columns(frame[name].scatter(19, frame[name][19] * 0.8) for name in ("close", "Adj Close"))
    assert 22 in [line for line, _ in steps(early, tmp_path)]


def weekly(late: int) -> pl.DataFrame:
    """Weeks of a steady price that falls by a payment of a fifth, whose row is that many weeks before the fall."""
    weeks = pl.date_range(pl.date(2022, 1, 3), pl.date(2022, 12, 26), "1w", eager=True)
    close = [100.0 + i % 3 if i < 20 else (100.0 + i % 3) * 0.8 for i in range(len(weeks))]
    adjusted = [price * 0.8 if i < 20 else price for i, price in enumerate(close)]
    dividend = [close[19] / 5 if i == 20 - late else 0.0 for i in range(len(weeks))]
    return pl.DataFrame({"date": weeks, "close": close, "Adj Close": adjusted, "dividend": dividend})
