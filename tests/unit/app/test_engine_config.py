"""What the settings make of a symbol's sessions, as the engine then cuts its bars; of alert rules and of groups of sources."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from market_rows import MIDNIGHT_NS, Engine, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.engine_config import engine_config
from marketpulse.app.selecting.groups import failover_config, topic_of
from marketpulse.engine.checkpoint import computation
from marketpulse.errors import SettingsError
from marketpulse.settings import EngineSettings, Settings


def seconds(utc: str) -> float:
    moment = datetime.strptime(utc, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    return moment.timestamp() - MIDNIGHT_NS / 1e9


def spans(settings: EngineSettings) -> list[tuple[str, str, str]]:
    """Bars of prints at 08:00, 09:30, 15:00 and 18:00 New York time on the half-day 2025-12-24."""
    engine = Engine(engine_config(settings))
    times = [seconds(f"2025-12-24 {utc}") for utc in ("13:00", "14:30", "20:00", "23:00")]
    bars = engine.feed(*[trade("A", t, 1, 1, venue="XNYS") for t in times], heartbeat(seconds("2025-12-26 12:00")))
    return [
        (bar["timeframe"], *(f"{datetime.fromtimestamp(bar[at] / 1e9, UTC):%H:%M}" for at in ("open_time_ns", "close_time_ns")))
        for bar in bars
    ]  # fmt: skip


@pytest.mark.parametrize(("sessions", "hours", "day"), [
    pytest.param({}, ["14:30-15:30"], "14:30-18:00", id="regular ones take no print outside them"),
    pytest.param({"sessions": "extended"}, ["13:00-14:00", "14:00-15:00", "20:00-21:00"], "09:00-22:00", id="extended ones are one day from pre- to post-market"),
    pytest.param({"sessions": "24x7"}, ["13:00-14:00", "14:00-15:00", "20:00-21:00", "23:00-00:00"], "00:00-00:00", id="24x7 are UTC days on every venue"),
])  # fmt: skip
def test_of_sessions(sessions: dict[str, str], hours: list[str], day: str) -> None:
    settings = EngineSettings.model_validate({"timeframes": ("1h", "1d"), "indicators": "sma(3)", **sessions})
    assert spans(settings) == [*(("1h", *hour.split("-")) for hour in hours), ("1d", *day.split("-"))]


def test_hours_of_an_unknown_calendar_and_those_that_are_no_span_are_named_by_their_setting() -> None:
    with pytest.raises(SettingsError, match=r"engine\.extended_hours: calendar 'ZZZZ' is unknown"):
        engine_config(EngineSettings(sessions="extended", extended_hours={"ZZZZ": ("04:00", "20:00")}))
    with pytest.raises(ValueError, match=r"extended_hours[\s\S]*two times of one day"):
        EngineSettings(extended_hours={"XNYS": ("20:00", "04:00")})


@pytest.mark.parametrize("other", [
    {"sessions": "extended"}, {"sessions": "24x7"}, {"sessions": "extended", "extended_hours": {"XNYS": ("07:00", "20:00")}},
    {"correction_window_s": 60}, {"correction_trades": 10},
])  # fmt: skip
def test_a_state_of_other_rules_is_another_computation(other: dict[str, object]) -> None:
    base = {"calendar": "XNYS", "indicators": "sma(3)"}
    ours, theirs = (engine_config(EngineSettings.model_validate(given)) for given in (base, {**base, **other}))
    assert computation(theirs) != computation(ours)


@pytest.mark.parametrize(("rules", "said"), [
    ([{"name": "dip", "expression": "rsi_15 < 30"}], "engine.alerts.0: rule 'dip': unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^"),
    ([{"name": "dip"}], "engine.alerts: alert rule: expression is missing"),
    ([{"name": "dip", "expression": "close > 1", "for": 3}], "engine.alerts: alert rule: unknown field 'for'"),
    ([{"name": "dip", "expression": "close > 1"}] * 2, "engine.alerts: alert rules: 'dip' stands twice"),
])  # fmt: skip
def test_a_wrong_alert_rule_is_refused_with_its_place(rules: list[dict[str, object]], said: str) -> None:
    settings = EngineSettings.model_validate({"indicators": "rsi(14)", "alerts": rules})
    with pytest.raises(SettingsError) as caught:
        engine_config(settings)
    assert str(caught.value).startswith(said)


def test_alert_rules_make_no_other_computation_but_another_calendar_library_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = ({"name": "dip", "expression": "sma_3 < 9", "timeframe": "1m", "for_s": 60, "symbols": ["A*"]},)
    base, ruled = EngineSettings(indicators="sma(3)"), engine_config(EngineSettings(indicators="sma(3)", alerts=rules))
    assert ruled.alerts == (Rule("dip", "sma_3 < 9", timeframe="1m", for_s=60.0, symbols=("A*",)),)
    here = computation(engine_config(base))
    assert computation(ruled) == here
    monkeypatch.setattr("marketpulse.app.calendars.version", lambda _: "0.0")
    assert computation(engine_config(base)) != here


SOURCES = {name: {"kind": "simulate"} for name in ("one", "two", "simulate")}


def grouped(tmp_path: Path, **failover: Any) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, "sources": SOURCES, "failover": failover})


def test_groups_name_sources_as_the_configuration_does_and_only_these_write_past_market(tmp_path: Path) -> None:
    groups = {"g": {"sources": ["two", "simulate"], "symbols": ["A"]}}
    config = failover_config(grouped(tmp_path, groups=groups, after_s=7, back_after_s=0))
    assert (config.groups[0].sources, config.groups[0].symbols) == (("simulate-two", "simulate"), frozenset("A"))
    assert (config.after_ns, config.back_after_ns) == (7 * 10**9, 0)
    with pytest.raises(SettingsError, match=r"failover.groups.g: there is no source 'three'"):
        failover_config(grouped(tmp_path, groups={"g": {"sources": ["one", "three"]}}))
    settings = grouped(tmp_path, groups={"g": {"sources": ["one", "two"]}})
    assert [topic_of(settings, name) for name in SOURCES] == ["feeds", "feeds", "market"]
    assert topic_of(grouped(tmp_path), "one") == "market"
