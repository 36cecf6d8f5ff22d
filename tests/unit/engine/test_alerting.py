"""Alerts as the engine tells them: on closed bars, after a revision, over a restart, and by rules put while it runs."""

from itertools import pairwise
from typing import Any

import pytest

from market_rows import Engine, Row, at, cancel, clock, config_of, control, heartbeat, quote, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.alerting import forget_events

HIGH = Rule("high", "close > 10", severity="critical", message="{symbol} {state} at {close}, {volume}")


def put(**changed: Any) -> Row:
    """`high` again, with other words."""
    rule = {"name": "high", "expression": "close > 10", "severity": "critical", "message": HIGH.message}
    return control("put_rule", rule=rule | changed)


def engine_of(*rules: Rule, **more: Any) -> Engine:
    return Engine(config_of(["1s", "5s"], "sma(2)", alerts=rules, **more))


def brief(row: dict[str, Any]) -> tuple[Any, ...]:
    """(rule, seconds at which its bar closed, state, what readers knew, late, revision, value)."""
    names = ("state", "was", "late", "revision", "value")
    return row["rule"], (row["event_time_ns"] - at(0)) / 1e9, *(row[name] for name in names)


def told(engine: Engine, *rows: Row) -> list[tuple[Any, ...]]:
    return [brief(row) for row in engine.alerts(*rows)]


def day(*prices: float) -> list[Row]:
    """One trade a second from 10 s on, and a heartbeat that closes them all."""
    rows = [trade("A", 10.5 + i, price, 2.0, trade_id=f"{i}") for i, price in enumerate(prices)]
    return [*rows, heartbeat(11.0 + len(prices))]


def test_a_raise_and_a_clear_carry_their_bar_and_receipt_and_what_is_taken_back_may_come_again() -> None:
    raised, cleared = engine_of(HIGH).alerts(*day(9, 11, 12, 8))
    receipt = raised.pop("receipt")
    assert [receipt[name] for name in ("topic", "partition", "first_offset", "last_offset")] == ["market", 0, 1, 1]
    assert raised == {
        "symbol": "A", "rule": "high", "severity": "critical", "timeframe": "1s", "open_time_ns": at(11),
        "event_time_ns": at(12), "state": "raised", "was": None, "late": False, "value": 11.0,
        "message": "A raised at 11, 2", "revision": 0,
    }  # fmt: skip
    assert brief(cleared) == ("high", 14.0, "cleared", None, False, 0, 8.0)
    engine = Engine(config_of(["1s"], "mid", alerts=(Rule("wide", "mid > 1"),)))
    (row,) = engine.alerts(quote("A", 10.1, 2.0, 4.0), heartbeat(10.2), trade("A", 10.5, 1.0, 1.0), heartbeat(11))
    assert (row["value"], row["receipt"]["first_offset"], row["receipt"]["last_offset"]) == (3.0, 0, 2)
    engine = engine_of(HIGH)
    told(engine, *day(9, 11))
    (gone,) = engine.alerts(cancel("A", "1", 11.5), clock(14))
    assert brief(gone) == ("high", 12.0, "withdrawn", "raised", False, 1, 11.0)
    assert gone["message"] == "A withdrawn at null, 0", "its bar has lost all its trades"
    assert gone["receipt"]["last_offset"] == 3, "the cancel's"
    assert told(engine, trade("A", 11.7, 13.0, 1.0), clock(15)) == [("high", 12.0, "raised", None, True, 2, 13.0)]


RAISED, CLEARED = ("high", 12.0, "raised", None, False, 0, 11.0), ("high", 13.0, "cleared", None, False, 0, 9.0)


@pytest.mark.parametrize(("rule", "portions"), [
    pytest.param(HIGH, [
        (day(9, 11, 9), [RAISED, CLEARED]),
        ([trade("A", 11.9, 7.0, 1.0), trade("A", 12.9, 15.0, 1.0), clock(15)],
         [("high", 12.0, "withdrawn", "raised", False, 1, 11.0), ("high", 13.0, "withdrawn", "cleared", False, 1, 9.0),
          ("high", 13.0, "raised", None, True, 2, 15.0)]),
    ], id="a late trade withdraws what is untrue and raises what is true late"),
    pytest.param(HIGH, [
        (day(9, 11), [RAISED]),
        ([trade("A", 11.9, 12.0, 1.0), clock(14)], [("high", 12.0, "raised", "raised", False, 1, 12.0)]),
        ([trade("A", 11.1, 3.0, 1.0), clock(15)], [("high", 12.0, "raised", "raised", False, 2, 12.0)]),  # its volume
        ([put(message="{close}"), trade("A", 11.2, 3.0, 1.0), clock(16)], []),
        ([trade("A", 11.3, 3.0, 1.0), clock(17)], []),  # the message cites it no more
    ], id="a value that alone changes, or a number of the message, is told as known"),
    pytest.param(Rule("high", "close > 10", cooldown_s=60), [
        (day(11, 9, 12), [("high", 11.0, "raised", None, False, 0, 11.0), ("high", 12.0, "cleared", None, False, 0, 9.0)]),
        ([cancel("A", "0", 10.5), clock(14)],
         [("high", 11.0, "withdrawn", "raised", False, 1, 11.0), ("high", 12.0, "withdrawn", "cleared", False, 1, 9.0),
          ("high", 13.0, "raised", None, True, 0, 12.0)]),
    ], id="the cooldown of a raise that is no more does not count"),
])  # fmt: skip
def test_what_readers_know_is_corrected(rule: Rule, portions: list[tuple[list[Row], list[Any]]]) -> None:
    engine = engine_of(rule)
    assert [told(engine, *rows) for rows, _ in portions] == [events for _, events in portions]


@pytest.mark.parametrize("restart", [False, True])
def test_the_anchor_takes_what_rules_remember_with_it(restart: bool) -> None:
    rare = Rule("rare", "close > 10", cooldown_s=3_600)
    rules = (Rule("steps", "close > prev(close, 3)"), Rule("hour", "close > close@5s"), HIGH, rare)
    engine = engine_of(*rules, window_ns=5 * 10**9)
    first = told(engine, *day(9, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1, 12))
    assert [row[:3] for row in first if row[0] == "steps"] == [("steps", 22.0, "raised")]
    engine.state = engine.stepper.trim(engine.state)
    assert len(engine.state.alerts.known_events()) < len(first), "what lies behind the window is let go"
    if restart:
        engine = engine.restarted()
    assert told(engine, trade("A", 20.9, 2.0, 1.0), clock(29)) == [], "the raise behind the window still counts"
    assert told(engine, trade("A", 21.9, 3.5, 1.0), clock(30)) == [
        ("steps", 22.0, "raised", "raised", False, 1, 3.5),
        ("hour", 22.0, "raised", "raised", False, 1, 3.5),
        ("high", 22.0, "withdrawn", "raised", False, 1, 12.0),
    ]


def test_of_rules_configured_anew_the_others_go_on_and_without_rules_nothing_is_remembered() -> None:
    low, some = Rule("low", "close < 5"), Rule("some", "volume > 0", for_s=1)
    engine = engine_of(HIGH, some)
    assert [row[:3] for row in told(engine, *day(9, 11))] == [("high", 12.0, "raised"), ("some", 12.0, "raised")]
    engine = engine.restarted(config_of(["1s", "5s"], "sma(2)", alerts=(low, HIGH)))
    assert [rule.name for rule in engine.state.alerts.rules.rules] == ["high", "low"]
    late = [trade("A", 11.9, 4.0, 1.0), clock(14), trade("A", 13.5, 3.0, 1.0), heartbeat(14)]
    assert told(engine, *late) == [
        ("high", 12.0, "withdrawn", "raised", False, 1, 11.0),
        ("low", 14.0, "raised", None, False, 0, 3.0),
    ], "the new rule sees what closes behind the newest bar"
    engine = engine_of()
    assert told(engine, *day(9, 11), trade("A", 10.9, 3.0, 1.0), clock(20)) == []
    assert engine.state.alerts.known_events().size == 0
    forget_events(engine.state.alerts, engine.state.tables.closed_until)
    assert engine.state.alerts.live.life.shape[1] == 0


PUT = {"name": "high", "expression": "close > 10"}
BARS = config_of(["2t", "1s", "5s"])
LOG = [
    trade("A", 10.5, 11.0, 1.0), heartbeat(12), control("put_rule", rule=PUT), trade("A", 12.5, 12.0, 1.0),
    trade("A", 13.5, 9.0, 1.0), trade("A", 14.5, 13.0, 1.0), heartbeat(15), control("put_rule", rule={**PUT, "severity": "critical"}),
    trade("A", 15.5, 9.0, 1.0), heartbeat(16), control("remove_rule", name="high"), trade("A", 16.5, 20.0, 1.0), heartbeat(17),
]  # fmt: skip
MUTED = control("put_rule", rule={**PUT, "muted": True})
LOG_OF_MUTED = [
    control("put_rule", rule=PUT), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED, trade("A", 13.5, 9.0, 1.0),
    trade("A", 14.5, 13.0, 1.0), heartbeat(15), control("put_rule", rule=PUT), trade("A", 15.5, 9.0, 1.0), heartbeat(16),
]  # fmt: skip


def alerts(engine: Engine, *rows: Row) -> list[tuple[str, str, str, float]]:
    return [(r["rule"], r["severity"], r["state"], r["value"]) for r in engine.alerts(*rows)]


@pytest.mark.parametrize("cuts", [[], [2], [3], [5], [7], [8], [1, 4, 9], list(range(1, 13))])
@pytest.mark.parametrize(("log", "severities"), [
    pytest.param(LOG, ["warning", "warning", "warning", "critical"], id="a rule works from its record to its removal's"),
    pytest.param(LOG_OF_MUTED, ["warning", "muted", "muted", "warning"], id="a muted rule goes on and tells that it is"),
])  # fmt: skip
def test_a_rule_is_what_its_records_say(cuts: list[int], log: list[Row], severities: list[str]) -> None:
    engine, found = Engine(BARS), []
    for begin, end in pairwise([0, *(cut for cut in cuts if cut < len(log)), len(log)]):
        found += alerts(engine, *log[begin:end])
        engine = engine.restarted()
    events = [("raised", 12.0), ("cleared", 9.0), ("raised", 13.0), ("cleared", 9.0)]
    assert found == [("high", severity, *event) for severity, event in zip(severities, events, strict=True)]


def test_what_closed_before_the_record_has_the_rules_before_it_and_a_muted_rule_stays_so_until_taken_out() -> None:
    engine = Engine(config_of(["1s"], alerts=(Rule("high", "close > 10"),)), closed_most=1)
    rows = [trade("A", 10.5, 11, 1), trade("B", 10.5, 12, 1), heartbeat(11), control("remove_rule", name="high")]
    found = [(row["symbol"], row["state"]) for step in engine.steps(rows) for row in engine.alert_rows(step)]
    assert sorted(found) == [("A", "raised"), ("B", "raised")]
    before, other = (config_of(["1s"], alerts=(Rule("high", text),)) for text in ("close > 10", "close > 11"))
    engine = Engine(before)
    engine.step([trade("A", 10.5, 11.0, 1.0), heartbeat(11), MUTED])
    again = [engine.restarted(config).state.alerts.rules.rules for config in (other, before, config_of(["1s"]))]
    assert again == [(Rule("high", text, muted=True),) for text in ("close > 11", "close > 10")] + [()]


@pytest.mark.parametrize(("change", "said"), [
    ({"action": "put_rule", "rule": {"name": "x", "expression": "clse > 1"}}, "unknown column 'clse'"),
    ({"action": "put_rule", "rule": {"name": "x"}}, "expression is missing"),
    ({"action": "remove_rule", "name": "x"}, "there is no rule 'x'"), ({"action": "mute"}, 'write {"action": "put_rule"'),
    (None, "expected a change of the alert rules"),
])  # fmt: skip
def test_a_change_that_cannot_be_made_is_refused_and_changes_nothing(change: object, said: str) -> None:
    engine = Engine(BARS)
    engine.step(LOG[:3])
    record = {"type": "control", "event_time_ns": 0, **({} if change is None else {"change": change})}
    (refused,) = engine.step([LOG[3], record]).refused
    assert (refused.row, refused.reason, said in refused.detail) == (1, "bad_control", True)
    assert engine.state.alerts.rules.rules == (Rule("high", "close > 10"),)


def test_a_source_is_heard_and_a_revision_tells_nothing_of_before_or_after_a_rule_and_what_is_muted() -> None:
    engine = Engine(BARS)
    engine.step([{**control("put_rule", rule=PUT), "source": "desk"}])
    assert (engine.state.sources.texts(), engine.state.tables.sources["live"][0]) == (["desk"], 1)
    late = [trade("A", 10.9, 15.0, 1.0), trade("A", 12.5, 12.0, 1.0), heartbeat(13), clock(20)]
    assert alerts(Engine(BARS), *LOG[:3], *late) == [("high", "warning", "raised", 12.0)]
    engine = Engine(BARS)
    alerts(engine, *LOG[:7])
    assert alerts(engine, control("remove_rule", name="high"), trade("A", 12.9, 1.0, 1.0), clock(30)) == []
    engine = Engine(BARS)
    alerts(engine, control("put_rule", rule=PUT), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED)
    (told,) = engine.alerts(trade("A", 12.9, 8.0, 1.0), clock(30))
    assert (told["state"], told["was"], told["severity"]) == ("withdrawn", "raised", "muted")
