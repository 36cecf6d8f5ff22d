"""What each operator gives, by hand; what rules on other timeframes see; and real bars against TA-Lib."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import talib

from alert_rows import INPUTS, MINUTE, Closed, alert_rows_of, events_of, minutes, started
from marketpulse.alerts.evaluate import evaluate
from marketpulse.alerts.events import CLEARED, EVENT, RAISED
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_set import rule_set
from marketpulse.errors import ParameterError

DAILY = Path(__file__).parents[2] / "data" / "daily_bars" / "msft.csv"
NULL = float("nan")


def truth(expression: str, **columns: Sequence[float]) -> bool | None:
    """What the expression is on the last of these rows; None: unknown."""
    n = len(next(iter(columns.values())))
    gate = [0.0] * (n - 1) + [1.0]
    rules = [
        Rule("true", f"({expression}) and trade_count == 1"),
        Rule("false", f"not ({expression}) and trade_count == 1"),
    ]
    found = [(name, state) for _, name, state in events_of(rules, minutes(trade_count=gate, **columns))]
    assert found in ([("true", "raised")], [("false", "raised")], [])
    return found[0][0] == "true" if found else None


@pytest.mark.parametrize(
    ("expression", "numbers", "expected"),
    [
        ("close < 2", [1], True),
        ("close < 2", [2], False),
        ("close <= 2", [2], True),
        ("close <= 2", [3], False),
        ("close > 2", [2], False),
        ("close > 2", [3], True),
        ("close >= 2", [2], True),
        ("close >= 2", [1], False),
        ("close == 2", [2], True),
        ("close == 2", [3], False),
        ("close != 2", [3], True),
        ("close != 2", [2], False),
        ("close + 3 == 5", [2], True),
        ("close - 3 == -1", [2], True),
        ("3 - close == 1", [2], True),
        ("close * 3 == 6", [2], True),
        ("close / 4 == 0.5", [2], True),
        ("1 / close == 0.5", [2], True),
        ("2 + 3 * close - 4 / 2 == 6", [2], True),
        ("-close == -2", [2], True),
        ("-close * 2 + 5 == 1", [2], True),
        ("abs(close) == 2", [-2], True),
        ("abs(close) == 2", [2], True),
        ("min(close, 3) == 2", [2], True),
        ("min(4, close, 3) == 3", [5], True),
        ("max(close, 3) == 3", [2], True),
        ("max(1, close, 3) == 5", [5], True),
        ("prev(close) == 1", [1, 2], True),
        ("prev(close) == 2", [1, 2, 3], True),
        ("prev(close, 2) == 1", [1, 2, 3], True),
        ("prev(close, 2) == 3", [1, 2, 3, 4, 5], True),
        ("prev(prev(close)) == 3", [1, 2, 3, 4, 5], True),
        ("prev(close) + prev(close, 2) == 3", [1, 2, 3], True),
        ("prev(close - prev(close)) == 4", [1, 5, 6], True),
        ("change_pct(close, 1) == 50", [2, 3], True),
        ("change_pct(close, 2) == -75", [8, 1, 2], True),
        ("change_pct(close, 2) == 100", [7, 8, 1, 16], True),
    ],
)
def test_an_operator_gives_what_a_hand_gives(expression: str, numbers: list[float], expected: bool | None) -> None:
    assert truth(expression, close=numbers) is expected


@pytest.mark.parametrize(
    ("above", "left", "right", "expected"),
    [
        (True, [1, 3], [2, 2], True),
        (True, [2, 3], [2, 2], True),  # equal before counts as below
        (True, [1, 2], [2, 2], False),  # equal now does not count as above
        (True, [3, 4], [2, 2], False),
        (True, [3, 1], [2, 2], False),
        (True, [2, 2], [2, 2], False),
        (True, [1, 1], [2, 0], True),  # the right side may be the one that moves
        (True, [1, NULL, 3], [2, 2, 2], None),
        (True, [NULL, 3], [2, 2], None),
        (True, [1, 3], [NULL, 2], None),
        (True, [1, 3], [2, NULL], None),
        (True, [1, NULL], [2, 2], None),
        (True, [3], [2], None),  # nothing came before
        (True, [1, 2, 3], [2, 2, 2], True),  # by way of equal: once, and on the second row
        (False, [3, 1], [2, 2], True),
        (False, [2, 1], [2, 2], True),
        (False, [3, 2], [2, 2], False),
        (False, [1, 0], [2, 2], False),
        (False, [1, 3], [2, 2], False),
        (False, [1, 1], [0, 2], True),
        (False, [1], [2], None),
        (False, [3, NULL], [2, 2], None),
    ],
)
def test_a_crossing_is_from_the_other_side_or_equal_to_strictly_beyond(
    above: bool, left: list[float], right: list[float], expected: bool | None
) -> None:
    word = "crosses_above" if above else "crosses_below"
    assert truth(f"close {word} sma_20", close=left, sma_20=right) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("close > 1", None),
        ("not close > 1", None),
        ("close == close", None),
        ("close != 1", None),
        ("close + 1 > 0", None),
        ("-close > 0", None),
        ("abs(close) >= 0", None),
        ("min(close, low) > 0", None),
        ("max(low, close) > 0", None),
        ("close * 0 == 0", None),
        ("low > 1 or close > 1", None),
        ("low < 1 or close > 1", None),
        ("low > 0 or close > 1", True),
        ("close > 1 or low > 0", True),
        ("low > 1 and close > 1", False),
        ("close > 1 and low > 1", False),
        ("low > 0 and close > 1", None),
        ("close > 1 and close < 2", None),
        ("not (close > 1 and low > 1)", True),
        ("not (close > 1 or low > 0)", False),
        ("prev(low) == 1", None),
        ("change_pct(low, 1) == 0", None),
        ("low / 0 > 1", None),
        ("-low / 0 < 1", None),
        ("0 * low / 0 == 0", None),
        ("low * 1e308 * 10 > 1", None),
        ("low * -1e308 - 1e308 < 1", None),
    ],
)
def test_what_is_not_known_stays_unknown_unless_it_does_not_matter(expression: str, expected: bool | None) -> None:
    """The only row has no close, and 1 as its low."""
    assert truth(expression, close=[NULL], low=[1.0]) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("prev(close) > 0", None), ("prev(close, 2) == 1", True), ("change_pct(close, 2) == 200", True)],
)
def test_prev_counts_rows_whether_they_are_known_or_not(expression: str, expected: bool | None) -> None:
    assert truth(expression, close=[1, NULL, 3]) is expected


@pytest.mark.parametrize("before", [0.0, NULL])
def test_a_change_from_nothing_is_unknown(before: float) -> None:
    assert truth("change_pct(close, 1) > 0", close=[before, 3]) is None


def test_a_volume_spike_is_seen_on_its_row() -> None:
    rule = Rule("spike", "volume > 3 * volume_sma_20")
    closed = minutes(volume=[100, 299, 301, 100], volume_sma_20=[100, 100, 100, 110])
    assert events_of(rule, closed) == [(3, "spike", "raised"), (4, "spike", "cleared")]


def test_the_value_is_what_stands_left_of_the_first_comparison() -> None:
    rules = rule_set(INPUTS, [Rule("r", "abs(close - open) * 2 > 5 or volume > 1", clear="volume < 0")])
    closed = minutes(close=[4, 1, 1], open=[1, NULL, 3], volume=[0, -1, 2])
    _, events = evaluate(started(rules), rules, alert_rows_of(closed))
    assert events["state"].tolist() == [RAISED, CLEARED, RAISED]
    np.testing.assert_array_equal(events["value"], [6.0, NULL, 4.0])


def test_an_event_says_where_and_when() -> None:
    rules = rule_set(INPUTS, [Rule("low", "close < 1"), Rule("high", "close > 2")])
    closed = [Closed(1, {"close": 1.5}, symbol=1), Closed(2, {"close": 9.0}, symbol=2)]
    _, events = evaluate(started(rules), rules, alert_rows_of(closed))
    assert events.dtype == EVENT
    assert events.tolist() == [(2, 2, 1, 1 * MINUTE, 2 * MINUTE, RAISED, 0, 0, 9.0)]


def test_events_come_by_row_then_by_rule() -> None:
    rules = [Rule("b", "close > 1"), Rule("a", "close > 2"), Rule("c", "close > 3")]
    closed = [Closed(1, {"close": 9}, symbol=1), Closed(1, {"close": 3}, symbol=0)]
    chosen = rule_set(INPUTS, rules)
    _, events = evaluate(started(chosen), chosen, alert_rows_of(closed))
    assert events[["symbol", "rule"]].tolist() == [(1, 1), (1, 2), (1, 3), (0, 1), (0, 2)]


def test_a_symbol_that_the_filter_leaves_out_raises_nothing() -> None:
    rule = Rule("r", "close > 1", symbols=("BBB",))
    closed = [Closed(1, {"close": 2}, symbol=s) for s in (0, 1, 2)]
    rules = rule_set(INPUTS, [rule])
    _, events = evaluate(started(rules), rules, alert_rows_of(closed))
    assert events["symbol"].tolist() == [1]


HOUR_AT_60 = [
    Closed(59, {"close": 1}),
    Closed(60, {"close": 2}),
    Closed(60, {"close": 20}, "5m"),
    Closed(60, {"close": 200}, "1h"),
    Closed(61, {"close": 3}),
]


@pytest.mark.parametrize(
    ("timeframe", "expression", "expected"),
    [
        ("1m", "close@1h == 200", [(60, "raised")]),
        ("1m", "close@5m == 20", [(60, "raised")]),
        ("1h", "close@1m == 2 and close@5m == 20", [(60, "raised")]),
        ("5m", "close@1h == 200 and close == 20", [(60, "raised")]),
        ("1m", "close@1h crosses_above 100", []),  # nothing was known before
        ("1m", "close@1h != 200", []),  # before the first hour it is unknown, not true
        ("1m", "prev(close@1h) == 200", [(61, "raised")]),
        ("1m", "close == 3 and close@5m + close@1h == 220", [(61, "raised")]),
    ],
)
def test_other_timeframes_are_seen_from_the_instant_of_their_close(
    timeframe: str, expression: str, expected: list[tuple[float, str]]
) -> None:
    found = events_of(Rule("r", expression, timeframe=timeframe), HOUR_AT_60)
    assert [(minute, state) for minute, _, state in found] == expected


def test_an_other_symbol_of_the_same_instant_is_another_matter() -> None:
    rule = Rule("r", "close@1h > 0")
    closed = [Closed(60, {"close": 1}, symbol=0), Closed(60, {"close": 200}, "1h", symbol=1)]
    assert events_of(rule, closed) == []


def test_bars_that_close_as_they_arrive_see_only_what_came_before() -> None:
    alone = [row._replace(together=False) for row in HOUR_AT_60]
    assert events_of(Rule("r", "close@1h == 200"), alone) == [(61, "r", "raised")]
    assert events_of(Rule("r", "close@1m == 2", timeframe="1h"), alone) == [(60, "r", "raised")]


def test_real_bars_move_as_talib_says() -> None:
    with DAILY.open(encoding="utf-8-sig") as file:
        close = np.array([float(row["close"]) for row in csv.DictReader(file)])
    expected = talib.ROC(close, 5)
    rules = rule_set(INPUTS, [Rule("r", "change_pct(close, 5) > 2.0007")])
    _, events = evaluate(started(rules), rules, alert_rows_of(minutes(close=close.tolist())))
    above = expected > 2.0007  # a threshold that no change of these closes comes near
    assert np.nanmin(np.abs(expected - 2.0007)) > 1e-6
    changes = np.flatnonzero(np.diff(above, prepend=False))
    assert len(changes) > 20
    assert events["row"].tolist() == changes.tolist()
    assert (events["state"] == np.where(above[changes], RAISED, CLEARED)).all()
    np.testing.assert_allclose(events["value"], expected[changes], rtol=1e-9, atol=1e-9)


def test_more_events_than_one_output_holds_all_leave() -> None:
    closes = [float(i % 2) for i in range(5_000)]
    rules = [Rule(f"r{k}", f"close > {k / 10}") for k in range(7)]
    found = events_of(rules, minutes(close=closes))
    assert found == [(i + 1, f"r{k}", "raised" if i % 2 else "cleared") for i in range(1, 5_000) for k in range(7)]


def test_no_rows_and_no_rules_give_no_events() -> None:
    none, some = rule_set(INPUTS), rule_set(INPUTS, [Rule("r", "close > 1")])
    for rules, closed in ((none, minutes(close=[2.0])), (some, [])):
        state = started(rules)
        before = state.copy()
        after, events = evaluate(state, rules, alert_rows_of(closed))
        assert (len(events), after.life.tobytes()) == (0, before.life.tobytes())


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        (Closed(1, {}, symbol=3), "a row's symbol is not known"),
        (Closed(1, {}, symbol=-1), "a row's symbol is not known"),
    ],
)
def test_rows_that_the_state_cannot_hold_are_refused(closed: Closed, message: str) -> None:
    rules = rule_set(INPUTS, [Rule("r", "close > 1")])
    with pytest.raises(ParameterError, match=message):
        evaluate(started(rules), rules, alert_rows_of([closed]))


def test_rows_and_states_of_other_rules_are_refused() -> None:
    rules = rule_set(INPUTS, [Rule("r", "close > 1")])
    rows = alert_rows_of(minutes(close=[1.0]))
    with pytest.raises(ParameterError, match="rows have 11 columns, found an array"):
        evaluate(started(rules), rules, rows._replace(values=rows.values[:, 1:].copy()))
    with pytest.raises(ParameterError, match="a row's timeframe is none of the 4"):
        evaluate(started(rules), rules, rows._replace(frame=rows.frame + 4))
    with pytest.raises(ParameterError, match="this state is not of these rules"):
        evaluate(started(rules), rules.with_rule(Rule("s", "close > 2")), rows)
