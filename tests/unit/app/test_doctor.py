import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from marketpulse.app import doctor
from marketpulse.app.doctor import Finding, Level
from marketpulse.errors import SettingsError
from marketpulse.settings import Settings, load_settings
from marketpulse.sinks import open_sink
from storing_child import store
from valkey_store import ValkeyServer, valkey  # noqa: F401


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def settings_of(home: Path, **more: Any) -> Settings:
    return load_settings(data_dir=home / "data", **more)


def test_a_wrong_configuration_is_the_last_finding_since_all_others_follow_from_it() -> None:
    def read() -> Settings:
        raise SettingsError("serve.port: too large")

    findings = doctor.examine(read)
    assert [(f.check, f.level) for f in findings[1:]] == [("configuration", Level.FAIL)]
    assert findings[-1].found == "serve.port: too large"


def test_every_finding_that_is_not_good_says_what_to_do(home: Path) -> None:
    for finding in doctor.examine(lambda: settings_of(home)):
        assert finding.level == Level.OK or finding.advice, finding


def test_a_data_directory_that_cannot_be_made_fails(home: Path) -> None:
    (home / "data").write_text("a file stands in its place")
    finding = doctor.data_directory(settings_of(home))
    assert finding.level == Level.FAIL
    assert "MARKETPULSE_DATA_DIR" in finding.advice


def test_a_full_disk_fails_and_a_nearly_full_one_warns(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((10**6, Level.FAIL), (10**9, Level.WARN), (10**12, Level.OK)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert doctor.disk_space(settings_of(home)).level == level


def test_a_page_port_that_was_asked_for_and_is_taken_fails_but_the_default_makes_way(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        asked = doctor.page_port(settings_of(home, serve={"port": taken}))
        assert (asked.level, str(taken) in asked.found) == (Level.FAIL, True)
    assert doctor.page_port(settings_of(home, serve={"port": taken})).level == Level.OK


def test_no_java_is_a_failure_with_a_way_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = home / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    finding = doctor.java(settings_of(home, broker={"java": java}))
    assert finding.level == Level.FAIL
    assert "broker.java" in finding.advice


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


def test_missing_jars_are_counted(home: Path) -> None:
    finding = doctor.broker_parts(settings_of(home))
    assert finding.level == Level.WARN
    assert "46 of 46" in finding.found


def test_a_broker_that_does_not_run_is_no_fault_but_one_that_does_not_answer_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.broker(settings_of(home)).level == Level.OK
    monkeypatch.setattr(doctor, "BROKER_WITHIN_S", 0.5)
    away = doctor.broker(settings_of(home, kafka={"bootstrap_servers": "127.0.0.1:1"}))
    assert away.level == Level.FAIL
    assert "127.0.0.1:1" in away.found


def test_what_a_dead_process_left_behind_is_not_taken_for_a_running_one(home: Path) -> None:
    settings = settings_of(home)
    run = settings.data_dir / "run"
    run.mkdir(parents=True)
    (run / "serve.json").write_text(json.dumps({"pid": 2**22 + 1, "url": "http://nowhere", "metrics_port": 1}))
    assert doctor.run_facts(settings, "serve") == {}
    assert doctor.processes(settings) == Finding("processes", Level.OK, "none runs now")


def test_a_process_that_is_not_ready_is_named_with_its_reason(home: Path) -> None:
    from marketpulse.telemetry import Health, TelemetryServer

    health = Health()
    health.set_not_ready("waiting for the broker")
    server = TelemetryServer(health)
    settings = settings_of(home)
    run = settings.data_dir / "run"
    run.mkdir(parents=True)
    (run / "serve.json").write_text(json.dumps({"pid": os.getpid(), "metrics_port": server.port}))
    try:
        finding = doctor.processes(settings)
        assert (finding.level, finding.found) == (Level.WARN, "serve: waiting for the broker")
        health.set_ready()
        assert doctor.processes(settings).level == Level.OK
    finally:
        server.close()


def test_findings_are_written_for_people_and_for_programs() -> None:
    findings = [Finding("disk", Level.OK, "9 GB free"), Finding("Java", Level.FAIL, "none", "install one")]
    assert list(doctor.lines(findings)) == ["OK    disk  9 GB free", "FAIL  Java  none", "            -> install one"]
    assert json.loads(doctor.as_json(findings))[1] == {
        "check": "Java", "level": "FAIL", "found": "none", "advice": "install one",
    }  # fmt: skip
