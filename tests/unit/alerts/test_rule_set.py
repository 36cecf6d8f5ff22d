"""Rules that come and go, and the numbers that they keep."""

from dataclasses import replace

import pytest

from alert_rows import INPUTS
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RULES_MAX, rule_set
from marketpulse.errors import ParameterError

LOW, HIGH = Rule("low", "close < 1"), Rule("high", "close > 2")


def test_rules_are_numbered_from_one_and_no_number_is_given_twice() -> None:
    rules = rule_set(INPUTS, [LOW, HIGH])
    assert rules.numbers == (1, 2)
    rules = rules.without_rule("high").with_rule(HIGH)
    assert (rules.numbers, rules.rules) == ((1, 3), (LOW, HIGH))


def test_a_set_stays_as_it_is() -> None:
    rules = rule_set(INPUTS, [LOW])
    rules.with_rule(HIGH)
    rules.without_rule("low")
    assert rules.rules == (LOW,)


def test_the_same_rule_again_changes_nothing() -> None:
    rules = rule_set(INPUTS, [LOW, HIGH])
    assert rules.with_rule(replace(LOW)) == rules


def test_other_words_keep_the_number() -> None:
    rules = rule_set(INPUTS, [LOW, HIGH])
    worded = replace(LOW, severity="critical", message="{symbol} is low")
    changed = rules.with_rule(worded)
    assert (changed.numbers, changed.rules) == ((1, 2), (worded, HIGH))
    assert changed.rule_of(1) == worded


@pytest.mark.parametrize(
    "other",
    [
        replace(LOW, expression="close < 2"),
        replace(LOW, clear="close > 3"),
        replace(LOW, timeframe="5m"),
        replace(LOW, for_s=1.0),
        replace(LOW, cooldown_s=1.0),
        replace(LOW, symbols=("AAA",)),
    ],
)
def test_another_computation_has_another_number(other: Rule) -> None:
    changed = rule_set(INPUTS, [LOW, HIGH]).with_rule(other)
    assert (changed.numbers, changed.rules) == ((2, 3), (HIGH, other))


def test_a_rule_that_is_not_there_is_not_found() -> None:
    rules = rule_set(INPUTS, [LOW])
    with pytest.raises(ParameterError, match="there is no rule 'high'"):
        rules.without_rule("high")
    with pytest.raises(ParameterError, match="there is no rule number 2"):
        rules.rule_of(2)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("r", "close > x"), "rule 'r': unknown column 'x'"),
        (Rule("r", "close > 1", clear="close <"), "rule 'r', clear: expected a column"),
        (Rule("r", "close > 1", message="{clsoe}"), "rule 'r', message: unknown name 'clsoe'"),
        (Rule("r", "close > 1", timeframe="2m"), "rule 'r': unknown timeframe '2m': there is 100t, 1m, 5m, 1h"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_by_name(rule: Rule, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        rule_set(INPUTS, [rule])
    assert str(caught.value).startswith(message)
    with pytest.raises(ParameterError) as caught:
        rule_set(INPUTS).with_rule(rule)
    assert str(caught.value).startswith(message)


def test_one_name_stands_once() -> None:
    with pytest.raises(ParameterError, match="'low' stands twice: rename one"):
        rule_set(INPUTS, [LOW, LOW])


def test_there_is_a_most_of_rules() -> None:
    many = rule_set(INPUTS, [Rule(f"r{i}", "close > 1") for i in range(RULES_MAX)])
    with pytest.raises(ParameterError, match="at most 1,000; remove one first"):
        many.with_rule(LOW)
    assert many.with_rule(Rule("r0", "close > 2")).numbers[-1] == RULES_MAX + 1
    with pytest.raises(ParameterError, match="at most 1,000, found 1,001"):
        rule_set(INPUTS, [*many.rules, LOW])


def test_there_is_a_most_that_rules_remember() -> None:
    ten = rule_set(INPUTS, [Rule(f"r{i}", "change_pct(close, 1000) > 1") for i in range(10)])
    with pytest.raises(ParameterError, match="they remember 10,001 numbers of each symbol, at most 10,000"):
        ten.with_rule(Rule("more", "prev(close) > 1"))
