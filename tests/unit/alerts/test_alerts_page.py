"""docs/alerts.md is held against the rules: its tables are run, its errors raised, its JSON read."""

import json
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from alert_rows import Closed, events_of, minutes
from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.parse import BARS_BACK_MAX, FUNCTIONS, parse_condition
from marketpulse.alerts.rule import SEVERITIES, Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json
from marketpulse.alerts.rule_set import MEMORY_MAX, RULES_MAX, rule_set
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, LOGIC, Node, Number, Operation
from marketpulse.model.timeframe import parse_timeframes
from refused import refusal

PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
INPUTS = inputs_of(["sma_20", "rsi_14", "volume_sma_20", "vwap"], parse_timeframes(["1m", "5m", "1h", "1d"]))
CLOSES = "closes of the rows"


def table(*head: str) -> list[tuple[str, ...]]:
    """The rows of the page's table with this head."""
    line = f"| {' | '.join(head)} |"
    assert PAGE.count(f"{line}\n") == 1
    rows = PAGE.split(f"{line}\n")[1].split("\n\n")[0].splitlines()[1:]
    found = [tuple(cell.strip() for cell in row[1:-1].split("|")) for row in rows]
    assert found
    assert all(len(row) == len(head) for row in found)
    return found


def blocks(kind: str) -> list[str]:
    """The page's code blocks of this kind."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for its_kind, text in found if its_kind == kind]


def closes(cell: str) -> list[float]:
    return [float("nan") if word == "null" else float(word) for word in cell.split(", ")]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_pages_rules_and_changes_are_such_and_every_field_stands_there_with_its_default() -> None:
    shown, changes = blocks("json")[:2]
    rule = rule_from_json(json.loads(shown))
    assert (rule_set(INPUTS, [rule]).rules, rule.severity) == ((rule,), "critical")
    (configured,) = tomllib.loads(blocks("toml")[0])["engine"]["alerts"]
    assert rule_set(INPUTS, [rule_from_json(configured)]).rules[0].cooldown_s == 3600
    put, removed = changes.splitlines()
    rules = change_from_json(json.loads(put), rule_set(INPUTS))
    assert [rule.name for rule in rules.rules] == ["high"]
    assert change_from_json(json.loads(removed), rules).rules == ()
    stated = {code(name)[0]: default for name, default, _ in table("field", "default", "meaning")}
    assert list(stated) == [f.name for f in fields(Rule)]
    for field in fields(Rule):
        if field.default is MISSING:
            assert stated[field.name] == "required"
        else:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert json.loads(stated[field.name].strip("`")) == default
    assert all(f"`{severity}`" in PAGE for severity in SEVERITIES)


def test_every_word_of_the_language_stands_there_and_the_error_of_the_page_is_the_error() -> None:
    words = " ".join(what for what, _, _ in table("what", "binds", "meaning"))
    for word in (*FUNCTIONS, *COMPARISONS, *CROSSINGS, *LOGIC, "+", "-", "*", "/", "@"):
        assert word in words
    text = " ".join(PAGE.split())
    assert f"a whole number from 1 to {BARS_BACK_MAX}." in text
    assert f"at most {MEMORY_MAX:,} numbers of a symbol" in text
    assert f"at most {RULES_MAX:,} rules" in text
    (shown,) = [block for block in blocks("") if not block.startswith("$ ")]
    assert refusal(rule_set, INPUTS, [Rule("oversold", shown.splitlines()[1].strip())]) == shown.rstrip("\n")


def shape(text: str) -> Any:
    """The tree without places in the text."""

    def of(node: Node) -> Any:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Operation):
            return (node.name, *(of(part) for part in node.parts))
        return node.column

    return of(parse_condition(text, INPUTS, 0, "page"))


@pytest.mark.parametrize(("wanted", "expression"), table("wanted", "expression"))
def test_what_people_ask_for_can_be_read(wanted: str, expression: str) -> None:
    (text,) = code(expression)
    assert rule_set(INPUTS, [Rule("r", text)]).numbers == (1,)


@pytest.mark.parametrize(("expression", "numbers", "stated"), table("expression", CLOSES, "on the last one"))
def test_an_expression_is_what_the_page_says(expression: str, numbers: str, stated: str) -> None:
    (text,) = code(expression)
    close = closes(numbers)
    closed = minutes(close=close, trade_count=[0.0] * (len(close) - 1) + [1.0])
    rules = [Rule("true", f"({text}) and trade_count == 1"), Rule("false", f"not ({text}) and trade_count == 1")]
    assert [name for _, name, _ in events_of(rules, closed)] == ([] if stated == "unknown" else [stated])


@pytest.mark.parametrize(("has", "numbers", "marks"), table("the rule has", CLOSES, "events"))
def test_an_alert_lives_as_the_page_says(has: str, numbers: str, marks: str) -> None:
    options: dict[str, Any] = {}
    if has != "nothing more":
        name, *expression = code(has)
        options[name] = expression[0] if expression else float(has.split()[-1])
    found = events_of(Rule("r", "close > 10", **options), minutes(close=closes(numbers)))
    signs = {minute: "+" if state == "raised" else "-" for minute, _, state in found}
    assert [signs.get(i + 1.0, ".") for i in range(len(closes(numbers)))] == marks.split()


def test_a_minute_sees_the_hour_that_ends_with_it_and_what_binds_closer_goes_first() -> None:
    closed = [Closed(600, {"close": 1}), Closed(600, {"rsi_14": 25}, "1h")]
    assert events_of(Rule("r", "rsi_14@1h < 30"), closed) == [(600, "r", "raised")]
    # Between two levels that stand side by side, parentheses around the closer one change nothing
    pairs = {
        (7, 6): ("-close * 2 > 1", "(-close) * 2 > 1"),
        (6, 5): ("open + close * 2 > 1", "open + (close * 2) > 1"),
        (5, 4): ("1 < open + close", "1 < (open + close)"),
        (4, 3): ("not close > 1", "not (close > 1)"),
        (3, 2): ("not close > 1 and open > 1", "(not close > 1) and open > 1"),
        (2, 1): ("low > 1 or close > 1 and open > 1", "low > 1 or (close > 1 and open > 1)"),
    }
    levels = {int(binds) for _, binds, _ in table("what", "binds", "meaning") if binds}
    assert {level for pair in pairs for level in pair} == levels
    assert all(shape(plain) == shape(marked) for plain, marked in pairs.values())
