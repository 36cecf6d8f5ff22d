"""What each operator gives, by hand; what rules on other timeframes see; and real bars against TA-Lib. And
docs/alerts.md is held against the rules: its tables are run, its errors raised, its JSON read."""

import csv
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from alert_rows import INPUTS, MINUTE, Closed, alert_rows_of, events_of, minutes, started
from marketpulse.alerts.closed_rows import alert_rows
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.events import CLEARED, EVENT, RAISED
from marketpulse.alerts.inputs import inputs_of
from marketpulse.alerts.parse import BARS_BACK_MAX, FUNCTIONS, parse_condition
from marketpulse.alerts.rule import SEVERITIES, Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json
from marketpulse.alerts.rule_set import MEMORY_MAX, RULES_MAX, RuleSet, rule_set
from marketpulse.alerts.tree import COMPARISONS, CROSSINGS, LOGIC, Node, Number, Operation
from marketpulse.engine.layout import CLOSED
from marketpulse.model.timeframe import parse_timeframes
from refused import refusal

DAILY = Path(__file__).parents[2] / "data" / "daily_bars" / "msft.csv"
NULL = float("nan")


def truth(expression: str, **columns: Sequence[float]) -> bool | None:
    """What the expression is on the last of these rows; None: unknown."""
    gate = [0.0] * (len(next(iter(columns.values()))) - 1) + [1.0]
    words = {"true": "", "false": "not"}
    rules = [Rule(name, f"{word} ({expression}) and trade_count == 1") for name, word in words.items()]
    found = [(name, state) for _, name, state in events_of(rules, minutes(trade_count=gate, **columns))]
    assert found in ([("true", "raised")], [("false", "raised")], [])
    return found[0][0] == "true" if found else None


HOLDS = {
    "2 + 3 * close - 4 / 2 == 6": [2], "-close * 2 + 5 == 1": [2], "abs(close) == 2": [-2], "min(4, close, 3) == 3": [5],
    "max(1, close, 3) == 5": [5], "prev(close) == 1": [1, 2], "prev(prev(close)) == 3": [1, 2, 3, 4, 5],
    "prev(close, 2) == 3": [1, 2, 3, 4, 5], "change_pct(close, 2) == -75": [8, 1, 2], "close <= 2": [2], "close >= 2": [2],
}  # fmt: skip
HOLDS_NOT = {"close < 2": [2], "close > 2": [2], "close != 2": [2]}


@pytest.mark.parametrize(("expression", "closes", "expected"), [
    *((e, c, True) for e, c in HOLDS.items()), *((e, c, False) for e, c in HOLDS_NOT.items()),
])  # fmt: skip
def test_an_operator_gives_what_a_hand_gives(expression: str, closes: list[float], expected: bool) -> None:
    assert truth(expression, close=closes) is expected


@pytest.mark.parametrize(("left", "right", "crosses_above", "crosses_below"), [
    ([2, 3], [2, 2], True, False), ([2, 1], [2, 2], False, True),  # equal before counts as the other side
    ([1, 2], [2, 2], False, False), ([3, 2], [2, 2], False, False),  # equal now does not count as beyond
    ([1, 1], [2, 0], True, False), ([1, 1], [0, 2], False, True),  # the right side may be the one that moves
    ([NULL, 3], [2, 2], None, None), ([1, 3], [NULL, 2], None, None), ([1, NULL], [2, 2], None, None),
    ([1, 3], [2, NULL], None, None), ([1, NULL, 3], [2, 2, 2], None, None), ([3], [2], None, None),
])  # fmt: skip
def test_a_crossing_is_from_the_other_side_or_equal_to_strictly_beyond(
    left: list[float], right: list[float], crosses_above: bool | None, crosses_below: bool | None
) -> None:
    assert truth("close crosses_above sma_20", close=left, sma_20=right) is crosses_above
    assert truth("close crosses_below sma_20", close=left, sma_20=right) is crosses_below


UNKNOWN = [
    "not close > 1", "close == close", "close + 1 > 0", "min(close, low) > 0", "low > 0 and close > 1", "prev(low) == 1",
    "low / 0 > 1", "0 * low / 0 == 0", "low * 1e308 * 10 > 1",
]  # fmt: skip
NO_MATTER = {
    "low > 0 or close > 1": True, "close > 1 or low > 0": True, "low > 1 and close > 1": False, "close > 1 and low > 1": False,
}  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), [*((text, None) for text in UNKNOWN), *NO_MATTER.items()])
def test_what_is_not_known_stays_unknown_unless_it_does_not_matter(expression: str, expected: bool | None) -> None:
    """The only row has no close, and 1 as its low."""
    assert truth(expression, close=[NULL], low=[1.0]) is expected


def test_prev_counts_unknown_rows_too_changes_from_nothing_are_unknown_and_real_bars_move_as_talib_says() -> None:
    assert truth("prev(close) > 0", close=[1, NULL, 3]) is None
    assert truth("prev(close, 2) == 1", close=[1, NULL, 3]) is True
    assert truth("change_pct(close, 2) == 200", close=[1, NULL, 3]) is True
    assert [truth("change_pct(close, 1) > 0", close=[before, 3]) for before in (0.0, NULL)] == [None, None]
    with DAILY.open(encoding="utf-8-sig") as file:
        close = np.array([float(row["close"]) for row in csv.DictReader(file)])
    expected = talib.ROC(close, 5)
    events = run(rule_set(INPUTS, [Rule("r", "change_pct(close, 5) > 2.0007")]), minutes(close=close.tolist()))
    above = expected > 2.0007  # a threshold that no change of these closes comes near
    assert np.nanmin(np.abs(expected - 2.0007)) > 1e-6
    changes = np.flatnonzero(np.diff(above, prepend=False))
    assert len(changes) > 20
    assert events["row"].tolist() == changes.tolist()
    assert (events["state"] == np.where(above[changes], RAISED, CLEARED)).all()
    np.testing.assert_allclose(events["value"], expected[changes], rtol=1e-9, atol=1e-9)


def run(rules: RuleSet, closed: Sequence[Closed]) -> np.ndarray:
    """The EVENT rows of these rules over these rows."""
    return evaluate(started(rules), rules, alert_rows_of(closed))[1]


def test_a_volume_spike_is_seen_on_its_row_and_the_value_is_what_stands_left_of_the_first_comparison() -> None:
    closed = minutes(volume=[100, 299, 301, 100], volume_sma_20=[100, 100, 100, 110])
    events = events_of(Rule("spike", "volume > 3 * volume_sma_20"), closed)
    assert events == [(3, "spike", "raised"), (4, "spike", "cleared")]
    rules = rule_set(INPUTS, [Rule("r", "abs(close - open) * 2 > 5 or volume > 1", clear="volume < 0")])
    found = run(rules, minutes(close=[4, 1, 1], open=[1, NULL, 3], volume=[0, -1, 2]))
    assert found["state"].tolist() == [RAISED, CLEARED, RAISED]
    np.testing.assert_array_equal(found["value"], [6.0, NULL, 4.0])


def test_an_event_says_where_and_when_events_come_by_row_and_rule_and_see_only_what_came_before() -> None:
    rules = rule_set(INPUTS, [Rule("low", "close < 1"), Rule("high", "close > 2")])
    events = run(rules, [Closed(1, {"close": 1.5}, symbol=1), Closed(2, {"close": 9.0}, symbol=2)])
    assert (events.dtype, events.tolist()) == (EVENT, [(2, 2, 1, 1 * MINUTE, 2 * MINUTE, RAISED, 0, 0, 9.0, 0)])
    rules = rule_set(INPUTS, [Rule("b", "close > 1"), Rule("a", "close > 2"), Rule("c", "close > 3")])
    events = run(rules, [Closed(1, {"close": 9}, symbol=1), Closed(1, {"close": 3}, symbol=0)])
    assert events[["symbol", "rule"]].tolist() == [(1, 1), (1, 2), (1, 3), (0, 1), (0, 2)]
    rules = rule_set(INPUTS, [Rule("r", "close > 1", symbols=("BBB",))])
    assert run(rules, [Closed(1, {"close": 2}, symbol=s) for s in (0, 1, 2)])["symbol"].tolist() == [1]
    closed = [Closed(60, {"close": 1}, symbol=0), Closed(60, {"close": 200}, "1h", symbol=1)]
    assert events_of(Rule("r", "close@1h > 0"), closed) == []
    alone = [row._replace(together=False) for row in HOUR_AT_60]
    assert events_of(Rule("r", "close@1h == 200"), alone) == [(61, "r", "raised")]
    assert events_of(Rule("r", "close@1m == 2", timeframe="1h"), alone) == [(60, "r", "raised")]


HOUR_AT_60 = [
    Closed(59, {"close": 1}), Closed(60, {"close": 2}), Closed(60, {"close": 20}, "5m"),
    Closed(60, {"close": 200}, "1h"), Closed(61, {"close": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("timeframe", "expression", "expected"), [
    ("1m", "close@1h == 200", [(60, "raised")]), ("1h", "close@1m == 2 and close@5m == 20", [(60, "raised")]),
    ("1m", "close@1h != 200", []),  # before the first hour it is unknown, not true
    ("1m", "prev(close@1h) == 200", [(61, "raised")]),
])  # fmt: skip
def test_other_timeframes_are_seen_from_the_instant_of_their_close(
    timeframe: str, expression: str, expected: list[tuple[float, str]]
) -> None:
    found = events_of(Rule("r", expression, timeframe=timeframe), HOUR_AT_60)
    assert [(minute, state) for minute, _, state in found] == expected


def test_more_events_than_one_output_holds_all_leave_and_no_rows_or_rules_give_none() -> None:
    closes = [float(i % 2) for i in range(5_000)]
    found = events_of([Rule(f"r{k}", f"close > {k / 10}") for k in range(7)], minutes(close=closes))
    assert found == [(i + 1, f"r{k}", "raised" if i % 2 else "cleared") for i in range(1, 5_000) for k in range(7)]
    none, some = rule_set(INPUTS), rule_set(INPUTS, [Rule("r", "close > 1")])
    for rules, closed in ((none, minutes(close=[2.0])), (some, [])):
        state = started(rules)
        before = state.copy()
        after, events = evaluate(state, rules, alert_rows_of(closed))
        assert (len(events), after.life.tobytes()) == (0, before.life.tobytes())


def test_rows_and_states_that_are_not_of_the_rules_are_refused() -> None:
    rules = rule_set(INPUTS, [Rule("r", "close > 1")])
    rows, state = alert_rows_of(minutes(close=[1.0])), started(rules)
    for symbol in (3, -1):
        assert "a row's symbol is not known" in refusal(run, rules, [Closed(1, {}, symbol=symbol)])
    narrow, later = rows._replace(values=rows.values[:, 1:].copy()), rows._replace(frame=rows.frame + 4)
    assert "rows have 11 columns, found an array" in refusal(evaluate, state, rules, narrow)
    assert "a row's timeframe is none of the 4" in refusal(evaluate, state, rules, later)
    other = rules.with_rule(Rule("s", "close > 2"))
    assert "this state is not of these rules" in refusal(evaluate, state, other, rows)


def test_the_engines_bars_and_indicators_stand_in_the_order_of_the_inputs() -> None:
    closed = np.zeros(2, CLOSED)
    closed[["symbol", "frame", "open_ns", "close_ns"]] = [(4, 1, 10, 20), (5, 2, 20, 40)]
    numbers = [(1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 4, 5, np.nan, -1)]
    closed[["open", "high", "low", "close", "volume", "vwap", "trade_count"]] = numbers
    rows = alert_rows(closed, np.array([[8.0, 9.0, 10.0, 11.0], [np.nan] * 4]), np.array([True, False]))
    assert dict(zip(INPUTS.columns, rows.values[0].tolist(), strict=True)) == {
        "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "vwap": 6, "trade_count": 7, "sma_20": 8,
        "rsi_14": 9, "volume_sma_20": 10, "session_vwap": 11,
    }  # fmt: skip
    np.testing.assert_array_equal(rows.values[1], [1, 2, 3, 4, 5, *[np.nan] * 6])
    assert (rows.symbol.tolist(), rows.frame.tolist(), rows.open_ns.tolist()) == ([4, 5], [1, 2], [10, 20])
    assert (rows.close_ns.tolist(), rows.together.tolist()) == ([20, 40], [True, False])
    assert all(array.flags.c_contiguous for array in rows)


PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
PAGE_INPUTS = inputs_of(["sma_20", "rsi_14", "volume_sma_20", "vwap"], parse_timeframes(["1m", "5m", "1h", "1d"]))
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
    assert (rule_set(PAGE_INPUTS, [rule]).rules, rule.severity) == ((rule,), "critical")
    (configured,) = tomllib.loads(blocks("toml")[0])["engine"]["alerts"]
    assert rule_set(PAGE_INPUTS, [rule_from_json(configured)]).rules[0].cooldown_s == 3600
    put, removed = changes.splitlines()
    rules = change_from_json(json.loads(put), rule_set(PAGE_INPUTS))
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
    assert refusal(rule_set, PAGE_INPUTS, [Rule("oversold", shown.splitlines()[1].strip())]) == shown.rstrip("\n")


def shape(text: str) -> Any:
    """The tree without places in the text."""

    def of(node: Node) -> Any:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Operation):
            return (node.name, *(of(part) for part in node.parts))
        return node.column

    return of(parse_condition(text, PAGE_INPUTS, 0, "page"))


@pytest.mark.parametrize(("wanted", "expression"), table("wanted", "expression"))
def test_what_people_ask_for_can_be_read(wanted: str, expression: str) -> None:
    (text,) = code(expression)
    assert rule_set(PAGE_INPUTS, [Rule("r", text)]).numbers == (1,)


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
