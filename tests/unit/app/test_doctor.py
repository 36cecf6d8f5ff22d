"""What the doctor finds and advises, and what `marketpulse lake` says."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import SecretStr

from lake_store import LakeRows
from marketpulse.app import doctor, lake
from marketpulse.app.doctor import Finding, Level
from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.settings import Settings, load_settings
from marketpulse.sinks import open_sink
from marketpulse.telemetry import SOURCE_ROWS, Health, TelemetryServer
from storing_child import store
from valkey_store import ValkeyServer, valkey  # noqa: F401
from waiting import wait_until

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
        given = valkey.settings().model_copy(update=section)
        return doctor.sink(load_settings(sinks={"redis": given}), "redis")

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
