"""What a rule may be, which symbols it takes, rules as JSON and back, and what an alert says."""

import json
import math
from typing import Any

import numpy as np
import pytest

from alert_rows import INPUTS, MINUTE
from marketpulse.alerts.events import CLEARED, EVENT, WITHDRAWN
from marketpulse.alerts.message import check_message, message_of
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json, rule_to_json, rules_from_json, rules_to_json
from marketpulse.alerts.rule_set import rule_set
from refused import refusal

PLAIN = Rule("plain", "close > 1")
FULL = Rule(
    "oversold", "rsi_14 < 30", timeframe="5m", severity="critical", message="{symbol} {rsi_14}", for_s=0.1,
    cooldown_s=3600, clear="rsi_14 > 35", symbols=("AAA", "B*"), muted=True,
)  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), [
    ({"name": ""}, "rule '': name it with up to 100 letters"),
    ({"name": "two words"}, "rule 'two words': name it with"), ({"name": "1st"}, "rule '1st': name it with"),
    ({"name": "a" * 101}, "name it with up to 100 letters"),
    ({"severity": "loud"}, "rule 'r': severity must be one of info, warning, critical, found 'loud'"),
    ({"for_s": -1.0}, "rule 'r': for_s must be from 0 to 31622400 seconds, found -1.0"),
    ({"cooldown_s": math.nan}, "rule 'r': cooldown_s must be from 0 to 31622400 seconds, found nan"),
    ({"for_s": math.inf}, "rule 'r': for_s must be from 0"),
    ({"clear": "x" * 2_001}, "rule 'r': clear is longer than 2000 characters"),
    ({"symbols": ("AAA", "")}, "rule 'r': symbols must be at most 10,000 names, none of them empty"),
])  # fmt: skip
def test_a_rule_out_of_range_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    assert message in refusal(Rule, **{"name": "r", "expression": "close > 1", **fields})


@pytest.mark.parametrize(("symbols", "taken", "left"), [
    ((), ["AAPL", "BTC-USD.COINBASE", ""], []), (("AAPL", "MSFT"), ["AAPL", "MSFT"], ["AAP", "AAPLX", "aapl"]),
    (("BTC-*",), ["BTC-USD", "BTC-", "BTC-USD.KRAKEN"], ["BTC", "XBTC-USD"]),
    (("*-USD*",), ["BTC-USD", "-USD", "ETH-USD.KRAKEN"], ["BTC-EUR"]),
    (("*.KRAKEN",), ["BTC-USD.KRAKEN"], ["BTC-USD.KRAKEN2"]), (("A*B*C",), ["ABC", "AxxByyC"], ["AC", "ACB", "AB"]),
    (("AB*BA",), ["ABBA", "ABxBA"], ["ABA"]), (("A.[A]?",), ["A.[A]?"], ["AxA", "A.A."]),
])  # fmt: skip
def test_a_rule_takes_what_its_filter_names(symbols: tuple[str, ...], taken: list[str], left: list[str]) -> None:
    rule = Rule("r", "close > 1", symbols=symbols)
    assert [s for s in [*taken, *left] if rule.takes(s)] == taken


def test_a_rule_comes_back_as_it_was_what_is_left_out_has_its_default_and_seconds_are_whole_nanoseconds() -> None:
    rule = Rule("r", "close > 1", for_s=0.1, cooldown_s=90)
    assert (rule.for_ns, rule.cooldown_ns) == (100_000_000, 90_000_000_000)
    assert rule_from_json({"name": "r", "expression": "close > 1", "for_s": 60}).for_ns == 60 * 10**9
    assert [rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) for rule in (FULL, PLAIN)] == [FULL, PLAIN]
    assert rule_to_json(PLAIN) == {"name": "plain", "expression": "close > 1"}


GOOD = {"name": "r", "expression": "close > 1"}


@pytest.mark.parametrize(("value", "message"), [
    (GOOD | {"colour": "red"}, "alert rule: unknown field 'colour': there is name, expression, timeframe"),
    (GOOD | {"name": None}, "alert rule: name must be a text, found null"),
    (GOOD | {"expression": 3}, "alert rule: expression must be a text, found a number"),
    (GOOD | {"for_s": "5m"}, "alert rule: for_s must be a number of seconds, found a text"),
    (GOOD | {"cooldown_s": True}, "alert rule: cooldown_s must be a number of seconds, found true or false"),
    (GOOD | {"for_s": 10**400}, "rule 'r': for_s must be from 0 to 31622400 seconds, found inf"),
    (GOOD | {"for_s": -1}, "rule 'r': for_s must be from 0 to 31622400 seconds, found -1.0"),
    (GOOD | {"symbols": "AAA"}, "alert rule: symbols must be a list of names"),
    (GOOD | {"symbols": ["AAA", 3]}, "alert rule: symbols must be a list of names"),
    (GOOD | {"severity": "loud"}, "rule 'r': severity must be one of info, warning, critical, found 'loud'"),
    (GOOD | {"muted": "yes"}, "alert rule: muted must be true or false, found a text"),
    (GOOD | {"message": {}}, "alert rule: message must be a text, found an object"),
    ({"name": "r"}, "alert rule: expression is missing"), ({}, "alert rule: name is missing"),
    ([], "alert rule: expected a rule as a JSON object, found a list"),
    (None, "alert rule: expected a rule as a JSON object, found null"),
])  # fmt: skip
def test_what_is_no_rule_is_refused_and_its_fault_named(value: object, message: str) -> None:
    assert refusal(rule_from_json, value).startswith(message)


def test_a_change_puts_a_rule_or_removes_it_and_a_snapshot_gives_the_rules_with_their_numbers() -> None:
    rules = change_from_json({"action": "put_rule", "rule": rule_to_json(FULL)}, rule_set(INPUTS, [PLAIN]))
    assert [rule.name for rule in rules.rules] == ["plain", "oversold"]
    assert change_from_json({"action": "remove_rule", "name": "plain"}, rules).rules == (FULL,)
    rules = rule_set(INPUTS, [Rule("gone", "close > 1"), FULL]).without_rule("gone")
    again = rules_from_json(json.loads(json.dumps(rules_to_json(rules))), INPUTS)
    assert again == rules
    assert (again.numbers, again.with_rule(Rule("new", "close > 1")).numbers) == ((2,), (2, 3))


@pytest.mark.parametrize(("value", "message"), [
    ({"action": "put"}, 'write {"action": "put_rule", "rule": {…}} or'),
    ({"action": "put_rule"}, 'write {"action": "put_rule"'),
    ({"action": "put_rule", "rule": {}, "name": "r"}, 'write {"action": "put_rule"'),
    ({"action": "remove_rule", "name": 3}, 'write {"action": "put_rule"'),
    ({"action": ["remove_rule"], "name": "r"}, 'write {"action": "put_rule"'),
    ({"action": "put_rule", "rule": []}, "expected a rule as a JSON object, found a list"),
    ({"action": "remove_rule", "name": "other"}, "there is no rule 'other'"),
    ("remove", "expected a change of the alert rules as a JSON object, found a text"),
])  # fmt: skip
def test_what_is_no_change_is_refused(value: object, message: str) -> None:
    assert message in refusal(change_from_json, value, rule_set(INPUTS))


NOON = 1_577_880_000 * 10**9  # 2020-01-01T12:00:00Z
ROW = [1.0, 2.5, np.nan, 1e300, 1e-7, 0.1, 3.0, 4.0, 5.0, 6.0, 7.0]
OF_EVENT = "symbol, rule, severity, state, time, value"


def said(template: str, *, state: int = CLEARED, time_ns: int = NOON, value: float = 29.75) -> str:
    event = np.array([(0, 1, 0, time_ns - MINUTE, time_ns, state, 0, 0, value)], EVENT)[0]
    row = None if state == WITHDRAWN else ROW
    return message_of(Rule("r-1", "close > 1", message=template), "AAA", event, INPUTS.columns, row)


@pytest.mark.parametrize(("template", "of", "text"), [
    ("{symbol}: {rule} is {state} at {value}", {}, "AAA: r-1 is cleared at 29.75"),
    ("{severity} {time}", {}, "warning 2020-01-01T12:00:00Z"), ("{{value}} {value}}}", {}, "{value} 29.75}"),
    ("{open} {high} {low} {close} {volume}", {}, "1 2.5 null 1e+300 1e-07"), ("no names", {}, "no names"), ("", {}, ""),
    ("{value}", {"value": np.nan}, "null"), ("{state} {close} {value}", {"state": WITHDRAWN}, "withdrawn null 29.75"),
    ("{close:.2f} {high:08.3f} {value:,.0f}", {"value": 12345.6}, "1e+300 0002.500 12,346".replace("1e+300", f"{1e300:.2f}")),
    ("{low:.2f} {volume:.1e} {open:+}", {}, "null 1.0e-07 +1.0"),
    ("{time}", {"time_ns": NOON + 1}, "2020-01-01T12:00:00.000000001Z"),
    ("{time}", {"time_ns": NOON + 250_000_000}, "2020-01-01T12:00:00.25Z"),
    ("{time}", {"time_ns": -1}, "1969-12-31T23:59:59.999999999Z"),
])  # fmt: skip
def test_names_become_numbers_of_the_row_null_where_unknown_and_times(template: str, of: Any, text: str) -> None:
    """A time has as many decimals as it needs."""
    assert said(template, **of) == text


@pytest.mark.parametrize(("template", "message", "caret"), [
    ("at {closee}", f"unknown name 'closee': write one of {OF_EVENT}, or a column; did you mean 'close'?", 4),
    ("{} is high", "unknown name ''", 1), ("at { close}", "unknown name ' close'", 4),
    ("{close:1000000}", "close takes no format '1000000': numbers take one such as .2f or ,.0f", 7),
    ("{symbol:.2f}", "symbol takes no format '.2f'", 8), ("{close:.2f!r}", "close takes no format '.2f!r'", 7),
    ("at {close", "a brace stands alone: write it twice to keep it", 3),
    ("at close}", "a brace stands alone: write it twice to keep it", 8),
])  # fmt: skip
def test_a_template_that_cannot_be_filled_is_pointed_at(template: str, message: str, caret: int) -> None:
    said = refusal(check_message, Rule("r", "close > 1", message=template), INPUTS)
    check_message(Rule("r", "close > 1"), INPUTS)  # the default suits every input
    headline, line, pointer = said.split("\n")
    assert headline.startswith(f"rule 'r', message: {message}")
    assert (line, pointer) == (f"  {template}", " " * (2 + caret) + "^")
