"""What people write, and what they are told when it cannot be read."""

import pytest

from marketpulse.indicators.catalogue import parse_indicators
from refused import refusal


@pytest.mark.parametrize(("text", "meaning"), [
    ("sma(20),rsi(14),macd(12,26,9)", ["sma(20)", "rsi(14)", "macd(12,26,9)"]), ("rsi", ["rsi(14)"]),
    ("rsi()", ["rsi(14)"]), ("  SMA ( 5 ) ,\n\tVwap , ", ["sma(5)", "vwap"]), ("ema(period=12)", ["ema(12)"]),
    ("macd(slow=30, fast=10)", ["macd(10,30,9)"]), ("macd(5, signal=4)", ["macd(5,26,4)"]),
    ("bbands(20, 2.5)", ["bbands(20,2.5)"]), ("bbands(deviations=.5)", ["bbands(20,0.5)"]),
    ("sma(1e2), sma(2.0)", ["sma(100)", "sma(2)"]), ("", []), (" \n ", []),
])  # fmt: skip
def test_indicators_are_read_in_the_order_written(text: str, meaning: list[str]) -> None:
    assert [spec.text for spec in parse_indicators(text)] == meaning


def test_texts_are_read_as_one_and_give_their_spec_again_and_a_fault_shows_its_own_line_of_a_longer_one() -> None:
    assert [s.text for s in parse_indicators(["sma(5)", "rsi,vwap"])] == ["sma(5)", "rsi(14)", "vwap"]
    specs = parse_indicators("sma(7), bbands(20,0.00001), macd, vwap")
    assert parse_indicators([spec.text for spec in specs]) == specs
    headline, *shown = refusal(parse_indicators, "sma(20),\nrsi, emma(3),\nvwap").split("\n")
    assert "'emma'; did you mean 'ema'" in headline
    assert shown == ["  rsi, emma(3),", "       ^"]


@pytest.mark.parametrize(("text", "message", "caret"), [
    ("sma(20),smaa(14)", "unknown indicator 'smaa'; did you mean 'sma'?", 8),
    ("qqq", "unknown indicator 'qqq'; `marketpulse indicators` lists them all", 0),
    ("sma_20", "unknown indicator 'sma_20': write sma(20)", 0),
    ("ichimoku_9_26_52_span_a", "unknown indicator 'ichimoku_9_26_52_span_a': write ichimoku(9,26,52)", 0),
    ("t3_5_0p7", "unknown indicator 't3_5_0p7': write t3(5,0.7)", 0),
    ("bbands_20_2p5_upper", "unknown indicator 'bbands_20_2p5_upper': write bbands(20,2.5)", 0),
    ("realized_volatility_5", "unknown indicator 'realized_volatility_5': write realized_volatility(5)", 0),
    ("rsi(14), rsi", "rsi(14) stands twice: remove one", 9),
    ("sma(0)", "sma: period must be from 1 to 10000, found 0", 4),
    ("sma(-3)", "sma: period must be from 1 to 10000, found -3", 4),
    ("bbands(20, 101)", "bbands: deviations must be from 0 to 100, found 101", 11),
    ("sma(2.5)", "sma: period must be a whole number, found 2.5", 4),
    ("sma(1e400)", "sma: period must be a whole number, found inf", 4),
    ("macd(26,12,9)", "macd: fast must be below slow, found 26 and 12", 0),
    ("sma(3,4)", "sma takes (period=20): one value too many", 6),
    ("vwap(3)", "vwap takes no parameters: one value too many", 5),
    ("ema(perod=3)", "ema takes (period=20): no parameter 'perod'", 4),
    ("macd(3, fast=4)", "macd: fast is given twice", 8),
    ("macd(slow=30, 4)", "a value by place cannot follow one by name: name it too", 14),
    ("ema(period 3)", 'expected "=" after period', 11), ("ema(period=)", "expected a number", 11),
    ("sma(1x)", "this is not a number", 4), ("sma(1.2.3)", "this is not a number", 4),
    ("sma(20", 'expected "," or ")"', 6), ("sma(20 30)", 'expected "," or ")"', 7),
    ("sma 20", 'expected "," between two indicators', 4), ("sma(20))", 'expected "," between two indicators', 7),
    ("sma,,rsi", "expected an indicator's name, such as sma", 4),
    ("20", "expected an indicator's name, such as sma", 0), ("sma; rsi", 'expected "," between two indicators', 3),
    ("sma(", "expected a number", 4),
])  # fmt: skip
def test_a_fault_is_named_and_pointed_at(text: str, message: str, caret: int) -> None:
    expected = [f"indicators: {message}", f"  {text}", " " * (2 + caret) + "^"]
    assert refusal(parse_indicators, text).split("\n") == expected
