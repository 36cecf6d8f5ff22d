"""A rule on stored history tells what the engine told of it, to the bit; and as it is being written: faults under their
characters, the words that there are, and what is refused."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from lake_store import store
from market_rows import Engine, Row, at, bar, clock, control, heartbeat, trade
from marketpulse.app.alert_language import check_fields, computable, language, spec_of_column
from marketpulse.app.alert_rules import put_rule, read_fields
from marketpulse.app.calendars import sessions_of
from marketpulse.app.engine_config import engine_config
from marketpulse.app.trial.run import try_rule
from marketpulse.engine.rows import bar_rows, indicator_rows
from marketpulse.errors import EnvironmentProblem, ParameterError, QueryCancelled
from marketpulse.model.rows import ALERT, BAR, indicators_schema
from marketpulse.model.session import SessionTable
from marketpulse.ports import AlertTrial
from marketpulse.settings import Settings
from refused import assert_raises

RULES: list[dict[str, Any]] = [
    {"name": "high", "expression": "close > 101"},
    {"name": "crossing", "expression": "close crosses_above sma_3", "clear": "close < sma_3"},
    {"name": "held", "expression": "close > sma_3", "for_s": 3, "cooldown_s": 20},
    {"name": "larger", "expression": "rsi_5@5s > 50 and close < prev(close)", "cooldown_s": 7},
    {"name": "five", "expression": "change_pct(close, 2) > 0.5", "timeframe": "5s", "symbols": ["A*"]},
    {"name": "ticks", "expression": "close > prev(close, 2)", "timeframe": "5t"},
]  # fmt: skip


def settings_of(folder: Path, **more: Any) -> Settings:
    engine = {"timeframes": ("5t", "1s", "5s", "1m"), "indicators": "sma(3),rsi(5)", "calendar": "24x7", **more}
    return Settings(data_dir=folder, engine=engine)


def market(seed: int = 5) -> list[dict[str, Any]]:
    """Trades of three symbols that walk around 100, some of them late by seconds, and the clock."""
    draw, prices = np.random.default_rng(seed), {"AA": 100.0, "AB": 100.5, "B": 100.2}
    rows: list[dict[str, Any]] = []
    for second in range(240):
        for symbol in prices:
            for _ in range(int(draw.integers(0, 4))):
                prices[symbol] = round(prices[symbol] + float(draw.normal() * 0.4), 2)
                late = 6.0 if draw.random() < 0.05 else 0.0
                rows.append(trade(symbol, round(max(0.0, second + draw.random() - late), 3), prices[symbol], 1.0))
        rows.append(heartbeat(second + 1.0))
    return [*rows, heartbeat(300), clock(301)]


class Stored:
    """What an engine made of a log with these rules, in a lake as the sink writes it."""

    def __init__(self, settings: Settings, log: list[Row], ahead: int = 0, rules: Sequence[Row] = RULES) -> None:
        config = engine_config(settings.engine)
        engine = Engine(config)
        result = engine.step([*log[:ahead], *[control("put_rule", rule=rule) for rule in rules], *log[ahead:]])
        self.alerts = engine.alert_rows(result)
        indicators = indicator_rows(engine.state, config, result.indicated, result.values, "market", 0)
        rows = {
            "bars": bar_rows(engine.state, config, result.closed, "market", 0).cast(BAR),
            "indicators": indicators.cast(indicators_schema(config.columns())),
            "alerts": pa.RecordBatch.from_pylist(self.alerts, ALERT),
        }
        for table, batch in rows.items():
            store(settings, table, pa.Table.from_batches([batch]), table)

    def firings(self, rule: str) -> list[tuple[str, int, float | None]]:
        """The raises that stood in the end."""
        last = {(row["symbol"], row["event_time_ns"]): row for row in self.alerts if row["rule"] == rule}
        raised = {place: row["value"] for place, row in last.items() if row["state"] == "raised"}
        return sorted((*place, value) for place, value in raised.items())


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_of(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Stored:
    return Stored(settings, market())


def tried(settings: Settings, rule: dict[str, Any], **more: Any) -> dict[str, Any]:
    wanted = {"from_ns": at(-1), "to_ns": at(10_000), **more}
    return try_rule(settings, AlertTrial(rule, **wanted), threading.Event())


def listed(found: dict[str, Any]) -> list[tuple[str, int, float | None]]:
    return sorted((f["symbol"], round(f["raised_ms"]) * 10**6, f["value"]) for f in found["list"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["name"]))
def test_it_would_have_fired_where_the_engine_did(settings: Settings, stored: Stored, rule: dict[str, Any]) -> None:
    found = tried(settings, rule)
    assert listed(found) == stored.firings(rule["name"])
    assert found["firings"] == len(stored.firings(rule["name"])) > 3


def test_it_tells_when_each_was_cleared_of_the_chosen_symbols_with_charts(settings: Settings, stored: Stored) -> None:
    found = tried(settings, RULES[0])
    ours = [row for row in stored.alerts if (row["rule"], row["state"]) == ("high", "cleared")]
    cleared = {(row["symbol"], row["event_time_ns"]) for row in ours}
    ends = {(f["symbol"], round(f["cleared_ms"]) * 10**6) for f in found["list"] if f["cleared_ms"] is not None}
    assert ends
    assert ends <= cleared
    assert found["standing"] == sum(f["cleared_ms"] is None for f in found["list"])
    for firing in (f for f in found["list"] if f["held_ms"] is not None):
        assert firing["held_ms"] == pytest.approx(firing["cleared_ms"] - firing["raised_ms"])
        assert firing["bars"] >= 1
    found = tried(settings, RULES[0], symbols=("B",))
    assert listed(found) == [firing for firing in stored.firings("high") if firing[0] == "B"]
    assert (found["symbols"], [chart["symbol"] for chart in found["charts"]]) == (1, ["B"])
    found = tried(settings, RULES[0])
    (chart, *_) = found["charts"]
    assert (chart["levels"], [line["name"] for line in chart["lines"]]) == ([101.0], ["close"])
    assert len(chart["lines"][0]["values"]) == len(chart["times_ms"])
    assert {round(f["raised_ms"]) for f in found["list"] if f["symbol"] == chart["symbol"]} <= set(chart["times_ms"])


def test_from_the_middle_it_is_as_if_it_had_been_put_there(tmp_path: Path) -> None:
    log = market()
    begins = at(100)
    here = next(i for i, row in enumerate(log) if row["type"] == "heartbeat" and row["event_time_ns"] == begins)
    settings = settings_of(tmp_path, correction_window_s=1.0)
    late = Stored(settings, log, ahead=here + 1)
    for rule in RULES[:4]:
        engine = [firing for firing in late.firings(rule["name"]) if firing[1] > begins]
        assert listed(tried(settings, rule, from_ns=begins)) == engine


def test_a_firing_soon_after_the_last_one_cleared_is_a_flap(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    closes = [11, 9, 11, 9, 9, 9, 9, 11]
    log = [row for i, price in enumerate(closes) for row in (trade("A", i + 0.5, price, 1.0), heartbeat(i + 1))]
    Stored(settings, [*log, clock(20)])
    found = tried(settings, {"name": "x", "expression": "close > 10"})
    assert (found["firings"], found["flaps"], found["standing"]) == (3, 1, 1)
    assert [f["flap"] for f in reversed(found["list"])] == [False, True, False]
    assert [f["held_ms"] for f in reversed(found["list"])] == [1_000.0, 1_000.0, None]


def test_indicators_not_stored_are_computed_by_the_engines_and_a_sources_bars_as_they_came(tmp_path: Path) -> None:
    wide = settings_of(tmp_path / "wide", indicators="sma(3),rsi(5),ema(4)")
    narrow = settings_of(tmp_path / "narrow")
    rule = {"name": "wide", "expression": "close crosses_above ema_4"}
    told = Stored(wide, market(), rules=[*RULES, rule])
    Stored(narrow, market())
    found = tried(narrow, rule)
    assert found["computed"] == ["ema(4)"]
    assert listed(found) == told.firings("wide")
    half = tried(narrow, rule, from_ns=at(120))
    assert 0 < half["firings"] < found["firings"]
    assert set(listed(half)) <= set(listed(found))
    settings = Settings(data_dir=tmp_path, engine={"timeframes": ("1m", "5m"), "indicators": "", "calendar": "24x7"})
    closes = (100 + np.cumsum(np.random.default_rng(3).normal(size=90))).tolist()
    log = [bar("A", "1m", 60 * i, 60 * i + 60, (c, c + 1, c - 1, c, 10.0)) for i, c in enumerate(closes)]
    rule = {"name": "hour", "expression": "close > close@5m"}
    told = Stored(settings, [*log, heartbeat(90 * 60 + 300)], rules=[rule])
    found = tried(settings, rule)
    assert listed(found) == told.firings("hour")
    assert found["firings"] > 3


@pytest.mark.parametrize(("venue", "auction"), [("XNYS", 5), ("XLON", 3), ("XHKG", 0)])
def test_a_day_whose_auction_is_labelled_behind_its_close_is_seen_when_the_engine_closes_it(
    tmp_path: Path, venue: str, auction: int
) -> None:
    """Minutes around the open and the close of six days, two weekends among them; `auction`: those behind the close."""
    draw = np.random.default_rng(auction)
    table = cast("SessionTable", sessions_of(venue))
    days = np.flatnonzero(table.open_ns > at(86_400))[:6]
    log: list[Row] = []
    for opens, closes in zip(table.open_ns[days] - at(0), table.close_ns[days] - at(0), strict=True):
        for begins, minutes in ((opens // 10**9, 7), (closes // 10**9 - 360, 6 + auction)):
            for start in begins + 60 * np.arange(minutes):
                price = 100 + float(draw.integers(-3, 4))
                log.append(bar("A", "1m", start, start + 60, (price, price, price, price, 1.0), venue=venue))
    rules = [
        {"name": f"at_{frame}_{larger}", "expression": f"close > close@{larger}", "timeframe": frame}
        for frame, larger in (("1m", "5m"), ("1m", "1h"), ("1m", "1d"), ("5m", "1h"), ("5m", "1d"), ("1h", "1d"))
    ]
    settings = settings_of(tmp_path, timeframes=("1m", "5m", "1h", "1d"), indicators="")
    told = Stored(settings, [*log, heartbeat(float(log[-1]["close_time_ns"] - at(0)) / 1e9 + 7_200)], rules=rules)
    for rule in rules:
        found = tried(settings, rule, to_ns=at(30 * 86_400))
        assert listed(found) == told.firings(rule["name"]), rule["name"]
        assert found["firings"] > 0


def test_it_says_how_far_it_is_stops_when_told_and_says_what_cannot_be_read(settings: Settings, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    trial = AlertTrial(RULES[0], at(-1), at(10_000))
    found = try_rule(settings, trial, threading.Event(), lambda done, total: said.append((done, total)))
    assert (said[0], said[-1]) == ((0, found["rows"]), (found["rows"], found["rows"]))
    cancelled = threading.Event()
    cancelled.set()
    assert_raises(QueryCancelled, "", try_rule, settings, trial, cancelled)
    nothing = tried(settings, RULES[0], from_ns=at(50_000), to_ns=at(60_000))
    assert (nothing["firings"], nothing["rows"], nothing["from_ms"], nothing["charts"]) == (0, 0, None, [])
    assert_raises(ParameterError, "unknown column 'clse'", tried, settings, {"name": "x", "expression": "clse > 1"})
    assert_raises(ParameterError, "choose a later end", tried, settings, RULES[0], to_ns=at(-2))
    empty = tried(settings_of(tmp_path), RULES[0])
    assert (empty["firings"], empty["rows"]) == (0, 0)
    with pytest.raises(ParameterError, match="reads quotes"):
        tried(settings_of(settings.data_dir, indicators="sma(3),rsi(5),mid"), {"name": "x", "expression": "mid > 1"})


FIELDS = {"name": "high", "expression": "close > 100", "cooldown_s": 600, "symbols": ["AAPL", "BTC-*"]}
CONFIG = engine_config(Settings(engine={"timeframes": ("1s", "1m"), "indicators": "rsi(14),sma(20),vwap"}).engine)


@pytest.fixture
def given(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, engine={"timeframes": ("1s", "1m"), "indicators": "rsi(14)"})


def test_a_rule_is_read_from_json_or_toml_and_the_language_names_every_column_and_readable_examples() -> None:
    toml = 'name = "high"\nexpression = "close > 100"\ncooldown_s = 600\nsymbols = ["AAPL", "BTC-*"]\n'
    for text in (json.dumps(FIELDS), toml):
        assert read_fields(text, "rule") == FIELDS
    for text in ('{"name": "high"', "name: high", "[1, 2]"):
        assert_raises(ParameterError, r"rule\.toml: neither a JSON object nor TOML", read_fields, text, "rule.toml")
    found = language(CONFIG)
    assert [c["name"] for c in found["columns"]][-3:] == ["rsi_14", "sma_20", "session_vwap"]
    assert (found["timeframes"], found["usual_timeframe"]) == (["1s", "1m"], "1s")
    texts = [example["expression"] for example in found["examples"]]
    assert "close crosses_above sma_20" in texts
    assert not any("@1h" in text for text in texts)  # there is no such timeframe here
    assert [faults(expression=text) for text in texts] == [[]] * len(texts)


@pytest.mark.parametrize(("fields", "said"), [
    ({"expression": "rsi_15 < 30"}, "unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^"),
    ({"expression": "close >"}, "\n  close >\n         ^"), ({}, "expression is missing"),
    ({"expression": "close > 1", "timeframe": "7m"}, "unknown timeframe '7m': there is 1s, 1m"),
    ({"expression": "close > 1", "severity": "loud"}, "severity must be one of info, warning, critical"),
    ({"expression": "close > 1", "colour": "red"}, "unknown field 'colour'"),
])  # fmt: skip
def test_a_rule_with_a_fault_is_refused_without_a_broker(given: Settings, fields: dict[str, str], said: str) -> None:
    with pytest.raises(ParameterError) as refused:
        put_rule(given, {"name": "mine", **fields})
    assert said in str(refused.value)


@pytest.mark.usefixtures("own_place")
def test_without_a_broker_a_good_rule_is_not_put_and_that_is_said(given: Settings) -> None:
    assert_raises(EnvironmentProblem, r"no broker runs on .*marketpulse up", put_rule, given, FIELDS)


def faults(**fields: Any) -> list[tuple[str, int | None]]:
    given = {"name": "mine", "expression": "close > 1", **fields}
    return [(fault["field"], fault["at"]) for fault in check_fields(given, CONFIG)["faults"]]


@pytest.mark.parametrize(("fields", "found"), [
    ({}, []), ({"expression": "close > 1 and rsi_15 < 30"}, [("expression", 14)]),
    ({"expression": "close >"}, [("expression", 7)]), ({"expression": ""}, [("expression", 0)]),
    ({"expression": "close = 1"}, [("expression", 6)]), ({"clear": "close > 1 >"}, [("clear", 10)]),
    ({"message": "at {clse}"}, [("message", 4)]), ({"name": "two words"}, [("name", None)]),
    ({"expression": "clse > 1", "clear": "opn > 1", "message": "}"}, [("expression", 0), ("clear", 0), ("message", 0)]),
    ({"severity": "loud", "for_s": -1}, [("severity", None), ("for_s", None)]), ({"timeframe": "7m"}, [("timeframe", None)]),
    ({"colour": "red"}, [("colour", None)]), ({"symbols": "AAPL"}, [("symbols", None)]),
])  # fmt: skip
def test_each_fault_stands_at_its_field_and_its_character(fields: dict[str, Any], found: list[Any]) -> None:
    assert faults(**fields) == found


def test_a_fault_says_what_to_do_not_which_rule_was_made_up_and_a_check_what_is_read_and_can_be_computed() -> None:
    found = check_fields({"name": "two words", "expression": "rsi_15 < 30", "for_s": 1e12}, CONFIG)["faults"]
    said = {fault["field"]: fault["message"] for fault in found}
    assert said["expression"] == "unknown column 'rsi_15'; did you mean 'rsi_14'?"
    assert said["name"].startswith("name it with up to 100 letters")
    assert said["for_s"].startswith("for_s must be from 0 to 31622400 seconds")
    assert [f["message"] for f in check_fields({}, CONFIG)["faults"]] == ["name is missing", "expression is missing"]
    long = " and ".join(f"close > prev(close, {n})" for n in range(990, 1_001))  # only the whole rule is too much
    (fault,) = check_fields({"name": "long", "expression": long}, CONFIG)["faults"]
    assert (fault["field"], "look fewer bars back" in fault["message"]) == ("expression", True)
    found = check_fields({"name": "x", "expression": "rsi_14@1m < 30 and close > 1", "clear": "close < 1"}, CONFIG)
    assert (found["reads"], found["timeframe"]) == (["rsi_14@1m", "close"], "1s")
    found = check_fields({"name": "x", "expression": "ema_7 > 1 and rsi_14 < 3 and nonsense_3 > 1"}, CONFIG)
    assert found["computable"] == ["ema(7)"]
    assert [spec.text for spec in computable({"expression": "spread > 1"}, CONFIG)] == []  # it reads quotes


@pytest.mark.parametrize(("column", "text"), [
    ("rsi_7", "rsi(7)"), ("macd_5_10_3_signal", "macd(5,10,3)"), ("bbands_20_2p5_upper", "bbands(20,2.5)"),
    ("obv", "obv"), ("volume_sma_5", "volume_sma(5)"), ("rsi", None), ("rsi_0", None), ("rsi_x", None),
    ("nobody_3", None),
])  # fmt: skip
def test_a_column_tells_its_indicator(column: str, text: str | None) -> None:
    spec = spec_of_column(column)
    assert (None if spec is None else spec.text) == text
