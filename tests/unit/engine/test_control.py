"""Control records: rules that are put and removed while the engine runs, at their place in the log."""

import pytest

from market_rows import Engine, Row, clock, config_of, control, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.checkpoint import state_from_bytes, state_to_bytes

HIGH = {"name": "high", "expression": "close > 10"}
CONFIG = config_of(["2t", "1s", "5s"])
LOG = [
    trade("A", 10.5, 11.0, 1.0),
    heartbeat(12),
    control("put_rule", rule=HIGH),
    trade("A", 12.5, 12.0, 1.0),
    trade("A", 13.5, 9.0, 1.0),
    trade("A", 14.5, 13.0, 1.0),
    heartbeat(15),
    control("put_rule", rule={**HIGH, "severity": "critical"}),
    trade("A", 15.5, 9.0, 1.0),
    heartbeat(16),
    control("remove_rule", name="high"),
    trade("A", 16.5, 20.0, 1.0),
    heartbeat(17),
]


def alerts(engine: Engine, *rows: Row) -> list[tuple[str, str, str, float]]:
    return [(r["rule"], r["severity"], r["state"], r["value"]) for r in engine.alerts(*rows)]


@pytest.mark.parametrize("cuts", [[], [2], [3], [7], [8], [1, 4, 9], list(range(1, 13))])
def test_a_rule_works_from_its_record_to_that_of_its_removal(cuts: list[int]) -> None:
    engine, found = Engine(CONFIG), []
    for begin, end in zip([0, *cuts], [*cuts, len(LOG)], strict=True):
        found += alerts(engine, *LOG[begin:end])
        state = state_from_bytes(state_to_bytes(engine.state, CONFIG), CONFIG)
        engine, offset = Engine(CONFIG, state), engine.offset
        engine.offset = offset
    assert found == [
        ("high", "warning", "raised", 12.0),
        ("high", "warning", "cleared", 9.0),
        ("high", "warning", "raised", 13.0),
        ("high", "critical", "cleared", 9.0),
    ]


def test_a_revision_reaches_no_bar_that_had_closed_before_the_rule() -> None:
    engine = Engine(CONFIG)
    rows = [*LOG[:3], trade("A", 10.9, 15.0, 1.0), trade("A", 12.5, 12.0, 1.0), heartbeat(13), clock(20)]
    assert alerts(engine, *rows) == [("high", "warning", "raised", 12.0)]


def test_what_closed_before_the_record_belongs_to_the_rules_before_it() -> None:
    config = config_of(["1s"], alerts=(Rule("high", "close > 10"),))
    engine = Engine(config, closed_most=1)
    rows = [trade("A", 10.5, 11.0, 1.0), trade("B", 10.5, 12.0, 1.0), heartbeat(11)]
    found = [
        row for part in engine.steps([*rows, control("remove_rule", name="high")]) for row in engine.alert_rows(part)
    ]
    assert sorted((row["symbol"], row["state"]) for row in found) == [("A", "raised"), ("B", "raised")]


def test_nothing_of_a_removed_rule_is_told_again() -> None:
    engine = Engine(CONFIG)
    alerts(engine, *LOG[:7])
    assert alerts(engine, control("remove_rule", name="high"), trade("A", 12.9, 1.0, 1.0), clock(30)) == []


MUTED = control("put_rule", rule={**HIGH, "muted": True})


@pytest.mark.parametrize("cuts", [[], [3], [5], [7], list(range(1, 10))])
def test_a_muted_rule_goes_on_and_tells_that_it_is_muted_however_the_log_is_cut(cuts: list[int]) -> None:
    log = [
        control("put_rule", rule=HIGH), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED, trade("A", 13.5, 9.0, 1.0),
        trade("A", 14.5, 13.0, 1.0), heartbeat(15), control("put_rule", rule=HIGH), trade("A", 15.5, 9.0, 1.0),
        heartbeat(16),
    ]  # fmt: skip
    engine, found = Engine(CONFIG), []
    for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        found += alerts(engine, *log[begin:end])
        state = state_from_bytes(state_to_bytes(engine.state, CONFIG), CONFIG)
        engine, offset = Engine(CONFIG, state), engine.offset
        engine.offset = offset
    assert found == [
        ("high", "warning", "raised", 12.0),
        ("high", "muted", "cleared", 9.0),
        ("high", "muted", "raised", 13.0),
        ("high", "warning", "cleared", 9.0),
    ]


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
