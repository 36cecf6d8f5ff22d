"""When an alert is raised and when it is cleared: flaps, `for`, cooldown, clear expressions, unknown rows."""

from typing import Any

import pytest

from alert_rows import Closed, events_of, minutes
from marketpulse.alerts.rule import Rule

NULL = float("nan")


def life(closes: list[float], **fields: Any) -> list[str]:
    """`+` where the alert is raised, `-` where it is cleared, `.` elsewhere: by minute."""
    rule = Rule(**{"name": "r", "expression": "close > 10", **fields})
    marks = {minute: "+" if state == "raised" else "-" for minute, _, state in events_of(rule, minutes(close=closes))}
    return [marks.get(i + 1.0, ".") for i in range(len(closes))]


def test_it_is_raised_once_while_it_holds_and_cleared_once_when_it_no_longer_does() -> None:
    assert life([9, 11, 12, 10, 9, 11]) == list(".+.-.+")


def test_a_flap_raises_and_clears_each_time() -> None:
    assert life([11, 9, 11, 9, 11]) == list("+-+-+")


def test_unknown_rows_neither_raise_nor_clear() -> None:
    assert life([NULL, 11, NULL, NULL, 11, 9, NULL, 9]) == list(".+...-..")


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([11, 11, 11, 11], "..+."),  # held for 2 minutes at the third close
        ([11, 11, 9, 11, 11, 11], ".....+"),  # a row on which it does not hold restarts the time
        ([11, 11, NULL, 11, 11, 11], ".....+"),  # and so does an unknown one
        ([11, 11, 11, 9, 11, 11, 11], "..+-..+"),
    ],
)
def test_for_is_how_long_it_must_have_held(closes: list[float], expected: str) -> None:
    assert life(closes, for_s=120) == list(expected)


def test_for_is_event_time_not_a_number_of_rows() -> None:
    rule = Rule("r", "close > 10", for_s=120)
    closed = [Closed(minute, {"close": 11}) for minute in (1, 1.5, 2.5, 7)]
    assert events_of(rule, closed) == [(7, "r", "raised")]


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([11, 9, 11, 11, 11], "+-.+."),  # raised again 3 minutes after the raise, not before
        ([11, 9, 9, 9, 11], "+-..+"),
        ([11, 11, 11, 9, 11], "+..-+"),  # counted from the raise, not from the clear
    ],
)
def test_a_cooldown_keeps_it_from_being_raised_again(closes: list[float], expected: str) -> None:
    assert life(closes, cooldown_s=180) == list(expected)


def test_the_time_of_for_runs_during_the_cooldown() -> None:
    assert life([11, 11, 9, 11, 11, 11, 11], for_s=60, cooldown_s=240) == list(".+-..+.")


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([11, 9, 11, 9, 7, 9, 11], "+...-.+"),  # between 8 and 10 nothing happens
        ([11, NULL, 7], "+.-"),
        ([9, 7, 11], "..+"),
    ],
)
def test_a_clear_expression_makes_a_band(closes: list[float], expected: str) -> None:
    assert life(closes, clear="close < 8") == list(expected)


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([11, 13, 11, 13, 11], "+-+-+"),  # 13 clears, and a row that clears does not raise
        ([13, 13, 11], "..+"),
        ([11, 13, 13, 13], "+-.."),
    ],
)
def test_where_both_hold_it_is_cleared_and_not_raised(closes: list[float], expected: str) -> None:
    assert life(closes, clear="close > 12") == list(expected)


def test_it_is_not_raised_while_the_clear_expression_is_unknown() -> None:
    rule = Rule("r", "close > 10", clear="close < sma_20")
    closed = minutes(close=[11, 11, 11, 11], sma_20=[NULL, 5, NULL, 12])
    assert events_of(rule, closed) == [(2, "r", "raised"), (4, "r", "cleared")]


def test_after_a_clear_the_time_of_for_begins_anew() -> None:
    rule = Rule("r", "close > 10", clear="low < 0", for_s=60)
    closed = minutes(close=[11] * 6, low=[1, 1, -1, 1, 1, 1])
    assert events_of(rule, closed) == [(2, "r", "raised"), (3, "r", "cleared"), (5, "r", "raised")]


def test_a_crossing_is_raised_on_its_row_and_cleared_on_the_next() -> None:
    assert life([9, 11, 12, 9, 11], expression="close crosses_above 10") == list(".+-.+")


def test_tick_bars_whose_time_goes_back_still_raise() -> None:
    rule = Rule("r", "close > 10", timeframe="100t")
    closed = [
        Closed(minute, {"close": close}, "100t", together=False) for minute, close in ((5, 11), (4, 9), (3, 11), (3, 9))
    ]
    assert [state for _, _, state in events_of(rule, closed)] == ["raised", "cleared", "raised", "cleared"]
