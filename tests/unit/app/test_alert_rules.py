"""A rule as it is being written: faults under their characters, the words that there are, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from marketpulse.app.alert_language import check_fields, computable, language, spec_of_column
from marketpulse.app.alert_rules import put_rule, read_fields
from marketpulse.app.engine_config import engine_config
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.settings import Settings
from refused import assert_raises

FIELDS = {"name": "high", "expression": "close > 100", "cooldown_s": 600, "symbols": ["AAPL", "BTC-*"]}
CONFIG = engine_config(Settings(engine={"timeframes": ("1s", "1m"), "indicators": "rsi(14),sma(20),vwap"}).engine)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
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
def test_a_rule_with_a_fault_is_refused_without_a_broker(settings: Settings, fields: dict[str, str], said: str) -> None:
    with pytest.raises(ParameterError) as refused:
        put_rule(settings, {"name": "mine", **fields})
    assert said in str(refused.value)


@pytest.mark.usefixtures("own_place")
def test_without_a_broker_a_good_rule_is_not_put_and_that_is_said(settings: Settings) -> None:
    assert_raises(EnvironmentProblem, r"no broker runs on .*marketpulse up", put_rule, settings, FIELDS)


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
