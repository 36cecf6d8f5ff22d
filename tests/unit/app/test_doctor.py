"""What the doctor finds and advises, and what `marketpulse lake` says."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lake_rows import LakeRows
from marketpulse.app import doctor, lake
from marketpulse.app.doctor import Finding, Level
from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.settings import Settings, load_settings
from marketpulse.sinks import open_sink
from marketpulse.telemetry import Health, TelemetryServer
from storing_child import store
from valkey_store import ValkeyServer, valkey  # noqa: F401
from waiting import wait_until


@pytest.fixture
def home(own_place: Path) -> Path:
    return own_place


def settings_of(home: Path, **more: Any) -> Settings:
    return load_settings(data_dir=home / "data", **more)


def announced(home: Path, **facts: Any) -> Settings:
    """Settings beside a run file of `serve`."""
    settings = settings_of(home)
    run = settings.data_dir / "run"
    run.mkdir(parents=True)
    (run / "serve.json").write_text(json.dumps(facts))
    return settings


def test_a_wrong_configuration_is_the_last_finding_since_all_others_follow_from_it() -> None:
    def read() -> Settings:
        raise SettingsError("serve.port: too large")

    findings = doctor.examine(read)
    assert [(f.check, f.level) for f in findings[1:]] == [("configuration", Level.FAIL)]
    assert findings[-1].found == "serve.port: too large"


def test_every_finding_that_is_not_good_says_what_to_do(home: Path) -> None:
    for finding in doctor.examine(lambda: settings_of(home)):
        assert finding.level == Level.OK or finding.advice, finding


def test_a_data_directory_that_cannot_be_made_and_no_java_fail_with_a_way_out_and_missing_jars_are_counted(
    home: Path,
) -> None:
    parts = doctor.broker_parts(settings_of(home))
    assert (parts.level, "46 of 46" in parts.found) == (Level.WARN, True)
    (home / "data").write_text("a file stands in its place")
    (home / "java").write_text("#!/bin/sh\nexit 1\n")
    (home / "java").chmod(0o755)
    directory = doctor.data_directory(settings_of(home))
    java = doctor.java(settings_of(home, broker={"java": home / "java"}))
    assert (directory.level, "MARKETPULSE_DATA_DIR" in directory.advice) == (Level.FAIL, True)
    assert (java.level, "broker.java" in java.advice) == (Level.FAIL, True)


def test_a_full_disk_fails_and_a_nearly_full_one_warns(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((10**6, Level.FAIL), (10**9, Level.WARN), (10**12, Level.OK)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert doctor.disk_space(settings_of(home)).level == level


def test_a_page_port_that_was_asked_for_and_is_taken_fails_but_a_free_one_is_good(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        asked = doctor.page_port(settings_of(home, serve={"port": taken}))
        assert (asked.level, str(taken) in asked.found) == (Level.FAIL, True)

    def is_good_when_released() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server:
            released = server.getsockname()[1]
        return doctor.page_port(settings_of(home, serve={"port": released})).level == Level.OK

    wait_until(is_good_when_released)


def test_each_sink_that_is_on_is_asked_where_it_stands(home: Path) -> None:
    settings = settings_of(home, sinks={"archive": {"enabled": True}})
    names = [f.check for f in doctor.examine(lambda: settings) if f.check.startswith("sink ")]
    assert names == ["sink lake", "sink archive"]
    empty = doctor.sink(settings, "lake")
    assert (empty.level, empty.found) == (Level.OK, f"{home / 'data' / 'lake'} answers, is empty")
    lake = open_sink(settings, "lake")
    store(lake, end=10, cut=10)
    lake.close()
    assert doctor.sink(settings, "lake").found.endswith("holds rows of 4 partitions")


@pytest.mark.integration
def test_a_sink_that_is_away_or_refuses_fails_with_a_way_out(home: Path, valkey: ValkeyServer) -> None:  # noqa: F811
    def sink(**section: Any) -> Finding:
        given = valkey.settings().model_copy(update=section)
        return doctor.sink(settings_of(home, sinks={"redis": given}), "redis")

    works = sink()
    assert (works.level, "answers, is empty" in works.found) == (Level.OK, True)
    away = sink(url="redis://127.0.0.1:1/0")
    assert (away.level, "does not answer" in away.found) == (Level.FAIL, True)
    assert "[sinks.redis]" in away.advice
    refused = sink(password=SecretStr("a-wrong-one"))
    assert (refused.level, "MARKETPULSE_SINKS__REDIS__PASSWORD" in refused.found) == (Level.FAIL, True)
    assert "a-wrong-one" not in str(refused)


def test_a_broker_that_does_not_run_is_no_fault_but_one_that_does_not_answer_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.broker(settings_of(home)).level == Level.OK
    monkeypatch.setattr(doctor, "BROKER_WITHIN_S", 0.5)
    away = doctor.broker(settings_of(home, kafka={"bootstrap_servers": "127.0.0.1:1"}))
    assert (away.level, "127.0.0.1:1" in away.found) == (Level.FAIL, True)


def test_what_a_dead_process_left_behind_is_not_taken_for_a_running_one(home: Path) -> None:
    settings = announced(home, pid=2**22 + 1, url="http://nowhere", metrics_port=1)
    assert doctor.run_facts(settings, "serve") == {}
    assert doctor.processes(settings) == Finding("processes", Level.OK, "none runs now")


def test_a_process_that_is_not_ready_is_named_with_its_reason(home: Path) -> None:
    health = Health()
    health.set_not_ready("waiting for the broker")
    with contextlib.closing(TelemetryServer(health)) as server:
        settings = announced(home, pid=os.getpid(), metrics_port=server.port)
        finding = doctor.processes(settings)
        assert (finding.level, finding.found) == (Level.WARN, "serve: waiting for the broker")
        health.set_ready()
        assert doctor.processes(settings).level == Level.OK


def test_findings_are_written_for_people_and_for_programs() -> None:
    findings = [Finding("disk", Level.OK, "9 GB free"), Finding("Java", Level.FAIL, "none", "install one")]
    assert list(doctor.lines(findings)) == ["OK    disk  9 GB free", "FAIL  Java  none", "            -> install one"]
    written = json.loads(doctor.as_json(findings))[1]
    assert written == {"check": "Java", "level": "FAIL", "found": "none", "advice": "install one"}


TRADE = {"symbol": "A", "event_time_ns": 1_714_521_600 * 10**9, "price": 1.0, "size": 2.0}


@pytest.fixture
def rows(tmp_path: Path) -> LakeRows:
    return LakeRows(Settings(data_dir=tmp_path))


def test_sizes_are_those_of_the_newest_picture_and_its_age_is_that_of_the_newest_rows(rows: LakeRows) -> None:
    for _ in range(3):
        rows.add("trades", [TRADE, TRADE])
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
    assert lines[0] == "here"
    assert lines[2].split()[:3] == ["trades", "6", "1"]
    assert lines[5].endswith("none")


def test_a_lake_with_nothing_to_do_says_so(rows: LakeRows) -> None:
    for chore in (lake.compact, lake.expire, lake.clean):
        assert list(chore(rows.settings)) == [f"{rows.root}: nothing to do"]


def test_an_age_is_told_in_the_largest_unit_that_fits_twice() -> None:
    ages = {-1: "0 s", 8.4: "8 s", 119: "119 s", 120: "2 min", 7_199: "120 min", 7_200: "2 h", 200_000: "2 days"}
    assert {seconds: lake.age_text(seconds) for seconds in ages} == ages
