"""Control records: rules that are put and removed while the engine runs, at their place in the log."""

from itertools import pairwise

import pytest

from market_rows import Engine, Row, clock, config_of, control, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes

HIGH = {"name": "high", "expression": "close > 10"}
CONFIG = config_of(["2t", "1s", "5s"])
LOG = [
    trade("A", 10.5, 11.0, 1.0), heartbeat(12), control("put_rule", rule=HIGH), trade("A", 12.5, 12.0, 1.0),
    trade("A", 13.5, 9.0, 1.0), trade("A", 14.5, 13.0, 1.0), heartbeat(15),
    control("put_rule", rule={**HIGH, "severity": "critical"}), trade("A", 15.5, 9.0, 1.0), heartbeat(16),
    control("remove_rule", name="high"), trade("A", 16.5, 20.0, 1.0), heartbeat(17),
]  # fmt: skip
MUTED = control("put_rule", rule={**HIGH, "muted": True})
MUTED_LOG = [
    control("put_rule", rule=HIGH), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED, trade("A", 13.5, 9.0, 1.0),
    trade("A", 14.5, 13.0, 1.0), heartbeat(15), control("put_rule", rule=HIGH), trade("A", 15.5, 9.0, 1.0),
    heartbeat(16),
]  # fmt: skip


def alerts(engine: Engine, *rows: Row) -> list[tuple[str, str, str, float]]:
    return [(r["rule"], r["severity"], r["state"], r["value"]) for r in engine.alerts(*rows)]


@pytest.mark.parametrize("cuts", [[], [2], [3], [5], [7], [8], [1, 4, 9], list(range(1, 13))])
@pytest.mark.parametrize(
    ("log", "severities"),
    [
        pytest.param(
            LOG, ["warning", "warning", "warning", "critical"], id="a rule works from its record to its removal's"
        ),
        pytest.param(
            MUTED_LOG, ["warning", "muted", "muted", "warning"], id="a muted rule goes on and tells that it is"
        ),
    ],
)
def test_a_rule_is_what_its_records_say_however_the_log_is_cut(
    cuts: list[int], log: list[Row], severities: list[str]
) -> None:
    engine, found = Engine(CONFIG), []
    for begin, end in pairwise([0, *(cut for cut in cuts if cut < len(log)), len(log)]):
        found += alerts(engine, *log[begin:end])
        engine = engine.restarted()
    events = [("raised", 12.0), ("cleared", 9.0), ("raised", 13.0), ("cleared", 9.0)]
    assert found == [("high", severity, *event) for severity, event in zip(severities, events, strict=True)]


def test_a_revision_reaches_no_bar_that_had_closed_before_the_rule() -> None:
    engine = Engine(CONFIG)
    rows = [*LOG[:3], trade("A", 10.9, 15.0, 1.0), trade("A", 12.5, 12.0, 1.0), heartbeat(13), clock(20)]
    assert alerts(engine, *rows) == [("high", "warning", "raised", 12.0)]


def test_what_closed_before_the_record_belongs_to_the_rules_before_it() -> None:
    config = config_of(["1s"], alerts=(Rule("high", "close > 10"),))
    engine = Engine(config, closed_most=1)
    rows = [trade("A", 10.5, 11.0, 1.0), trade("B", 10.5, 12.0, 1.0), heartbeat(11)]
    steps = engine.steps([*rows, control("remove_rule", name="high")])
    assert sorted((row["symbol"], row["state"]) for step in steps for row in engine.alert_rows(step)) == [
        ("A", "raised"),
        ("B", "raised"),
    ]


def test_nothing_of_a_removed_rule_is_told_again() -> None:
    engine = Engine(CONFIG)
    alerts(engine, *LOG[:7])
    assert alerts(engine, control("remove_rule", name="high"), trade("A", 12.9, 1.0, 1.0), clock(30)) == []


def test_what_a_late_trade_changes_while_muted_is_told_so() -> None:
    engine = Engine(CONFIG)
    alerts(engine, control("put_rule", rule=HIGH), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED)
    (told,) = engine.alerts(trade("A", 12.9, 8.0, 1.0), clock(30))
    assert (told["state"], told["was"], told["severity"]) == ("withdrawn", "raised", "muted")


def test_a_configured_rule_stays_muted_when_it_changes_and_goes_when_it_is_taken_out() -> None:
    before = config_of(["1s"], alerts=(Rule("high", "close > 10"),))
    engine = Engine(before)
    engine.step([trade("A", 10.5, 11.0, 1.0), heartbeat(11), MUTED])
    held = state_to_bytes(engine.state, before)
    other = config_of(["1s"], alerts=(Rule("high", "close > 11"),))
    assert state_from_bytes(held, other).alerts.rules.rules == (Rule("high", "close > 11", muted=True),)
    assert state_from_bytes(held, before).alerts.rules.rules == (Rule("high", "close > 10", muted=True),)
    assert state_from_bytes(held, config_of(["1s"])).alerts.rules.rules == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"action": "put_rule", "rule": {"name": "x", "expression": "clse > 1"}}, "unknown column 'clse'"),
        ({"action": "put_rule", "rule": {"name": "x"}}, "expression is missing"),
        ({"action": "remove_rule", "name": "x"}, "there is no rule 'x'"),
        ({"action": "mute"}, 'write {"action": "put_rule"'),
        (None, "expected a change of the alert rules"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_and_changes_nothing(change: object, said: str) -> None:
    engine = Engine(CONFIG)
    engine.step(LOG[:3])
    record = {"type": "control", "event_time_ns": 0, **({} if change is None else {"change": change})}
    (refused,) = engine.step([LOG[3], record]).refused
    assert (refused.row, refused.reason) == (1, "bad_control")
    assert said in refused.detail
    assert engine.state.alerts.rules.rules == (Rule("high", "close > 10"),)


def test_a_source_that_writes_one_is_heard() -> None:
    engine = Engine(CONFIG)
    engine.step([{**control("put_rule", rule=HIGH), "source": "desk"}])
    assert engine.state.sources.texts() == ["desk"]
    assert engine.state.tables.sources["live"][0] == 1
