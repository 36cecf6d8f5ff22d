"""What rules remember when symbols and rules come and go, and at the anchor; and what is told after a revision."""

from typing import Any

import numpy as np
import pytest

from alert_rows import INPUTS, MINUTE, Closed, alert_rows_of, events_of, minutes, readable, started
from marketpulse.alerts.differences import differences
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.events import CLEARED, EVENT, RAISED, WITHDRAWN, no_events
from marketpulse.alerts.life import LIFE, NEVER
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import RuleSet, rule_set
from marketpulse.alerts.state import AlertState, change_rules, learn_symbols, new_state, raised_alerts, return_to
from refused import refusal

RISEN = Rule("risen", "prev(close) < close")
HIGH = Rule("high", "close > 10", symbols=("A*",))
NAMES = ["AAA", "BBB", "CCC"]


def changed(before: RuleSet, after: RuleSet, minute: float, state: AlertState | None = None) -> AlertState:
    """The state, else that before the first row, from where the rules change at this minute."""
    state = started(before) if state is None else state
    return change_rules(state, before, after, NAMES, until(minute))


def run(state: AlertState, rules: RuleSet, closed: list[Closed]) -> list[tuple[float, str, str]]:
    _, events = evaluate(state, rules, alert_rows_of(closed))
    return readable(rules, events)


def until(minute: float) -> np.ndarray:
    return np.full(len(NAMES), int(minute * MINUTE))


def test_symbols_are_learned_in_any_number_of_portions_which_keeps_what_is_remembered() -> None:
    rules = rule_set(INPUTS, [RISEN, HIGH])
    names = [f"{letter}{i}" for i in range(40) for letter in "AB"]
    one = learn_symbols(new_state(rules), rules, names)
    many = new_state(rules)
    for n in (0, 1, 1, 15, 16, 17, 50, 80):
        many = learn_symbols(many, rules, names[:n])
    assert (one.symbols, many.symbols) == (80, 80)
    for a, b in ((one.life, many.life), (one.memory, many.memory)):
        assert a[:80].tobytes() == b[:80].tobytes()
    assert one.life["watched"][:80, 1].tolist() == [1, 0] * 40
    rules = rule_set(INPUTS, [RISEN])
    state = started(rules)
    assert run(state, rules, minutes(close=[5])) == []
    state = learn_symbols(state, rules, [*NAMES, *(f"S{i}" for i in range(100))])
    assert run(state, rules, [Closed(2, {"close": 6})]) == [(2, "risen", "raised")]


def test_a_state_is_plain_arrays_that_bytes_give_again_and_a_replay_meets_a_rule_where_it_was_put() -> None:
    rules = rule_set(INPUTS, [RISEN, HIGH])
    state = started(rules)
    run(state, rules, minutes(close=[5, 11]))
    life, memory = np.frombuffer(state.life.tobytes(), LIFE), np.frombuffer(state.memory.tobytes())
    shaped = (life.reshape(state.life.shape).copy(), memory.reshape(state.memory.shape).copy())
    again = AlertState(*shaped, state.symbols)
    later = [Closed(3, {"close": 7}), Closed(4, {"close": 8})]
    assert run(again, rules, later) == run(state, rules, later) == [
        (3, "risen", "cleared"), (3, "high", "cleared"), (4, "risen", "raised"),
    ]  # fmt: skip
    before = rule_set(INPUTS, [RISEN])
    anchor = started(before)
    state = anchor.copy()
    run(state, before, minutes(close=[5, 11, 12]))
    after = before.with_rule(HIGH)
    anchor, state = changed(before, after, 3, anchor), changed(before, after, 3, state)
    assert run(state, after, [Closed(4, {"close": 13})]) == [(4, "high", "raised")]
    assert run(anchor, after, minutes(close=[5, 11, 12, 13])) == [(2, "risen", "raised"), (4, "high", "raised")]
    assert anchor.life.tobytes() == state.life.tobytes()
    np.testing.assert_array_equal(anchor.memory, state.memory)


def test_a_rule_that_stays_or_has_other_words_goes_on_and_a_new_or_changed_one_begins_anew() -> None:
    before = rule_set(INPUTS, [HIGH, RISEN])
    state = started(before)
    run(state, before, minutes(close=[5, 11]))
    after = before.without_rule("high").with_rule(Rule("fell", "prev(close) > close"))
    state = changed(before, after, 2, state)
    assert run(state, after, [Closed(3, {"close": 10})]) == [(3, "risen", "cleared")]
    assert run(state, after, [Closed(4, {"close": 9})]) == [(4, "fell", "raised")]
    before = rule_set(INPUTS, [Rule("high", "close > 10")])
    state = started(before)
    run(state, before, minutes(close=[11]))
    worded = before.with_rule(Rule("high", "close > 10", message="{close}"))
    other, later = before.with_rule(Rule("high", "close > 9")), [Closed(2, {"close": 12})]
    assert run(changed(before, worded, 1, state), worded, later) == []
    assert run(changed(before, other, 1, state), other, later) == [(2, "high", "raised")]


NOTHING = rule_set(INPUTS)


def test_a_new_rule_hears_from_then_on_of_other_timeframes_and_ticks_and_raised_alerts_can_be_asked_for() -> None:
    rules = NOTHING.with_rule(Rule("r", "close@1h > 0"))
    state = changed(NOTHING, rules, 60)
    assert run(state, rules, [Closed(60, {"close": 1}, "1h"), Closed(61, {"close": 1})]) == []
    assert run(state, rules, [Closed(120, {"close": 1}), Closed(120, {"close": 1}, "1h")]) == [(120, "r", "raised")]
    rules = NOTHING.with_rule(Rule("r", "close > 1", timeframe="100t"))
    ticks = [Closed(59, {"close": 2}, "100t", together=False)]
    assert run(changed(NOTHING, rules, 60), rules, ticks) == [(59, "r", "raised")]
    rules = NOTHING.with_rule(HIGH)
    state = learn_symbols(changed(NOTHING, rules, 60), rules, [*NAMES, "AND"])
    assert run(state, rules, [Closed(5, {"close": 11}, symbol=3)]) == [(5, "high", "raised")]
    rules = rule_set(INPUTS, [RISEN, HIGH])
    state = started(rules)
    run(state, rules, minutes(close=[5, 11, 12]))
    events = raised_alerts(state, rules)
    raised = events[["symbol", "rule", "event_time_ns", "state", "row"]].tolist()
    assert raised == [(0, rule, 2 * MINUTE, RAISED, -1) for rule in (1, 2)]
    assert events["open_ns"].tolist() == [NEVER, NEVER]
    assert np.isnan(events["value"]).all()
    run(state, rules, [Closed(4, {"close": 10})])
    assert len(raised_alerts(state, rules)) == 0


def test_only_the_named_symbols_return_to_the_anchor_tick_bars_never_and_another_state_is_refused() -> None:
    rules = rule_set(INPUTS, [RISEN, Rule("ticks", "close > 1", timeframe="100t")])
    anchor = started(rules)
    state = anchor.copy()
    first, then = (
        [*(Closed(minute, {"close": 4 + minute}, symbol=s) for s in (0, 1)),
         Closed(minute, {"close": 2}, "100t", together=False)] for minute in (1, 2)
    )  # fmt: skip
    run(state, rules, first)
    state = return_to(state, anchor, rules, np.array([0]))
    _, events = evaluate(state, rules, alert_rows_of(then))
    assert events[["symbol", "rule"]].tolist() == [(1, 1)]
    before = rule_set(INPUTS, [RISEN])
    for state, names in ((started(NOTHING), NAMES), (started(before), ["AAA"])):
        said = refusal(change_rules, state, before, before, names, until(1))
        assert "this state is not of these rules and symbols" in said


NULL = float("nan")


def events(*rows: tuple[int, int, int, int, float]) -> np.ndarray:
    """EVENT rows of (time, symbol, rule, state, value)."""
    made = np.zeros(len(rows), EVENT)
    for i, (time, symbol, rule, state, value) in enumerate(rows):
        made[i] = (symbol, rule, i, time - 1, time, state, 0, 0, value, 0)
    return made


def brief(rows: np.ndarray) -> list[tuple[int, ...]]:
    """(time, symbol, rule, state, was, late) of each."""
    names = ["event_time_ns", "symbol", "rule", "state", "was", "late"]
    return [tuple(int(row[name]) for name in names) for row in rows]


UP, DOWN = (2, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, 5.0)


@pytest.mark.parametrize(("old", "new", "expected"), [
    pytest.param([UP], [(1, 0, 1, RAISED, 5.0)], [(1, 0, 1, RAISED, 0, 1), (2, 0, 1, WITHDRAWN, RAISED, 0)],
                 id="a raise that moves is withdrawn and raised late"),
    pytest.param([UP], [DOWN], [(2, 0, 1, WITHDRAWN, RAISED, 0), (2, 0, 1, CLEARED, 0, 1)],
                 id="a raise that becomes a clear is withdrawn first"),
    pytest.param([(2, 0, 1, RAISED, 0.0)], [(2, 0, 1, RAISED, -0.0)], [(2, 0, 1, RAISED, RAISED, 0)],
                 id="the sign of zero is a bit too"),
    pytest.param([(5, 0, 2, RAISED, 1.0), (5, 1, 1, RAISED, 1.0), (7, 0, 1, RAISED, 1.0)],
                 [(4, 1, 9, RAISED, 1.0), (5, 0, 1, RAISED, 1.0), (5, 1, 1, RAISED, 1.0)],
                 [(4, 1, 9, RAISED, 0, 1), (5, 0, 1, RAISED, 0, 1), (5, 0, 2, WITHDRAWN, RAISED, 0),
                  (7, 0, 1, WITHDRAWN, RAISED, 0)], id="rules and symbols are told apart, in order of time"),
])  # fmt: skip
def test_what_differs_is_told_and_the_events_given_stay_as_they_are(old: Any, new: Any, expected: list[Any]) -> None:
    before, after = events(*old), events(*new)
    bits = before.tobytes(), after.tobytes()
    told, stands = differences(before, after)
    assert (before.tobytes(), after.tobytes()) == bits
    assert brief(told) == expected
    assert stands[["event_time_ns", "symbol", "rule", "state"]].tolist() == [row[:4] for row in new]
    np.testing.assert_array_equal(stands["value"], [row[4] for row in new])


def test_equal_events_stay_to_the_bit_what_is_withdrawn_keeps_its_value_alone_and_what_was_late_stays_late() -> None:
    same = events((1, 0, 1, RAISED, 5.0), (2, 0, 1, CLEARED, NULL))
    assert differences(same, same)[1].tobytes() == same.tobytes()
    told, _ = differences(same[:1], no_events())
    assert (told["row"][0], told["open_ns"][0], told["value"][0]) == (-1, 0, 5.0)
    told, stands = differences(events(UP), events((2, 0, 1, RAISED, 6.0)))
    assert (brief(told), told["value"].tolist(), stands["was"].tolist()) == ([(2, 0, 1, RAISED, RAISED, 0)], [6.0], [0])
    told, stands = differences(no_events(), events(UP))
    assert brief(stands) == brief(told)
    told, stands = differences(stands, events((2, 0, 1, RAISED, 6.0)))
    assert brief(told) == [(2, 0, 1, RAISED, RAISED, 1)]
    told, stands = differences(stands, events((2, 0, 1, RAISED, 6.0)))
    assert (len(told), stands["late"].tolist()) == (0, [1])


@pytest.mark.parametrize(("fields", "lives"), [
    # each flap; unknown rows neither raise nor clear
    ({}, [([11, 9, 11, 9, 11], "+-+-+"), ([NULL, 11, NULL, NULL, 11, 9, NULL, 9], ".+...-..")]),
    # raised again 3 minutes after the raise, not before, counted from the raise and not from the clear
    ({"cooldown_s": 180}, [([11, 9, 11, 11, 11], "+-.+."), ([11, 11, 11, 9, 11], "+..-+")]),
    # the time of `for` runs during the cooldown
    ({"for_s": 60, "cooldown_s": 240}, [([11, 11, 9, 11, 11, 11, 11], ".+-..+.")]),
    # 13 clears, and a row that clears does not raise
    ({"clear": "close > 12"}, [([11, 13, 11, 13, 11], "+-+-+"), ([13, 13, 11], "..+")]),
], ids=["nothing more", "cooldown", "for and cooldown", "both hold"])  # fmt: skip
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
    ({"clear": "low < 0", "for_s": 60}, minutes(close=[11] * 6, low=[1, 1, -1, 1, 1, 1]),
     [(2, "raised"), (3, "cleared"), (5, "raised")]),
    ({"timeframe": "100t"}, [Closed(m, {"close": close}, "100t", together=False) for m, close in BACK_AND_FORTH],
     [(5, "raised"), (4, "cleared"), (3, "raised"), (3, "cleared")]),
], ids=["for is event time, not a number of rows", "after a clear the time of for begins anew",
        "tick bars whose time goes back still raise"])  # fmt: skip
def test_it_lives_by_event_time_and_by_what_is_known(fields: Any, closed: list[Closed], expected: list[Any]) -> None:
    found = events_of(Rule(**{"name": "r", "expression": "close > 10", **fields}), closed)
    assert found == [(minute, "r", state) for minute, state in expected]
