"""Rules that come and go, the numbers that they keep, what they may read, and what they need when they run."""

from dataclasses import replace
from itertools import pairwise

import pytest

from alert_rows import INPUTS
from marketpulse.alerts.inputs import Inputs, inputs_of
from marketpulse.alerts.program import Program
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RULES_MAX, rule_set
from marketpulse.model.rows import BAR
from marketpulse.model.timeframe import parse_timeframes
from refused import refusal

LOW, HIGH = Rule("low", "close < 1"), Rule("high", "close > 2")


def test_rules_are_numbered_from_one_no_number_is_given_twice_and_other_words_keep_it() -> None:
    rules = rule_set(INPUTS, [LOW, HIGH])
    again = rules.without_rule("high").with_rule(HIGH)
    assert (again.numbers, again.rules) == ((1, 3), (LOW, HIGH))
    assert rules.with_rule(replace(LOW)) == rules, "the same rule again changes nothing"
    worded = replace(LOW, severity="critical", message="{symbol} is low")
    changed = rules.with_rule(worded)
    assert (rules.numbers, rules.rules) == ((1, 2), (LOW, HIGH)), "a set stays as it is"
    assert (changed.numbers, changed.rules) == ((1, 2), (worded, HIGH))
    assert changed.rule_of(1) == worded


@pytest.mark.parametrize("changes", [
    {"expression": "close < 2"}, {"clear": "close > 3"}, {"timeframe": "5m"}, {"for_s": 1.0}, {"cooldown_s": 1.0},
    {"symbols": ("AAA",)},
])  # fmt: skip
def test_another_computation_has_another_number(changes: dict[str, object]) -> None:
    other = Rule(**{"name": "low", "expression": "close < 1", **changes})  # type: ignore[arg-type]
    changed = rule_set(INPUTS, [LOW, HIGH]).with_rule(other)
    assert (changed.numbers, changed.rules) == ((2, 3), (HIGH, other))


def test_an_unknown_rule_is_not_found_a_name_stands_once_and_rules_and_what_they_remember_have_a_most() -> None:
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


def test_memory_holds_what_operators_need_from_row_to_row_and_the_stack_is_as_high_as_the_expression_needs() -> None:
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


def test_each_rule_has_memory_of_its_own_and_rules_run_and_feed_by_timeframe() -> None:
    expressions = ("prev(close, 4) > close@1h", "close > 1", "close crosses_above close@1h")
    program = program_of(*expressions, clear="prev(low) > 1")
    starts, stops = program.rules["memory"].tolist(), program.rules["memory_stop"].tolist()
    assert (starts, stops, program.width) == ([0, 6, 7], [6, 7, 11], 11)
    hour, minute = Rule("hour", "close@5m > 1", timeframe="1h"), Rule("minute", "close > low@1h", timeframe="1m")
    program = rule_set(INPUTS, [hour, minute, Rule("other", "close > open@1h")]).program
    run, feed = program.run_start.tolist(), program.feed_start.tolist()
    assert [program.run[a:b].tolist() for a, b in pairwise(run)] == [[], [1, 2], [], [0]]
    assert [program.feeds[a:b]["rule"].tolist() for a, b in pairwise(feed)] == [[], [], [0], [1, 2]]
