"""When an alert is raised and when it is cleared: flaps, `for`, cooldown, clear expressions, unknown rows."""

from typing import Any

import pytest

from alert_rows import Closed, events_of, minutes
from marketpulse.alerts.rule import Rule

NULL = float("nan")


@pytest.mark.parametrize(
    ("fields", "lives"),
    [
        # raised once while it holds and cleared once when it no longer does; each flap; unknown rows do neither
        ({}, [([9, 11, 12, 10, 9, 11], ".+.-.+"), ([11, 9, 11, 9, 11], "+-+-+"),
              ([NULL, 11, NULL, NULL, 11, 9, NULL, 9], ".+...-..")]),
        # held for 2 minutes at the third close; a row on which it does not hold restarts the time, as an unknown one does
        ({"for_s": 120}, [([11, 11, 11, 11], "..+."), ([11, 11, 9, 11, 11, 11], ".....+"),
                          ([11, 11, NULL, 11, 11, 11], ".....+"), ([11, 11, 11, 9, 11, 11, 11], "..+-..+")]),
        # raised again 3 minutes after the raise, not before, counted from the raise and not from the clear
        ({"cooldown_s": 180}, [([11, 9, 11, 11, 11], "+-.+."), ([11, 9, 9, 9, 11], "+-..+"), ([11, 11, 11, 9, 11], "+..-+")]),
        # the time of `for` runs during the cooldown
        ({"for_s": 60, "cooldown_s": 240}, [([11, 11, 9, 11, 11, 11, 11], ".+-..+.")]),
        # a band: between 8 and 10 nothing happens
        ({"clear": "close < 8"}, [([11, 9, 11, 9, 7, 9, 11], "+...-.+"), ([11, NULL, 7], "+.-"), ([9, 7, 11], "..+")]),
        # 13 clears, and a row that clears does not raise
        ({"clear": "close > 12"}, [([11, 13, 11, 13, 11], "+-+-+"), ([13, 13, 11], "..+"), ([11, 13, 13, 13], "+-..")]),
        # raised on its row and cleared on the next
        ({"expression": "close crosses_above 10"}, [([9, 11, 12, 9, 11], ".+-.+")]),
    ],
    ids=["nothing more", "for", "cooldown", "for and cooldown", "a band", "both hold", "a crossing"],
)  # fmt: skip
def test_it_is_raised_and_cleared_by_its_rule(fields: dict[str, Any], lives: list[tuple[list[float], str]]) -> None:
    """`+` where the alert is raised, `-` where it is cleared, `.` elsewhere: by minute."""
    rule = Rule(**{"name": "r", "expression": "close > 10", **fields})
    for closes, expected in lives:
        events = events_of(rule, minutes(close=closes))
        marks = {minute: "+" if state == "raised" else "-" for minute, _, state in events}
        assert "".join(marks.get(i + 1.0, ".") for i in range(len(closes))) == expected, closes


def test_for_is_event_time_not_a_number_of_rows() -> None:
    closed = [Closed(minute, {"close": 11}) for minute in (1, 1.5, 2.5, 7)]
    assert events_of(Rule("r", "close > 10", for_s=120), closed) == [(7, "r", "raised")]


def test_it_is_not_raised_while_the_clear_expression_is_unknown() -> None:
    closed = minutes(close=[11, 11, 11, 11], sma_20=[NULL, 5, NULL, 12])
    events = events_of(Rule("r", "close > 10", clear="close < sma_20"), closed)
    assert events == [(2, "r", "raised"), (4, "r", "cleared")]


def test_after_a_clear_the_time_of_for_begins_anew() -> None:
    closed = minutes(close=[11] * 6, low=[1, 1, -1, 1, 1, 1])
    events = events_of(Rule("r", "close > 10", clear="low < 0", for_s=60), closed)
    assert events == [(2, "r", "raised"), (3, "r", "cleared"), (5, "r", "raised")]


def test_tick_bars_whose_time_goes_back_still_raise() -> None:
    ticks = [(5, 11), (4, 9), (3, 11), (3, 9)]
    closed = [Closed(minute, {"close": close}, "100t", together=False) for minute, close in ticks]
    events = events_of(Rule("r", "close > 10", timeframe="100t"), closed)
    assert [state for _, _, state in events] == ["raised", "cleared", "raised", "cleared"]
