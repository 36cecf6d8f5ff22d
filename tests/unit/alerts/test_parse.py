"""What people write as a rule's expression, and what they are told when it cannot be read."""

import pytest

from alert_rows import INPUTS
from marketpulse.alerts.parse import parse_condition
from marketpulse.alerts.tree import Column, Node, Number
from marketpulse.errors import ParameterError

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


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("rsi_14 < 30", "(rsi_14 < 30)"),
        ("  RSI_14<30.5\n", "(rsi_14 < 30.5)"),
        ("close > .5e-3", "(close > 0.0005)"),
        ("close >= 1 + 2 * 3", "(close >= (1 + (2 * 3)))"),
        ("close == (1 + 2) * 3", "(close == ((1 + 2) * 3))"),
        ("close != 8 - 4 - 2", "(close != ((8 - 4) - 2))"),
        ("close <= 8 / 4 / 2", "(close <= ((8 / 4) / 2))"),
        ("-close * 2 < - - 3", "((negate(close) * 2) < negate(negate(3)))"),
        ("+close > 1", "(close > 1)"),
        ("close > 1 or open > 2 and low > 3", "((close > 1) or ((open > 2) and (low > 3)))"),
        ("(close > 1 or open > 2) and low > 3", "(((close > 1) or (open > 2)) and (low > 3))"),
        ("not close > 1 and low > 3", "(not((close > 1)) and (low > 3))"),
        ("NOT (close > 1 AND not low > 3)", "not(((close > 1) and not((low > 3))))"),
        ("close > 1 or low > 2 or high > 3", "(((close > 1) or (low > 2)) or (high > 3))"),
        ("close crosses_above sma_20 * 2", "(close crosses_above (sma_20 * 2))"),
        ("rsi_14 < 30 and close crosses_below sma_20@1h", "((rsi_14 < 30) and (close crosses_below sma_20@1h))"),
        ("rsi_14 @ 5m < 30", "(rsi_14@5m < 30)"),
        ("rsi_14@1m < 30", "(rsi_14 < 30)"),
        ("change_pct(close, 5) > 2", "(change_pct(close, 5) > 2)"),
        ("prev(close) < prev(close, 3)", "(prev(close, 1) < prev(close, 3))"),
        ("abs(close - open) > max(1, 2, low)", "(abs((close - open)) > max(1, 2, low))"),
        ("min(prev(low), low) < 1", "(min(prev(low, 1), low) < 1)"),
        ("session_vwap > vwap", "(session_vwap > vwap)"),
        pytest.param("(" * 40 + "close > 1" + ")" * 40, "(close > 1)", id="forty levels"),
    ],
)
def test_an_expression_means_what_its_parentheses_would_say(text: str, meaning: str) -> None:
    assert written_out(read(text)) == meaning


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("", "expected a column, a number or a function, found the end", 0),
        ("close", "expected a condition, such as close > 100, found a number", 0),
        ("rsi_15 < 30", "unknown column 'rsi_15'; did you mean 'rsi_14'?", 0),
        ("1 < 2 and zzz > 3", f"unknown column 'zzz'; a rule reads {', '.join(INPUTS.columns)}", 10),
        ("close > sma(20)", f"{NO_FUNCTION.format('sma')}; did you mean 'sma_20'?", 8),
        ("close(3) > 1", f"{NO_FUNCTION.format('close')}: write close", 0),
        ("close@2h > 1", "expected a timeframe: there is 100t, 1m, 5m, 1h", 6),
        ("close@ > 1", "expected a timeframe: there is 100t, 1m, 5m, 1h", 7),
        ("close@100t > 1", TICKS_ALONE, 6),
        ("close > 1x", "this is not a number", 8),
        ("close > 1_000", "this is not a number", 8),
        ("close > 1.2.3", "this is not a number", 8),
        ("close > 1e999", "this number is too large", 8),
        ("close > 1 2", "expected an operator or the end, found '2'", 10),
        ("close > 1)", "expected an operator or the end, found ')'", 9),
        ("(close > 1", 'expected ")", found the end', 10),
        ("close = 1", "unknown sign '=': write ==", 6),
        ("close > 1 && low > 2", "unknown sign '&': write and", 10),
        ("close > 1 | low > 2", "unknown sign '|': write or", 10),
        ("!close > 1", "unknown sign '!': write not", 0),
        ("close >", "expected a column, a number or a function, found the end", 7),
        ("close > and", "expected a column, a number or a function, found 'and'", 8),
        ("close > 5%", "expected an operator or the end, found '%'", 9),
        ("20 < rsi_14 < 80", "comparisons do not chain: write a < b and b < c", 12),
        ("(close > 1) > 2", "comparisons do not chain: write a < b and b < c, and compare numbers", 0),
        ("close > (low > 2)", "expected a number, found a condition", 8),
        ("close and low > 2", "expected a condition before 'and', found a number", 0),
        ("low > 2 or close", "expected a condition, such as close > 100, found a number", 11),
        ("not close", "expected a condition, such as close > 100, found a number", 4),
        ("close > 1 + (low > 2)", "expected a number, found a condition", 12),
        ("(low > 2) * 3 > 1", "expected a number, found a condition", 0),
        ("-(low > 2) > 1", "expected a number, found a condition", 1),
        ("abs(low > 2) > 1", "expected a number, found a condition", 4),
        ("abs > 1", 'expected "(" after the function abs', 4),
        ("abs(1, 2) > close", 'expected ")", found \',\'', 5),
        ("min(close) > 1", "min takes two or more numbers, such as min(open, close)", 9),
        ("max(close, 1 > 1", "expected a number, found a condition", 11),
        ("max(close, 1; 2) > 1", 'expected "," or ")", found \';\'', 12),
        ("change_pct(close) > 1", "change_pct takes a number and how many bars back: change_pct(close, 5)", 16),
        ("change_pct(close, 0) > 1", "change_pct: how many bars back must be a whole number from 1 to 1000", 18),
        ("change_pct(close, n) > 1", "change_pct: how many bars back must be a whole number from 1 to 1000", 18),
        ("prev(close, 1.5) > 1", "prev: how many bars back must be a whole number from 1 to 1000", 12),
        ("prev(close, 1001) > 1", "prev: how many bars back must be a whole number from 1 to 1000", 12),
        ("1 < 2", "it reads no column, so it is always the same", 0),
        ("-" * 41 + "close > 1", "it nests deeper than 40 levels", 41),
        ("(" * 1_000, "it nests deeper than 40 levels", 41),
    ],
)  # fmt: skip
def test_a_fault_is_named_and_pointed_at(text: str, message: str, caret: int) -> None:
    with pytest.raises(ParameterError) as caught:
        read(text)
    assert str(caught.value).split("\n") == [f"rule 'r': {message}", f"  {text}", " " * (2 + caret) + "^"]


def test_a_fault_shows_its_own_line_of_a_longer_text() -> None:
    with pytest.raises(ParameterError) as caught:
        read("close > 1\n\tand clsoe < 5\nor low > 3")
    headline = "rule 'r': unknown column 'clsoe'; did you mean 'close'?"
    assert str(caught.value).split("\n") == [headline, "   and clsoe < 5", "       ^"]


def test_a_rule_on_tick_bars_reads_tick_bars() -> None:
    assert written_out(read("close > prev(close)", "100t")) == "(close@100t > prev(close@100t, 1))"
    with pytest.raises(ParameterError, match=TICKS_ALONE):
        read("close@1m > 1", "100t")
