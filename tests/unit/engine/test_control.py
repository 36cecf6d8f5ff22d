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
        row
        for part in engine.steps([*rows, control("remove_rule", name="high")])
        for row in engine.alert_rows(part)
    ]
    assert sorted((row["symbol"], row["state"]) for row in found) == [("A", "raised"), ("B", "raised")]


def test_nothing_of_a_removed_rule_is_told_again() -> None:
    engine = Engine(CONFIG)
    alerts(engine, *LOG[:7])
    assert alerts(engine, control("remove_rule", name="high"), trade("A", 12.9, 1.0, 1.0), clock(30)) == []


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
