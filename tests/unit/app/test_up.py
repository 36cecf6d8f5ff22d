"""What `up` starts, the sources that it feeds in, and what it says."""

import contextlib
import io
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from marketpulse.app import patience
from marketpulse.app.console import Opening, PlainScreen, Status, farewell, health_parts, latency
from marketpulse.app.feeds import configured_sources, live_sources, process_name
from marketpulse.app.supervisor import ChildSpec, Event, Stage
from marketpulse.app.up import UpOptions, check_engine, check_settings, has_display, page_port, plan
from marketpulse.errors import EnvironmentProblem, ParameterError, SettingsError
from marketpulse.settings import Settings, StdinSettings, load_settings
from refused import assert_raises
from waiting import wait_until

SOURCES = {"mine": {"kind": "simulate"}, "other": {"kind": "simulate", "seed": 2}}
pytestmark = pytest.mark.usefixtures("own_place")


def settings_of(**more: Any) -> Settings:
    return load_settings(**{"sources": SOURCES, **more})


def names(specs: list[ChildSpec], stage: Stage) -> list[str]:
    return [spec.name for spec in specs if spec.stage == stage]


def test_by_default_everything_starts_and_brokers_workers_sinks_and_rivals_follow_the_settings() -> None:
    specs = plan(settings_of(), UpOptions())
    assert names(specs, Stage.BROKER) == ["broker"]
    assert names(specs, Stage.SOURCE) == ["produce-mine", "produce-other"]
    assert names(specs, Stage.ENGINE) == ["process-0"]
    assert names(specs, Stage.READER) == ["serve", "sink-lake", "verify"]
    assert all(spec.environment[patience.VARIABLE] == "1" for spec in specs)
    assert [spec.log for spec in specs if spec.stage == Stage.BROKER] == ["broker-process.log"]
    specs = plan(settings_of(kafka={"bootstrap_servers": "kafka:9092"}), UpOptions())
    assert names(specs, Stage.BROKER) == []
    assert all(patience.VARIABLE not in spec.environment for spec in specs)
    sinks = {"lake": {"enabled": False}, "archive": {"enabled": True}}
    specs = plan(settings_of(process={"workers": 3}, sinks=sinks), UpOptions())
    assert names(specs, Stage.ENGINE) == ["process-0", "process-1", "process-2"]
    assert names(specs, Stage.READER) == ["serve", "sink-archive"]
    specs = plan(settings_of(failover={"groups": {"both": {"sources": ["mine", "other"]}}, "workers": 2}), UpOptions())
    assert names(specs, Stage.SELECT) == ["select-0", "select-1"]
    assert names(plan(settings_of(), UpOptions()), Stage.SELECT) == []
    with pytest.raises(SettingsError, match="no source 'nobody'"):
        plan(settings_of(failover={"groups": {"both": {"sources": ["mine", "nobody"]}}}), UpOptions())


def test_the_check_starts_last_where_there_is_any_and_sources_can_be_named_and_create_topics_or_are_refused() -> None:
    (check,) = [s for s in plan(settings_of(), UpOptions()) if s.name == "verify"]
    assert check.patient
    assert check.command[-2:] == ["verify", "--follow"]
    for off in ({"parity": {"enabled": False}}, {"sinks": {"lake": {"enabled": False}}}):
        assert "verify" not in names(plan(settings_of(**off), UpOptions()), Stage.READER)
    specs = plan(settings_of(), UpOptions(sources=("other",)))
    assert names(specs, Stage.SOURCE) == ["produce-other"]
    assert [spec.command[-3:] for spec in specs if spec.stage == Stage.SOURCE] == [["produce", "named", "other"]]
    with pytest.raises(ParameterError, match="no source 'third': the configuration has mine, other"):
        plan(settings_of(), UpOptions(sources=("third",)))
    piped = settings_of().model_copy(update={"sources": {"pipe": StdinSettings()}})
    assert_raises(ParameterError, "marketpulse produce pipe", plan, piped, UpOptions())
    sources = {**SOURCES, "prices": {"kind": "kafka", "topic": "prices"}}
    specs = plan(settings_of(sources=sources), UpOptions(create=True))
    endings = {spec.name: spec.command[-1] for spec in specs if spec.stage == Stage.SOURCE}
    assert endings == {"produce-mine": "mine", "produce-other": "other", "produce-prices": "--create"}
    assert_raises(ParameterError, r"--create .* kind kafka", plan, settings_of(), UpOptions(create=True))


def test_every_child_reads_the_configuration_with_a_metrics_port_and_a_configured_engine_is_checked() -> None:
    for spec in plan(settings_of(), UpOptions(config=Path("my.toml"))):
        assert list(spec.command[:3]) == [sys.executable, "-m", "marketpulse"]
        assert list(spec.command[-2:]) == ["--config", "my.toml"]
    for telemetry, ports in (({}, ["0"] * 7), ({"metrics_port": 9100}, [str(9101 + i) for i in range(7)])):
        specs = plan(settings_of(telemetry=telemetry), UpOptions())
        assert [s.environment["MARKETPULSE_TELEMETRY__METRICS_PORT"] for s in specs] == ports
    check_engine(settings_of())
    check_engine(settings_of(engine={"alerts": [{"name": "high", "expression": "close > 1"}]}))
    with pytest.raises(SettingsError, match="rule 'high': unknown column 'clse'; did you mean 'close'"):
        check_engine(settings_of(engine={"alerts": [{"name": "high", "expression": "clse > 1"}]}))


def test_the_default_page_port_makes_way_and_an_asked_one_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert_raises(EnvironmentProblem, f"port {taken} .*--port", page_port, settings_of(), taken)
        assert_raises(EnvironmentProblem, f"port {taken}", page_port, settings_of(serve={"port": taken}), None)

    def is_had_when_free() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server:
            released = int(server.getsockname()[1])
        with contextlib.suppress(EnvironmentProblem):  # somebody else has taken it meanwhile
            return page_port(settings_of(), released) == released
        return False

    wait_until(is_had_when_free)
    assert page_port(settings_of(), 0) > 0


def test_what_no_child_could_begin_with_is_refused_before_there_is_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = {"port": server.getsockname()[1]}
        for wrong, error, said in (
            ({"kafka": {"replication_factor": 2}}, SettingsError, "one broker, which keeps one copy"),
            ({"broker": {"properties": {"node.id": 2}}}, SettingsError, r"broker\.properties\.node\.id"),
            ({"broker": taken}, EnvironmentProblem, r"is taken by another program: set broker\.port"),
            ({"kafka": {"producer": {"linger.secs": 1}}}, SettingsError, r"\[kafka\.producer\] linger\.secs: .*linger\.ms"),
            ({"kafka": {"client": {"max.block.ms": "long"}}}, SettingsError, r"^\[kafka\.client\] max\.block\.ms is a number"),
        ):  # fmt: skip
            assert_raises(error, said, check_settings, settings_of(data_dir=tmp_path, **wrong))
    check_settings(settings_of(data_dir=tmp_path))
    for files, speed, said in (("no/*.csv", "max", "is no file"), ("s3://b/a.csv", "fast", "write recorded, 20x")):
        sources = {"mine": {"kind": "replay", "files": [files], "speed": speed}}
        assert_raises(SettingsError, rf"^sources\.mine: .*{said}", plan, settings_of(sources=sources), UpOptions())


def test_a_browser_is_opened_only_where_someone_can_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("WSL_DISTRO_NAME", "Ubuntu")
    assert has_display()


def test_configured_sources_replace_the_bundled_ones_and_live_pairs_both_as_one_a_vendor(tmp_path: Path) -> None:
    options = UpOptions(live=("BTC-USD,ETH-USD", "BTCUSDT"), record=Path("kept"))
    sources = [s for s in plan(settings_of(), options) if s.stage == Stage.SOURCE]
    assert [s.name for s in sources] == ["produce-coinbase", "produce-binance"]
    assert sources[0].command[-6:] == ["produce", "live", "coinbase:BTC-USD", "coinbase:ETH-USD", "--record", "kept"]
    assert list(configured_sources(load_settings(sources={"mine": {"kind": "simulate"}}))) == ["mine"]
    assert {source.kind for source in configured_sources(load_settings()).values()} == {"replay", "simulate"}
    assert [process_name(name) for name in ("daily", "a/b c")] == ["produce-daily", "produce-a_b_c"]
    mirror = {"kind": "binance", "symbols": ("X-USDT",), "url": "wss://mirror.example"}
    settings = Settings(data_dir=tmp_path, sources={"mirror": mirror})
    found = live_sources(settings, ["BTC-USD,binance:ETHUSDT"], tmp_path / "kept")
    vendors = {"coinbase": ("coinbase", ("BTC-USD",), False), "binance": ("binance", ("ETH-USDT",), False)}
    assert {name: (s.kind, s.symbols, s.with_venue) for name, s in found.items()} == vendors
    assert (found["binance"].url, found["binance"].record) == ("wss://mirror.example", tmp_path / "kept")
    both = live_sources(settings, ["coinbase:BTC-USDT", "binance:BTC-USDT"])
    assert all(source.with_venue for source in both.values())


def test_a_live_stock_comes_from_the_vendor_whose_key_is_set_and_without_one_the_variables_to_set_are_said() -> None:
    mine = {"kind": "polygon", "symbols": ("X",), "delay_s": 900}
    settings = Settings(keys={"polygon": "p", "finnhub": "f"}, sources={"mine": mine})
    found = live_sources(settings, ["AAPL,BTC-USD", "finnhub:IBM"])
    symbols = {"polygon": ("AAPL",), "coinbase": ("BTC-USD",), "finnhub": ("IBM",)}
    assert {name: source.symbols for name, source in found.items()} == symbols
    assert found["polygon"].delay_s == 900
    assert live_sources(settings, ["polygon:BTC-USD"])["polygon"].market == "crypto"
    assert_raises(ParameterError, "two connections", live_sources, settings, ["polygon:BTC-USD,polygon:AAPL"])
    for wanted in ("AAPL", "alpaca:AAPL"):
        with pytest.raises(ParameterError, match="APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
            live_sources(Settings(keys={"alpaca": "a"}), [wanted])


HEALTH = {
    "events_per_s": 1212.4, "bars_per_s": 31.0, "latency_p50_ms": 6.14, "latency_p99_ms": 18.26, "lag_records": 0,
    "dead_letters": 2, "broker_reachable": True, "status": "ok", "reasons": [],
}  # fmt: skip
OPENING = Opening(
    url="http://127.0.0.1:8080/", bootstrap_servers="127.0.0.1:9092 (embedded)", topics=["market", "bars"],
    sources=["daily", "simulate"], data_dir=Path("/data"), default_sources=True,
    retention="bars@1s 7 days, all else for ever",
)  # fmt: skip


def test_the_first_screen_says_what_runs_the_status_line_its_trouble_first_and_the_last_where_all_is() -> None:
    line = Status(starting=[], troubled=[], restarts=0, health=HEALTH).text()
    assert line == "1,212 events/s · 31 bars/s · 6.1 ms p50, 18 ms p99 · lag 0 · dead letters 2"
    assert [latency(ms) for ms in (0.04, 9.96, 12.4, 999, 2_449)] == ["0.0 ms", "10.0 ms", "12 ms", "999 ms", "2.4 s"]
    line = Status(starting=["serve"], troubled=["sink-lake"], restarts=3, health=None).text()
    assert line == "in trouble: sink-lake · starting: serve · restarts 3"
    unknown = dict.fromkeys(("events_per_s", "latency_p50_ms", "bars_per_s"))
    assert health_parts({**HEALTH, **unknown}) == ["lag 0", "dead letters 2"]
    assert health_parts({**HEALTH, "broker_reachable": False}) == ["the broker does not answer"]
    slow = {"status": "degraded", "reasons": [{"what": "The store lake is slow.", "do": "Wait."}]}
    assert health_parts({**HEALTH, **unknown, **slow})[0] == "degraded: The store lake is slow"
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.starting(["broker", "serve"])
    screen.opened(OPENING)
    for text in (
        "http://127.0.0.1:8080/",
        ":9092",
        "market, bars",
        "/data/logs",
        "Ctrl-C",
        "bundled",
        "bars@1s 7 days",
    ):
        assert text in out.getvalue()
    for code, said in ((2, "change what is said above"), (0, "/data"), (1, "/data/logs")):
        assert said in farewell(code, Path("/data"))


def test_a_fault_is_shown_with_the_childs_last_words_a_return_too_and_the_status_rarely() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.opened(OPENING)
    before = out.getvalue()
    screen.event(Event("serve", "is ready"))
    assert out.getvalue() == before
    screen.event(Event("serve", "ended with exit code 1", bad=True, details=["port 8080 is taken"]))
    assert out.getvalue() == before + "serve ended with exit code 1\n    | port 8080 is taken\n"
    screen.event(Event("serve", "is back"))
    assert out.getvalue().endswith("\nserve is back\n")
    lines = out.getvalue().count("\n")
    for _ in range(100):  # it is no terminal
        screen.status(Status([], [], 0, HEALTH))
    assert out.getvalue().count("\n") == lines + 1
