"""A rule as a person writes it down, and what is refused before anything is written."""

from pathlib import Path

import pytest

from marketpulse.app.alert_rules import put_rule, read_fields
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.settings import Settings

FIELDS = {"name": "high", "expression": "close > 100", "cooldown_s": 600, "symbols": ["AAPL", "BTC-*"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "high", "expression": "close > 100", "cooldown_s": 600, "symbols": ["AAPL", "BTC-*"]}',
        'name = "high"\nexpression = "close > 100"\ncooldown_s = 600\nsymbols = ["AAPL", "BTC-*"]\n',
    ],
)
def test_a_rule_is_read_from_json_and_from_toml(text: str) -> None:
    assert read_fields(text, "rule") == FIELDS


@pytest.mark.parametrize("text", ['{"name": "high"', "name: high", "[1, 2]"])
def test_what_is_neither_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(ParameterError, match=r"rule\.toml: neither a JSON object nor TOML"):
        read_fields(text, "rule.toml")


def settings_of(tmp_path: Path) -> Settings:
    engine = {"timeframes": ("1s", "1m"), "indicators": "rsi(14)"}
    return Settings(data_dir=tmp_path, engine=engine)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"expression": "rsi_15 < 30"}, "unknown column 'rsi_15'; did you mean 'rsi_14'?\n  rsi_15 < 30\n  ^"),
        ({"expression": "close >"}, "\n  close >\n         ^"),
        ({"expression": "close > 1", "timeframe": "7m"}, "unknown timeframe '7m': there is 1s, 1m"),
        ({"expression": "close > 1", "severity": "loud"}, "severity must be one of info, warning, critical"),
        ({"expression": "close > 1", "colour": "red"}, "unknown field 'colour'"),
        ({}, "expression is missing"),
    ],
)
def test_a_rule_with_a_fault_is_refused_without_a_broker(tmp_path: Path, fields: dict[str, str], said: str) -> None:
    with pytest.raises(ParameterError) as refused:
        put_rule(settings_of(tmp_path), {"name": "mine", **fields})
    assert said in str(refused.value)


def test_without_a_broker_a_good_rule_is_not_put_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(EnvironmentProblem, match=r"no broker runs on .*marketpulse up"):
        put_rule(settings_of(tmp_path), FIELDS)
