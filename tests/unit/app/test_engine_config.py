"""What the settings make of a symbol's sessions, as the engine then cuts its bars."""

from datetime import UTC, datetime

import pytest

from market_rows import MIDNIGHT_NS, Engine, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.engine_config import engine_config
from marketpulse.engine.checkpoint import computation
from marketpulse.errors import SettingsError
from marketpulse.settings import EngineSettings


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


def test_regular_sessions_take_no_print_outside_them() -> None:
    settings = EngineSettings(timeframes=("1h", "1d"), indicators="sma(3)")
    assert spans(settings) == [("1h", "14:30", "15:30"), ("1d", "14:30", "18:00")]


def test_extended_sessions_are_one_day_from_pre_to_post_market() -> None:
    settings = EngineSettings(timeframes=("1h", "1d"), indicators="sma(3)", sessions="extended")
    assert spans(settings) == [
        ("1h", "13:00", "14:00"),
        ("1h", "14:00", "15:00"),
        ("1h", "20:00", "21:00"),
        ("1d", "09:00", "22:00"),
    ]


def test_24x7_sessions_are_utc_days_on_every_venue() -> None:
    settings = EngineSettings(timeframes=("1h", "1d"), indicators="sma(3)", sessions="24x7")
    assert [bar[1:] for bar in spans(settings)] == [
        ("13:00", "14:00"),
        ("14:00", "15:00"),
        ("20:00", "21:00"),
        ("23:00", "00:00"),
        ("00:00", "00:00"),
    ]


def test_hours_of_an_unknown_calendar_are_named() -> None:
    wrong = EngineSettings(sessions="extended", extended_hours={"ZZZZ": ("04:00", "20:00")})
    with pytest.raises(SettingsError, match=r"engine\.extended_hours: calendar 'ZZZZ' is unknown"):
        engine_config(wrong)


def test_hours_that_are_no_span_are_named_by_their_setting() -> None:
    with pytest.raises(ValueError, match=r"extended_hours[\s\S]*two times of one day"):
        EngineSettings(extended_hours={"XNYS": ("20:00", "04:00")})


@pytest.mark.parametrize(
    "other",
    [
        {"sessions": "extended"},
        {"sessions": "24x7"},
        {"sessions": "extended", "extended_hours": {"XNYS": ("07:00", "20:00")}},
        {"correction_window_s": 60},
        {"correction_trades": 10},
    ],
)
def test_a_state_of_other_rules_is_another_computation(other: dict[str, object]) -> None:
    base = EngineSettings(calendar="XNYS", indicators="sma(3)")
    changed = EngineSettings.model_validate({"calendar": "XNYS", "indicators": "sma(3)", **other})
    assert computation(engine_config(changed)) != computation(engine_config(base))


def test_alert_rules_have_the_fields_of_their_json_form() -> None:
    rules = ({"name": "dip", "expression": "sma_3 < 9", "timeframe": "1m", "for_s": 60, "symbols": ["A*"]},)
    config = engine_config(EngineSettings(indicators="sma(3)", alerts=rules))
    assert config.alerts == (Rule("dip", "sma_3 < 9", timeframe="1m", for_s=60.0, symbols=("A*",)),)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            [{"name": "dip", "expression": "rsi_15 < 30"}],
            "engine: rule 'dip': unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^",
        ),
        ([{"name": "dip"}], "engine: alert rule: expression is missing"),
        ([{"name": "dip", "expression": "close > 1", "for": 3}], "engine: alert rule: unknown field 'for'"),
        ([{"name": "dip", "expression": "close > 1"}] * 2, "engine: alert rules: 'dip' stands twice"),
    ],
)
def test_a_wrong_alert_rule_is_refused_with_its_place(rules: list[dict[str, object]], said: str) -> None:
    settings = EngineSettings.model_validate({"indicators": "rsi(14)", "alerts": rules})
    with pytest.raises(SettingsError) as caught:
        engine_config(settings)
    assert str(caught.value).startswith(said)


def test_a_state_of_other_alert_rules_is_the_same_computation() -> None:
    base = EngineSettings(indicators="sma(3)")
    ruled = EngineSettings(indicators="sma(3)", alerts=({"name": "dip", "expression": "close < 9"},))
    assert computation(engine_config(ruled)) == computation(engine_config(base))


def test_a_state_of_another_calendar_library_is_another_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    here = computation(engine_config(EngineSettings(indicators="sma(3)")))
    monkeypatch.setattr("marketpulse.app.calendars.version", lambda _: "0.0")
    assert computation(engine_config(EngineSettings(indicators="sma(3)"))) != here
