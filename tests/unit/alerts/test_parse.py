"""What people write as a rule's expression, and what they are told when it cannot be read."""

import pytest

from alert_rows import INPUTS
from marketpulse.alerts.parse import parse_condition
from marketpulse.alerts.tree import Column, Node, Number
from refused import refusal

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
    ("rsi_14 < 30", "(rsi_14 < 30)"), ("  RSI_14<30.5\n", "(rsi_14 < 30.5)"), ("close > .5e-3", "(close > 0.0005)"),
    ("close >= 1 + 2 * 3", "(close >= (1 + (2 * 3)))"), ("close == (1 + 2) * 3", "(close == ((1 + 2) * 3))"),
    ("close != 8 - 4 - 2", "(close != ((8 - 4) - 2))"), ("close <= 8 / 4 / 2", "(close <= ((8 / 4) / 2))"),
    ("-close * 2 < - - 3", "((negate(close) * 2) < negate(negate(3)))"), ("+close > 1", "(close > 1)"),
    ("close > 1 or open > 2 and low > 3", "((close > 1) or ((open > 2) and (low > 3)))"),
    ("(close > 1 or open > 2) and low > 3", "(((close > 1) or (open > 2)) and (low > 3))"),
    ("not close > 1 and low > 3", "(not((close > 1)) and (low > 3))"),
    ("NOT (close > 1 AND not low > 3)", "not(((close > 1) and not((low > 3))))"),
    ("close > 1 or low > 2 or high > 3", "(((close > 1) or (low > 2)) or (high > 3))"),
    ("close crosses_above sma_20 * 2", "(close crosses_above (sma_20 * 2))"),
    ("rsi_14 < 30 and close crosses_below sma_20@1h", "((rsi_14 < 30) and (close crosses_below sma_20@1h))"),
    ("rsi_14 @ 5m < 30", "(rsi_14@5m < 30)"), ("rsi_14@1m < 30", "(rsi_14 < 30)"),
    ("change_pct(close, 5) > 2", "(change_pct(close, 5) > 2)"),
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
    "expected an operator, found 'between'": {"close between 1 and 2": 6},
    "expected an operator, found 'crosses_over': did you mean crosses_above?": {"close crosses_over sma_20": 6},
    "expected an operator, found 'crossunder': did you mean crosses_below?": {"close crossunder sma_20": 6},
    "expected an operator, found 'cross_above': did you mean crosses_above?": {"close cross_above sma_20": 6},
    "a column has one timeframe": {"close@5m@1h > 1": 8},
    "unknown sign '|': write or": {"close > 1 | low > 2": 10},
    "unknown sign '!': write not": {"!close > 1": 0},
    "expected a column, a number or a function, found 'and'": {"close > and": 8},
    "expected an operator or the end, found '%'": {"close > 5%": 9},
    "comparisons do not chain: write a < b and b < c": {"20 < rsi_14 < 80": 12},
    "comparisons do not chain: write a < b and b < c, and compare numbers": {"(close > 1) > 2": 0},
    "expected a number, found a condition": {
        "close > (low > 2)": 8, "close > 1 + (low > 2)": 12, "(low > 2) * 3 > 1": 0, "-(low > 2) > 1": 1,
        "abs(low > 2) > 1": 4, "max(close, 1 > 1": 11,
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


def test_a_fault_shows_its_own_line_of_a_longer_text_and_a_rule_on_tick_bars_reads_tick_bars_alone() -> None:
    said = refusal(read, "close > 1\n\tand clsoe < 5\nor low > 3").split("\n")
    assert said == ["rule 'r': unknown column 'clsoe'; did you mean 'close'?", "   and clsoe < 5", "       ^"]
    assert written_out(read("close > prev(close)", "100t")) == "(close@100t > prev(close@100t, 1))"
    assert TICKS_ALONE in refusal(read, "close@1m > 1", "100t")
