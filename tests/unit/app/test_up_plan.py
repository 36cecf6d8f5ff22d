import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from marketpulse.app import patience
from marketpulse.app.supervisor import ChildSpec, Stage
from marketpulse.app.up import UpOptions, check_engine, has_display, page_port, plan
from marketpulse.errors import EnvironmentProblem, ParameterError, SettingsError
from marketpulse.settings import Settings, StdinSettings, load_settings

SOURCES = {"mine": {"kind": "simulate"}, "other": {"kind": "simulate", "seed": 2}}


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC"):
        monkeypatch.delenv(name, raising=False)


def settings_of(tmp_path: Path, **more: Any) -> Settings:
    return load_settings(data_dir=tmp_path, **{"sources": SOURCES, **more})


def names(specs: list[ChildSpec], stage: Stage) -> list[str]:
    return [spec.name for spec in specs if spec.stage == stage]


def test_by_default_everything_is_started(tmp_path: Path) -> None:
    specs = plan(settings_of(tmp_path), UpOptions())
    assert names(specs, Stage.BROKER) == ["broker"]
    assert names(specs, Stage.SOURCE) == ["produce-mine", "produce-other"]
    assert names(specs, Stage.ENGINE) == ["process-0"]
    assert names(specs, Stage.READER) == ["serve", "sink-lake", "verify"]
    assert all(spec.environment[patience.VARIABLE] == "1" for spec in specs)
    assert [spec.log for spec in specs if spec.stage == Stage.BROKER] == ["broker-process.log"]


def test_on_a_cluster_no_broker_is_started_and_none_is_waited_for(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, kafka={"bootstrap_servers": "kafka:9092"})
    specs = plan(settings, UpOptions())
    assert names(specs, Stage.BROKER) == []
    assert all(patience.VARIABLE not in spec.environment for spec in specs)


def test_workers_and_sinks_follow_the_settings(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, process={"workers": 3}, sinks={"lake": {"enabled": False}, "archive": {"enabled": True}}
    )
    specs = plan(settings, UpOptions())
    assert names(specs, Stage.ENGINE) == ["process-0", "process-1", "process-2"]
    assert names(specs, Stage.READER) == ["serve", "sink-archive"]


def test_sources_that_stand_in_for_each_other_are_selected_from(tmp_path: Path) -> None:
    groups = {"both": {"sources": ["mine", "other"]}}
    specs = plan(settings_of(tmp_path, failover={"groups": groups, "workers": 2}), UpOptions())
    assert names(specs, Stage.SELECT) == ["select-0", "select-1"]
    assert names(plan(settings_of(tmp_path), UpOptions()), Stage.SELECT) == []
    wrong = settings_of(tmp_path, failover={"groups": {"both": {"sources": ["mine", "nobody"]}}})
    with pytest.raises(SettingsError, match="no source 'nobody'"):
        plan(wrong, UpOptions())


def test_the_check_of_stored_rows_starts_last_and_only_where_there_is_something_to_check(tmp_path: Path) -> None:
    (check,) = [s for s in plan(settings_of(tmp_path), UpOptions()) if s.name == "verify"]
    assert check.patient
    assert check.command[-2:] == ["verify", "--follow"]
    for off in ({"parity": {"enabled": False}}, {"sinks": {"lake": {"enabled": False}}}):
        assert "verify" not in names(plan(settings_of(tmp_path, **off), UpOptions()), Stage.READER)


def test_a_subset_of_the_sources_can_be_named_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    specs = plan(settings_of(tmp_path), UpOptions(sources=("other",)))
    assert names(specs, Stage.SOURCE) == ["produce-other"]
    assert [spec.command[-3:] for spec in specs if spec.stage == Stage.SOURCE] == [["produce", "named", "other"]]
    with pytest.raises(ParameterError, match="no source 'third': the configuration has mine, other"):
        plan(settings_of(tmp_path), UpOptions(sources=("third",)))


def test_standard_input_is_no_source_of_up(tmp_path: Path) -> None:
    tree = settings_of(tmp_path).model_copy(update={"sources": {"pipe": StdinSettings()}})
    with pytest.raises(ParameterError, match="marketpulse produce pipe"):
        plan(tree, UpOptions())


def test_every_child_reads_the_same_configuration(tmp_path: Path) -> None:
    specs = plan(settings_of(tmp_path), UpOptions(config=Path("my.toml")))
    assert all(list(spec.command[-2:]) == ["--config", "my.toml"] for spec in specs)
    assert all(list(spec.command[:3]) == [sys.executable, "-m", "marketpulse"] for spec in specs)


def test_a_fixed_metrics_port_gives_each_child_one_of_its_own(tmp_path: Path) -> None:
    def ports(settings: Settings) -> list[str]:
        return [s.environment["MARKETPULSE_TELEMETRY__METRICS_PORT"] for s in plan(settings, UpOptions())]

    assert ports(settings_of(tmp_path)) == ["0"] * 7
    fixed = settings_of(tmp_path, telemetry={"metrics_port": 9100})
    assert ports(fixed) == ["9101", "9102", "9103", "9104", "9105", "9106", "9107"]


def test_the_default_page_port_makes_way_and_an_asked_one_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {taken} .*--port"):
            page_port(settings_of(tmp_path), taken)
        with pytest.raises(EnvironmentProblem, match=f"port {taken}"):
            page_port(settings_of(tmp_path, serve={"port": taken}), None)
    assert page_port(settings_of(tmp_path), taken) == taken
    assert page_port(settings_of(tmp_path), 0) > 0


def test_the_engine_that_is_configured_is_checked_and_the_one_by_default_needs_no_check(tmp_path: Path) -> None:
    check_engine(settings_of(tmp_path))
    check_engine(settings_of(tmp_path, engine={"alerts": [{"name": "high", "expression": "close > 1"}]}))
    with pytest.raises(SettingsError, match="rule 'high': unknown column 'clse'; did you mean 'close'"):
        check_engine(settings_of(tmp_path, engine={"alerts": [{"name": "high", "expression": "clse > 1"}]}))


def test_a_browser_is_opened_only_where_someone_can_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("WSL_DISTRO_NAME", "Ubuntu")
    assert has_display()


def test_live_pairs_are_fed_in_instead_of_the_configured_sources(tmp_path: Path) -> None:
    options = UpOptions(live=("BTC-USD,ETH-USD", "BTCUSDT"), record=Path("kept"))
    sources = [s for s in plan(settings_of(tmp_path), options) if s.stage == Stage.SOURCE]
    assert [s.name for s in sources] == ["produce-coinbase", "produce-binance"]
    assert sources[0].command[-6:] == ["produce", "live", "coinbase:BTC-USD", "coinbase:ETH-USD", "--record", "kept"]
