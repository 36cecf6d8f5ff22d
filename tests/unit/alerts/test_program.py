"""What rules need when they run: instructions, memory, and the height of the stack."""

import pytest

from alert_rows import INPUTS
from marketpulse.alerts.program import Program
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import rule_set


def program_of(*expressions: str, clear: str = "") -> Program:
    return rule_set(INPUTS, [Rule(f"r{i}", e, clear=clear) for i, e in enumerate(expressions)]).program


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("close > 1", 0),
        ("close crosses_above sma_20", 2),
        ("prev(close) > 1", 1),
        ("change_pct(close, 5) > prev(low, 3)", 8),
        ("close@1h > 1", 1),
        ("close@1h > close@5m and close@1h < 9", 2),  # what is kept once is read twice
        ("close@1m > 1", 0),
    ],
)
def test_memory_holds_what_operators_need_from_row_to_row(expression: str, columns: int) -> None:
    assert program_of(expression).width == columns


@pytest.mark.parametrize(
    ("expression", "height"),
    [
        ("close > 1", 2),
        ("close + 1 + 1 + 1 > 1", 2),
        ("close > 1 and low > 1 and high > 1", 3),
        ("close + (low + (high + 1)) > 1", 4),
        ("max(close, low, high, open) > 1", 2),
    ],
)
def test_the_stack_is_as_high_as_the_expression_needs(expression: str, height: int) -> None:
    assert program_of(expression).depth == height


def test_each_rule_has_memory_of_its_own() -> None:
    program = program_of(
        "prev(close, 4) > close@1h", "close > 1", "close crosses_above close@1h", clear="prev(low) > 1"
    )
    starts, stops = program.rules["memory"].tolist(), program.rules["memory_stop"].tolist()
    assert (starts, stops) == ([0, 6, 7], [6, 7, 11])
    assert program.width == 11


def test_rules_run_and_feed_by_timeframe() -> None:
    rules = rule_set(
        INPUTS,
        [
            Rule("hour", "close@5m > 1", timeframe="1h"),
            Rule("minute", "close > low@1h", timeframe="1m"),
            Rule("other", "close > open@1h"),
        ],
    )
    program = rules.program
    places = [program.run[a:b].tolist() for a, b in zip(program.run_start[:-1], program.run_start[1:], strict=True)]
    assert places == [[], [1, 2], [], [0]]
    feeds = [
        program.feeds[a:b]["rule"].tolist()
        for a, b in zip(program.feed_start[:-1], program.feed_start[1:], strict=True)
    ]
    assert feeds == [[], [], [0], [1, 2]]
