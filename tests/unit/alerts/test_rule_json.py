"""Rules as JSON and back, and what is said of JSON that is no rule."""

import json
from typing import Any

import pytest

from alert_rows import INPUTS
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json, rule_to_json, rules_from_json, rules_to_json
from marketpulse.alerts.rule_set import rule_set
from marketpulse.errors import ParameterError

FULL = Rule(
    "oversold", "rsi_14 < 30", timeframe="5m", severity="critical", message="{symbol} {rsi_14}", for_s=0.1,
    cooldown_s=3600, clear="rsi_14 > 35", symbols=("AAA", "B*"), muted=True,
)  # fmt: skip


@pytest.mark.parametrize("rule", [FULL, Rule("plain", "close > 1")])
def test_a_rule_comes_back_as_it_was(rule: Rule) -> None:
    assert rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) == rule


def test_what_is_left_out_has_its_default() -> None:
    assert rule_to_json(Rule("plain", "close > 1")) == {"name": "plain", "expression": "close > 1"}
    assert rule_from_json({"name": "r", "expression": "close > 1", "for_s": 60}).for_ns == 60 * 10**9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": "red"}, "alert rule: unknown field 'colour': there is name, expression, timeframe"),
        ({"name": None}, "alert rule: name must be a text, found null"),
        ({"expression": 3}, "alert rule: expression must be a text, found a number"),
        ({"for_s": "5m"}, "alert rule: for_s must be a number of seconds, found a text"),
        ({"cooldown_s": True}, "alert rule: cooldown_s must be a number of seconds, found true or false"),
        ({"for_s": 10**400}, "rule 'r': for_s must be from 0 to 31622400 seconds, found inf"),
        ({"for_s": -1}, "rule 'r': for_s must be from 0 to 31622400 seconds, found -1.0"),
        ({"symbols": "AAA"}, "alert rule: symbols must be a list of names"),
        ({"symbols": ["AAA", 3]}, "alert rule: symbols must be a list of names"),
        ({"severity": "loud"}, "rule 'r': severity must be one of info, warning, critical, found 'loud'"),
        ({"muted": "yes"}, "alert rule: muted must be true or false, found a text"),
        ({"message": {}}, "alert rule: message must be a text, found an object"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        rule_from_json({"name": "r", "expression": "close > 1", **fields})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "r"}, "alert rule: expression is missing"),
        ({}, "alert rule: name is missing"),
        ([], "alert rule: expected a rule as a JSON object, found a list"),
        (None, "alert rule: expected a rule as a JSON object, found null"),
    ],
)
def test_what_is_no_rule_is_refused(value: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        rule_from_json(value)


def test_a_change_puts_a_rule_or_removes_it() -> None:
    rules = rule_set(INPUTS, [Rule("plain", "close > 1")])
    rules = change_from_json({"action": "put_rule", "rule": rule_to_json(FULL)}, rules)
    assert [rule.name for rule in rules.rules] == ["plain", "oversold"]
    rules = change_from_json({"action": "remove_rule", "name": "plain"}, rules)
    assert rules.rules == (FULL,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"action": "put"}, 'write {"action": "put_rule", "rule": {…}} or'),
        ({"action": "put_rule"}, 'write {"action": "put_rule"'),
        ({"action": "put_rule", "rule": {}, "name": "r"}, 'write {"action": "put_rule"'),
        ({"action": "remove_rule", "name": 3}, 'write {"action": "put_rule"'),
        ({"action": ["remove_rule"], "name": "r"}, 'write {"action": "put_rule"'),
        ({"action": "put_rule", "rule": []}, "expected a rule as a JSON object, found a list"),
        ({"action": "remove_rule", "name": "other"}, "there is no rule 'other'"),
        ("remove", "expected a change of the alert rules as a JSON object, found a text"),
    ],
)
def test_what_is_no_change_is_refused(value: object, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        change_from_json(value, rule_set(INPUTS))
    assert message in str(caught.value)


def test_a_snapshot_gives_the_rules_with_their_numbers() -> None:
    rules = rule_set(INPUTS, [Rule("gone", "close > 1"), FULL]).without_rule("gone")
    again = rules_from_json(json.loads(json.dumps(rules_to_json(rules))), INPUTS)
    assert again == rules
    assert (again.numbers, again.with_rule(Rule("new", "close > 1")).numbers) == ((2,), (2, 3))
