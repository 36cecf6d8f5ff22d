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


BACK_AND_FORTH = [(5, 11), (4, 9), (3, 11), (3, 9)]


@pytest.mark.parametrize(("fields", "closed", "expected"), [
    ({"for_s": 120}, [Closed(minute, {"close": 11}) for minute in (1, 1.5, 2.5, 7)], [(7, "raised")]),
    ({"clear": "close < sma_20"}, minutes(close=[11, 11, 11, 11], sma_20=[NULL, 5, NULL, 12]),
     [(2, "raised"), (4, "cleared")]),
    ({"clear": "low < 0", "for_s": 60}, minutes(close=[11] * 6, low=[1, 1, -1, 1, 1, 1]),
     [(2, "raised"), (3, "cleared"), (5, "raised")]),
    ({"timeframe": "100t"}, [Closed(m, {"close": close}, "100t", together=False) for m, close in BACK_AND_FORTH],
     [(5, "raised"), (4, "cleared"), (3, "raised"), (3, "cleared")]),
], ids=["for is event time, not a number of rows", "it is not raised while the clear expression is unknown",
        "after a clear the time of for begins anew", "tick bars whose time goes back still raise"])  # fmt: skip
def test_it_lives_by_event_time_and_by_what_is_known(fields: Any, closed: list[Closed], expected: list[Any]) -> None:
    found = events_of(Rule(**{"name": "r", "expression": "close > 10", **fields}), closed)
    assert found == [(minute, "r", state) for minute, state in expected]
