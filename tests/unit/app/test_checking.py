"""A file through the engine's door, and its adjusted closes, the clean series are the bundled ones; what the doctor
finds and advises, and what `marketpulse lake` says."""

import contextlib
import json
import os
import socket
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import polars as pl
import pytest
from pydantic import SecretStr

from lake_store import LakeRows
from marketpulse.app import doctor, lake
from marketpulse.app.adjusted_close import wrong_steps
from marketpulse.app.checking import Report, Suspect, check_file
from marketpulse.app.doctor import Finding, Level
from marketpulse.clock import ManualClock
from marketpulse.errors import ParameterError, SettingsError
from marketpulse.settings import Mapping, Settings, load_settings
from marketpulse.sinks import open_sink
from marketpulse.sources.defaults import bundled
from marketpulse.telemetry import SOURCE_ROWS, Health, TelemetryServer
from storing_child import store
from valkey_store import ValkeyServer, valkey  # noqa: F401
from waiting import wait_until

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


pytestmark = pytest.mark.usefixtures("own_place")


def announced(**facts: Any) -> Settings:
    """Settings beside a run file of `serve`."""
    settings = load_settings()
    run = settings.data_dir / "run"
    run.mkdir(parents=True)
    (run / "serve.json").write_text(json.dumps(facts))
    return settings


def test_a_wrong_configuration_is_the_last_finding_and_each_that_is_not_good_says_what_to_do() -> None:
    findings = doctor.examine(Mock(side_effect=SettingsError("serve.port: too large")))
    assert [(f.check, f.level) for f in findings[1:]] == [("configuration", Level.FAIL)]
    assert findings[-1].found == "serve.port: too large"
    for finding in doctor.examine(load_settings):
        assert finding.level == Level.OK or finding.advice, finding


def test_an_impossible_data_directory_and_no_java_fail_with_a_way_out_and_missing_jars_are_counted() -> None:
    parts = doctor.broker_parts(load_settings(cache_dir=Path("none")))
    assert (parts.level, "46 of 46" in parts.found) == (Level.WARN, True)
    Path("data").write_text("a file stands in its place")
    Path("java").write_text("#!/bin/sh\nexit 1\n")
    Path("java").chmod(0o755)
    directory = doctor.data_directory(load_settings())
    java = doctor.java(load_settings(broker={"java": Path("java").absolute()}))
    assert (directory.level, "MARKETPULSE_DATA_DIR" in directory.advice) == (Level.FAIL, True)
    assert (java.level, "broker.java" in java.advice) == (Level.FAIL, True)


def test_a_full_disk_or_broker_that_is_away_fails_a_nearly_full_one_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((10**6, Level.FAIL), (10**9, Level.WARN), (10**12, Level.OK)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert doctor.disk_space(load_settings()).level == level
    day_s, data = 86_400, load_settings().data_dir
    for part, days_old in (("lake", 0.5), ("broker", 2)):
        (data / part).mkdir(parents=True)
        (data / part / "rows").write_bytes(b"x" * 8_192)
        os.utime(data / part / "rows", (0, time.time() - days_old * day_s))
    taken = 512 * (data / "lake" / "rows").stat().st_blocks
    assert doctor.data_sizes(data) == ({"lake": taken, "broker": taken}, taken)
    for left_days, level in ((15, Level.OK), (13, Level.WARN)):
        monkeypatch.setattr(doctor, "DISK_WARN_BYTES", 0)
        monkeypatch.setattr(doctor, "DISK_FAIL_BYTES", 0)
        monkeypatch.setattr("shutil.disk_usage", lambda _, days=left_days: type("Usage", (), {"free": days * taken}))
        assert doctor.disk_space(load_settings()).level == level
    assert doctor.broker(load_settings()).level == Level.OK
    monkeypatch.setattr(doctor, "BROKER_WITHIN_S", 0.5)
    away = doctor.broker(load_settings(kafka={"bootstrap_servers": "127.0.0.1:1"}))
    assert (away.level, "127.0.0.1:1" in away.found) == (Level.FAIL, True)


def test_a_page_port_that_was_asked_for_and_is_taken_fails_but_a_free_one_is_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        asked = doctor.page_port(load_settings(serve={"port": taken}))
        assert (asked.level, str(taken) in asked.found) == (Level.FAIL, True)

    def is_good_when_released() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server:
            released = server.getsockname()[1]
        return doctor.page_port(load_settings(serve={"port": released})).level == Level.OK

    wait_until(is_good_when_released)


def test_each_sink_that_is_on_is_asked_where_it_stands() -> None:
    settings = load_settings(sinks={"archive": {"enabled": True}})
    names = [f.check for f in doctor.examine(lambda: settings) if f.check.startswith("sink ")]
    assert names == ["sink lake", "sink archive"]
    empty = doctor.sink(settings, "lake")
    assert (empty.level, empty.found) == (Level.OK, f"{Path('data/lake').absolute()} answers, is empty")
    lake = open_sink(settings, "lake")
    store(lake, end=10, cut=10)
    lake.close()
    assert doctor.sink(settings, "lake").found.endswith("holds rows of 4 partitions")


@pytest.mark.integration
def test_a_sink_that_is_away_or_refuses_fails_with_a_way_out(valkey: ValkeyServer) -> None:  # noqa: F811
    def sink(**section: Any) -> Finding:
        return doctor.sink(load_settings(sinks={"redis": valkey.settings().model_copy(update=section)}), "redis")

    works = sink()
    assert (works.level, "answers, is empty" in works.found) == (Level.OK, True)
    away = sink(url="redis://127.0.0.1:1/0")
    assert (away.level, "does not answer" in away.found) == (Level.FAIL, True)
    assert "[sinks.redis]" in away.advice
    refused = sink(password=SecretStr("a-wrong-one"))
    assert (refused.level, "MARKETPULSE_SINKS__REDIS__PASSWORD" in refused.found) == (Level.FAIL, True)
    assert "a-wrong-one" not in str(refused)


def test_what_a_dead_process_left_behind_is_not_taken_for_a_running_one() -> None:
    settings = announced(pid=2**22 + 1, url="http://nowhere", metrics_port=1)
    assert doctor.run_facts(settings, "serve") == {}
    assert doctor.processes(settings) == Finding("processes", Level.OK, "none runs now")


def test_a_process_that_is_not_ready_is_named_with_its_reason() -> None:
    health = Health()
    health.set_not_ready("waiting for the broker")
    with contextlib.closing(TelemetryServer(health)) as server:
        settings = announced(pid=os.getpid(), metrics_port=server.port)
        finding = doctor.processes(settings)
        assert (finding.level, finding.found) == (Level.WARN, "serve: waiting for the broker")
        health.set_ready()
        assert doctor.processes(settings).level == Level.OK
        for fate, count in (("rows", 2_002), ("duplicates", 2), ("refused", 1)):
            SOURCE_ROWS.labels("replay-of-the-doctor", fate).inc(count)
        counted = doctor.rows(settings)
        assert "replay-of-the-doctor: 2,002 read, 2 duplicates, 1 refused" in counted.found.split("; ")
        assert (counted.level, "tail dead-letters" in counted.advice) == (Level.WARN, True)


def test_findings_are_written_for_people_and_programs_and_ages_in_the_largest_unit_that_fits_twice() -> None:
    findings = [Finding("disk", Level.OK, "9 GB free"), Finding("Java", Level.FAIL, "none", "install one")]
    assert list(doctor.lines(findings)) == ["OK    disk  9 GB free", "FAIL  Java  none", "            -> install one"]
    written = json.loads(doctor.as_json(findings))[1]
    assert written == {"check": "Java", "level": "FAIL", "found": "none", "advice": "install one"}
    ages = {-1: "0 s", 8.4: "8 s", 119: "119 s", 120: "2 min", 7_199: "120 min", 7_200: "2 h", 200_000: "2 days"}
    assert {seconds: lake.age_text(seconds) for seconds in ages} == ages


def test_sizes_are_those_of_the_newest_picture_its_age_that_of_the_newest_rows_and_nothing_to_do_is_said() -> None:
    rows = LakeRows(load_settings())
    for chore in (lake.compact, lake.expire, lake.clean):
        assert list(chore(rows.settings)) == [f"{rows.root}: nothing to do"]
    for _ in range(3):
        rows.add("trades", [{"symbol": "A", "event_time_ns": 1_714_521_600 * 10**9, "price": 1.0, "size": 2.0}] * 2)
    committed_ns = time.time_ns()
    assert list(lake.compact(rows.settings)) == ["trades: 2 fewer files"]
    found = {one.table: one for one in lake.sizes(rows.settings, ManualClock(committed_ns + 90 * 10**9))}
    trades = found["trades"]
    assert (trades.rows, trades.files, trades.snapshots) == (6, 1, 4)
    assert trades.bytes == Path(rows.files("trades")[0]).stat().st_size
    assert trades.age_s is not None
    assert 90 <= trades.age_s < 600
    assert (found["bars"].files, found["bars"].age_s) == (0, None)
    lines = list(lake.size_lines("here", list(found.values())))
    assert (lines[0], lines[2].split()[:3], lines[5][-4:]) == ("here", ["trades", "6", "1"], "none")
