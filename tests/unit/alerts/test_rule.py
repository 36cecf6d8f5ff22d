"""What a rule and its expression may be, what is said of faults, and sets of rules with their numbers and memory."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from alert_rows import INPUTS, MINUTE
from marketpulse.alerts.events import CLEARED, EVENT, WITHDRAWN
from marketpulse.alerts.inputs import Inputs, inputs_of
from marketpulse.alerts.message import check_message, message_of
from marketpulse.alerts.parse import parse_condition
from marketpulse.alerts.program import Program
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json, rule_to_json, rules_from_json, rules_to_json
from marketpulse.alerts.rule_set import RULES_MAX, rule_set
from marketpulse.alerts.tree import Column, Node, Number
from marketpulse.model.rows import BAR
from marketpulse.model.timeframe import parse_timeframes
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


def test_rules_and_changes_come_back_with_defaults_and_whole_nanoseconds_and_a_fault_shows_its_line() -> None:
    rule = Rule("r", "close > 1", for_s=0.1, cooldown_s=90)
    assert (rule.for_ns, rule.cooldown_ns) == (100_000_000, 90_000_000_000)
    assert rule_from_json({"name": "r", "expression": "close > 1", "for_s": 60}).for_ns == 60 * 10**9
    assert [rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) for rule in (FULL, PLAIN)] == [FULL, PLAIN]
    assert rule_to_json(PLAIN) == {"name": "plain", "expression": "close > 1"}
    rules = change_from_json({"action": "put_rule", "rule": rule_to_json(FULL)}, rule_set(INPUTS, [PLAIN]))
    assert [rule.name for rule in rules.rules] == ["plain", "oversold"]
    assert change_from_json({"action": "remove_rule", "name": "plain"}, rules).rules == (FULL,)
    rules = rule_set(INPUTS, [Rule("gone", "close > 1"), FULL]).without_rule("gone")
    again = rules_from_json(json.loads(json.dumps(rules_to_json(rules))), INPUTS)
    assert again == rules
    assert (again.numbers, again.with_rule(Rule("new", "close > 1")).numbers) == ((2,), (2, 3))
    said = refusal(read, "close > 1\n\tand clsoe < 5\nor low > 3").split("\n")
    assert said == ["rule 'r': unknown column 'clsoe'; did you mean 'close'?", "   and clsoe < 5", "       ^"]
    assert written_out(read("close > prev(close)", "100t")) == "(close@100t > prev(close@100t, 1))"
    assert TICKS_ALONE in refusal(read, "close@1m > 1", "100t")


GOOD = {"name": "r", "expression": "close > 1"}


@pytest.mark.parametrize(("value", "message"), [
    (GOOD | {"colour": "red"}, "alert rule: unknown field 'colour': there is name, expression, timeframe"),
    (GOOD | {"name": None}, "alert rule: name must be a text, found null"),
    (GOOD | {"expression": 3}, "alert rule: expression must be a text, found a number"),
    (GOOD | {"for_s": "5m"}, "alert rule: for_s must be a number of seconds, found a text"),
    (GOOD | {"cooldown_s": True}, "alert rule: cooldown_s must be a number of seconds, found true or false"),
    (GOOD | {"for_s": 10**400}, "rule 'r': for_s must be from 0 to 31622400 seconds, found inf"),
    (GOOD | {"symbols": "AAA"}, "alert rule: symbols must be a list of names"),
    (GOOD | {"symbols": ["AAA", 3]}, "alert rule: symbols must be a list of names"),
    (GOOD | {"muted": "yes"}, "alert rule: muted must be true or false, found a text"),
    (GOOD | {"message": {}}, "alert rule: message must be a text, found an object"),
    ({"name": "r"}, "alert rule: expression is missing"), ({}, "alert rule: name is missing"),
    ([], "alert rule: expected a rule as a JSON object, found a list"),
    (None, "alert rule: expected a rule as a JSON object, found null"),
])  # fmt: skip
def test_what_is_no_rule_is_refused_and_its_fault_named(value: object, message: str) -> None:
    assert refusal(rule_from_json, value).startswith(message)


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
    event = np.array([(0, 1, 0, time_ns - MINUTE, time_ns, state, 0, 0, value, 0)], EVENT)[0]
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


NO_FUNCTION = "there is no function '{}', only abs, min, max, prev, change_pct"
TICKS_ALONE = "bars cut by a number of trades follow the log, not time: a rule that reads them reads no others"


def read(text: str, timeframe: str = "1m") -> Node:
    return parse_condition(text, INPUTS, INPUTS.frame(timeframe) or 0, "rule 'r'")


def written_out(node: Node) -> str:
    """The tree with every pair of parentheses."""
    if isinstance(node, Number):
        return f"{node.value:g}"
    if isinstance(node, Column):
        name, frame = INPUTS.columns[node.column], INPUTS.frames[node.frame].name
        return name if frame == "1m" else f"{name}@{frame}"
    parts = [written_out(part) for part in node.parts]
    if len(parts) == 2 and node.name not in ("min", "max"):
        return f"({parts[0]} {node.name} {parts[1]})"
    return f"{node.name}({', '.join([*parts, *([str(node.bars)] if node.bars else [])])})"


@pytest.mark.parametrize(("text", "meaning"), [
    ("  RSI_14<30.5\n", "(rsi_14 < 30.5)"), ("close > .5e-3", "(close > 0.0005)"), ("+close > 1", "(close > 1)"),
    ("close == (1 + 2) * 3", "(close == ((1 + 2) * 3))"), ("close != 8 - 4 - 2", "(close != ((8 - 4) - 2))"),
    ("close <= 8 / 4 / 2", "(close <= ((8 / 4) / 2))"), ("-close * 2 < - - 3", "((negate(close) * 2) < negate(negate(3)))"),
    ("NOT (close > 1 AND not low > 3)", "not(((close > 1) and not((low > 3))))"),
    ("close > 1 or low > 2 or high > 3", "(((close > 1) or (low > 2)) or (high > 3))"),
    ("rsi_14 < 30 and close crosses_below sma_20@1h", "((rsi_14 < 30) and (close crosses_below sma_20@1h))"),
    ("rsi_14 @ 5m < 30", "(rsi_14@5m < 30)"), ("rsi_14@1m < 30", "(rsi_14 < 30)"),
    ("prev(close) < prev(close, 3)", "(prev(close, 1) < prev(close, 3))"),
    ("abs(close - open) > max(1, 2, low)", "(abs((close - open)) > max(1, 2, low))"),
    ("min(prev(low), low) < 1", "(min(prev(low, 1), low) < 1)"), ("session_vwap > vwap", "(session_vwap > vwap)"),
    pytest.param("(" * 40 + "close > 1" + ")" * 40, "(close > 1)", id="forty levels"),
])  # fmt: skip
def test_an_expression_means_what_its_parentheses_would_say(text: str, meaning: str) -> None:
    assert written_out(read(text)) == meaning


FAULTS: dict[str, dict[str, int]] = {  # by what is said: the texts, and where each is pointed at
    "expected a column, a number or a function, found the end": {"": 0, "close >": 7},
    "expected a condition, such as close > 100, found a number": {"close": 0, "low > 2 or close": 11, "not close": 4},
    "unknown column 'rsi_15'; did you mean 'rsi_14'?": {"rsi_15 < 30": 0},
    f"unknown column 'zzz'; a rule reads {', '.join(INPUTS.columns)}": {"1 < 2 and zzz > 3": 10},
    f"{NO_FUNCTION.format('sma')}; did you mean 'sma_20'?": {"close > sma(20)": 8},
    f"{NO_FUNCTION.format('close')}: write close": {"close(3) > 1": 0},
    "expected a timeframe: there is 100t, 1m, 5m, 1h": {"close@2h > 1": 6, "close@ > 1": 7},
    TICKS_ALONE: {"close@100t > 1": 6},
    "this is not a number": {"close > 1x": 8, "close > 1_000": 8, "close > 1.2.3": 8},
    "this number is too large": {"close > 1e999": 8},
    "expected an operator or the end, found '2'": {"close > 1 2": 10},
    "expected an operator or the end, found ')'": {"close > 1)": 9},
    'expected ")", found the end': {"(close > 1": 10},
    "unknown sign '=': write ==": {"close = 1": 6},
    "unknown sign '&&': write and": {"close > 1 && low > 2": 10},
    "unknown sign '<>': write !=": {"close <> 5": 6},
    "unknown word 'is': write ==": {"close is 5": 6},
    "expected an operator, found '%'": {"close % 2 > 1": 6},
    "expected an operator, found 'crosses_over': did you mean crosses_above?": {"close crosses_over sma_20": 6},
    "expected an operator, found 'crossunder': did you mean crosses_below?": {"close crossunder sma_20": 6},
    "a column has one timeframe": {"close@5m@1h > 1": 8},
    "unknown sign '!': write not": {"!close > 1": 0},
    "expected a column, a number or a function, found 'and'": {"close > and": 8},
    "comparisons do not chain: write a < b and b < c": {"20 < rsi_14 < 80": 12},
    "comparisons do not chain: write a < b and b < c, and compare numbers": {"(close > 1) > 2": 0},
    "expected a number, found a condition": {
        "close > (low > 2)": 8, "(low > 2) * 3 > 1": 0, "-(low > 2) > 1": 1, "max(close, 1 > 1": 11,
    },
    "expected a condition before 'and', found a number": {"close and low > 2": 0},
    'expected "(" after the function abs': {"abs > 1": 4},
    'expected ")", found \',\'': {"abs(1, 2) > close": 5},
    "min takes two or more numbers, such as min(open, close)": {"min(close) > 1": 9},
    'expected "," or ")", found \';\'': {"max(close, 1; 2) > 1": 12},
    "change_pct takes a number and how many bars back: change_pct(close, 5)": {"change_pct(close) > 1": 16},
    "change_pct: how many bars back must be a whole number from 1 to 1000": {
        "change_pct(close, 0) > 1": 18, "change_pct(close, n) > 1": 18,
    },
    "prev: how many bars back must be a whole number from 1 to 1000": {
        "prev(close, 1.5) > 1": 12, "prev(close, 1001) > 1": 12,
    },
    "it reads no column, so it is always the same": {"1 < 2": 0},
    "it nests deeper than 40 levels": {"-" * 41 + "close > 1": 41, "(" * 1_000: 41},
}  # fmt: skip


@pytest.mark.parametrize(
    ("message", "text", "caret"),
    [(message, text, caret) for message, texts in FAULTS.items() for text, caret in texts.items()],
)
def test_a_fault_is_named_and_pointed_at(message: str, text: str, caret: int) -> None:
    assert refusal(read, text).split("\n") == [f"rule 'r': {message}", f"  {text}", " " * (2 + caret) + "^"]


LOW, HIGH = Rule("low", "close < 1"), Rule("high", "close > 2")


def test_rules_are_numbered_once_each_from_one_found_by_one_name_and_have_a_most() -> None:
    rules = rule_set(INPUTS, [LOW, HIGH])
    again = rules.without_rule("high").with_rule(HIGH)
    assert (again.numbers, again.rules) == ((1, 3), (LOW, HIGH))
    assert rules.with_rule(replace(LOW)) == rules, "the same rule again changes nothing"
    worded = replace(LOW, severity="critical", message="{symbol} is low")
    changed = rules.with_rule(worded)
    assert (rules.numbers, rules.rules) == ((1, 2), (LOW, HIGH)), "a set stays as it is"
    assert (changed.numbers, changed.rules) == ((1, 2), (worded, HIGH))
    assert changed.rule_of(1) == worded
    rules = rule_set(INPUTS, [LOW])
    assert "there is no rule 'high'" in refusal(rules.without_rule, "high")
    assert "there is no rule number 2" in refusal(rules.rule_of, 2)
    assert "'low' stands twice: rename one" in refusal(rule_set, INPUTS, [LOW, LOW])
    many = rule_set(INPUTS, [Rule(f"r{i}", "close > 1") for i in range(RULES_MAX)])
    assert "at most 1,000; remove one first" in refusal(many.with_rule, LOW)
    assert many.with_rule(Rule("r0", "close > 2")).numbers[-1] == RULES_MAX + 1
    assert "at most 1,000, found 1,001" in refusal(rule_set, INPUTS, [*many.rules, LOW])
    ten = rule_set(INPUTS, [Rule(f"r{i}", "change_pct(close, 1000) > 1") for i in range(10)])
    more = refusal(ten.with_rule, Rule("more", "prev(close) > 1"))
    assert "they remember 10,001 numbers of each symbol, at most 10,000" in more


@pytest.mark.parametrize("changes", [
    {"expression": "close < 2"}, {"clear": "close > 3"}, {"timeframe": "5m"}, {"for_s": 1.0}, {"cooldown_s": 1.0},
    {"symbols": ("AAA",)},
])  # fmt: skip
def test_another_computation_has_another_number(changes: dict[str, object]) -> None:
    other = Rule(**{"name": "low", "expression": "close < 1", **changes})  # type: ignore[arg-type]
    changed = rule_set(INPUTS, [LOW, HIGH]).with_rule(other)
    assert (changed.numbers, changed.rules) == ((2, 3), (HIGH, other))


@pytest.mark.parametrize(("rule", "message"), [
    (Rule("r", "close > x"), "rule 'r': unknown column 'x'"),
    (Rule("r", "close > 1", clear="close <"), "rule 'r', clear: expected a column"),
    (Rule("r", "close > 1", message="{clsoe}"), "rule 'r', message: unknown name 'clsoe'"),
    (Rule("r", "close > 1", timeframe="2m"), "rule 'r': unknown timeframe '2m': there is 100t, 1m, 5m, 1h"),
])  # fmt: skip
def test_a_rule_that_cannot_be_read_is_refused_by_name(rule: Rule, message: str) -> None:
    assert refusal(rule_set, INPUTS, [rule]).startswith(message)
    assert refusal(rule_set(INPUTS).with_rule, rule).startswith(message)


def test_rules_read_the_numbers_of_bars_then_the_indicators_which_must_be_told_apart() -> None:
    inputs = inputs_of(["sma_20", "vwap"], parse_timeframes(["1m"]))
    bars = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
    assert inputs.columns == (*bars, "sma_20", "session_vwap")
    assert set(bars) <= set(BAR.names)
    assert "a column's name stands twice" in refusal(inputs_of, ["close"], parse_timeframes(["1m"]))
    assert "name at least one timeframe" in refusal(Inputs, ("close",), ())


@pytest.mark.parametrize(("timeframes", "smallest"), [
    (["1h", "1m", "5m"], "1m"), (["100t", "1d", "1h"], "1h"), (["500t", "100t"], "100t"), (["1d"], "1d"),
])  # fmt: skip
def test_a_rule_without_a_timeframe_has_the_smallest(timeframes: list[str], smallest: str) -> None:
    inputs = inputs_of([], parse_timeframes(timeframes))
    assert inputs.frames[inputs.smallest].name == smallest


def program_of(*expressions: str, clear: str = "") -> Program:
    return rule_set(INPUTS, [Rule(f"r{i}", e, clear=clear) for i, e in enumerate(expressions)]).program


def test_each_rule_has_memory_and_a_stack_as_its_operators_need_and_rules_run_and_feed_by_timeframe() -> None:
    widths = {
        "close > 1": 0, "close crosses_above sma_20": 2, "prev(close) > 1": 1, "change_pct(close, 5) > prev(low, 3)": 8,
        "close@1h > 1": 1, "close@1h > close@5m and close@1h < 9": 2, "close@1m > 1": 0,  # what is kept once is read twice
    }  # fmt: skip
    assert {expression: program_of(expression).width for expression in widths} == widths
    depths = {
        "close > 1": 2, "close + 1 + 1 + 1 > 1": 2, "close > 1 and low > 1 and high > 1": 3,
        "close + (low + (high + 1)) > 1": 4, "max(close, low, high, open) > 1": 2,
    }  # fmt: skip
    assert {expression: program_of(expression).depth for expression in depths} == depths
    expressions = ("prev(close, 4) > close@1h", "close > 1", "close crosses_above close@1h")
    program = program_of(*expressions, clear="prev(low) > 1")
    starts, stops = program.rules["memory"].tolist(), program.rules["memory_stop"].tolist()
    assert (starts, stops, program.width) == ([0, 6, 7], [6, 7, 11], 11)
    hour, minute = Rule("hour", "close@5m > 1", timeframe="1h"), Rule("minute", "close > low@1h", timeframe="1m")
    program = rule_set(INPUTS, [hour, minute, Rule("other", "close > open@1h")]).program
    run, feed = program.run_start.tolist(), program.feed_start.tolist()
    assert [program.run[a:b].tolist() for a, b in pairwise(run)] == [[], [1, 2], [], [0]]
    assert [program.feeds[a:b]["rule"].tolist() for a, b in pairwise(feed)] == [[], [], [0], [1, 2]]
