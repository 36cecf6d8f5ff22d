"""Which rules run, and since when: a replay of the log or of the lake has them begin where they did."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from market_rows import Engine, Row, batch_of, clock, config_of, control, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.receipts.compare import compare, flat
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.receipts.recomputed import Gathered
from marketpulse.app.receipts.replay import Replay
from marketpulse.app.receipts.running_rules import RunningRules, begin_as, rules_of, told_by
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.model.market import StringTable
from marketpulse.model.rows import ALERT
from marketpulse.model.tables import TABLES

HIGH = Rule("high", "close > 10")
FALLS = Rule("falls", "close < prev(close)")
ROWS: list[Row] = [
    *(trade("A", 10.5 + i, price, 1.0, trade_id=f"{i}") for i, price in enumerate((9, 12, 12, 13))),
    heartbeat(14),
    *(trade("A", 14.5 + i, price, 1.0, trade_id=f"{4 + i}") for i, price in enumerate((12, 11, 9, 12))),
    *(trade("B", 16.5 + i, price, 1.0) for i, price in enumerate((12, 11))),
    heartbeat(18), trade("A", 13.9, 8.0, 1.0, trade_id="late"), clock(19), heartbeat(30),
]  # fmt: skip
RESTART = 5  # behind the first heartbeat: four bars of A have closed


def config(*rules: Rule) -> EngineConfig:
    return config_of(["1s", "5s"], "sma(2)", alerts=rules)


def restarted(before: EngineConfig, after: EngineConfig) -> tuple[Engine, pa.Table]:
    """An engine that was stopped and started with another configuration, and what it told after that."""
    first = Engine(before)
    first.step(ROWS[:RESTART])
    second = first.restarted(after)
    second.strings = first.strings
    return second, alerts_of(second, ROWS[RESTART:])


def alerts_of(engine: Engine, rows: list[Row]) -> pa.Table:
    return flat(pa.Table.from_pylist(engine.alerts(*rows), ALERT))


def replayed(engine: Engine) -> tuple[pa.Table, Replay, Any]:
    """The whole log again with the engine's configuration, its rules beginning as the engine's did."""
    state = new_state(engine.config)
    begins = begin_as(state, rules_of(engine.state))
    run, gathered = Replay(engine.config, "market", 0, state), Gathered()
    for rows in run.take(batch_of(ROWS, 0, StringTable())):
        gathered.take(rows)
    return gathered.table("alerts"), run, begins


def test_a_rule_that_a_start_has_put_begins_behind_what_had_closed() -> None:
    engine, told = restarted(config(), config(HIGH, FALLS))
    assert told.num_rows > 4
    assert rules_of(engine.state).begins_ns.keys() == {("high", "A"), ("falls", "A")}, "B was met later"
    again, _, _ = replayed(engine)
    found = compare("alerts", again, told)
    assert (found.same, found.differences) == (told.num_rows, [])
    assert len(found.only_recomputed) == len(found.only_stored) == 0
    naive = alerts_of(Engine(engine.config), ROWS)  # why beginnings matter: it would miss rows that were never told
    assert len(compare("alerts", naive, told).only_recomputed) > 0


def test_rows_of_a_rule_that_had_the_name_before_are_not_of_this_one() -> None:
    before, after = config(Rule("high", "close > 8")), config(HIGH)
    old = alerts_of(Engine(before), ROWS[:RESTART])
    engine, told = restarted(before, after)
    again, run, begins = replayed(engine)
    stored = pa.concat_tables([old, told])
    found = compare("alerts", again, stored)
    assert (found.same, found.differing, len(found.only_recomputed)) == (told.num_rows, 0, 0)
    rest = stored.take(pa.array(found.only_stored))
    assert rest.num_rows == old.num_rows > 0
    assert told_by(rest, run.rules, begins).tolist() == [False] * old.num_rows
    assert told_by(told, run.rules, begins).all()


def test_rows_of_a_rule_that_runs_no_more_are_of_none() -> None:
    old = alerts_of(Engine(config(HIGH, FALLS)), ROWS)
    engine, _ = restarted(config(HIGH, FALLS), config(HIGH))
    _, run, begins = replayed(engine)
    names = old["rule"].to_pylist()
    assert told_by(old, run.rules, begins).tolist() == [name == "high" for name in names]
    assert "falls" in names


def test_a_rule_that_a_control_record_puts_and_removes_has_run_and_without_stored_alerts_none_is_told() -> None:
    run = Replay(config(HIGH), "market", 0, new_state(config(HIGH)))
    put = control("put_rule", rule={"name": "mine", "expression": "close > 1"})
    for part in (put, control("remove_rule", name="mine")):
        list(run.take(batch_of([part], 0, StringTable())))
    assert run.rules == {"high", "mine"}
    assert told_by(pa.table({}), ("high",), {}).tolist() == []  # a lake without the table: until the first alert


LAKE_RULES = (
    Rule("plain", "close > sma_3", message="{close} beside {spread}"), Rule("wide", "spread > 1"),
    Rule("closing", "close > 1", clear="mid < 2"), Rule("gone", "close > 2"), Rule("other", "close > 3"),
)  # fmt: skip
LAKE_CONFIG = config_of(["3t", "1s", "1m"], "sma(3),spread,mid", alerts=LAKE_RULES)


def lake(*changes: Any, refused: frozenset[tuple[int, int]] = frozenset()) -> LakeInputs:
    """A lake without trades, with these changes as control records."""
    place = {"type": "control", "partition": 0, "row": 0}
    bodies = [json.dumps({"type": "control", "change": change}) for change in changes]
    events = [{**place, "offset": i, "body": body} for i, body in enumerate(bodies)]
    told = pa.Table.from_pylist(events, TABLES["events"][1])
    return LakeInputs("market", 0, pa.table({}), np.empty(0, np.bool_), told, refused)


def names(rules: RunningRules) -> list[str]:
    return [rule.name for rule in rules.rules]


def test_without_a_broker_those_that_control_records_name_are_left_out() -> None:
    put = {"action": "put_rule", "rule": {"name": "other", "expression": "close > 4"}}
    changes = ({"action": "remove_rule", "name": "gone"}, put)
    assert names(lake_rules(LAKE_CONFIG, lake(), None)) == ["plain", "gone", "other"]
    assert names(lake_rules(LAKE_CONFIG, lake(*changes), None)) == ["plain"]
    assert names(lake_rules(LAKE_CONFIG, lake(*changes, refused=frozenset({(1, 0)})), None)) == ["plain", "other"]
    assert names(lake_rules(LAKE_CONFIG, lake(None, 7, {"rule": 5}), None)) == ["plain", "gone", "other"]


def test_a_snapshot_tells_of_all_that_run_and_since_when() -> None:
    running = RunningRules((LAKE_RULES[0], LAKE_RULES[1], Rule("mine", "close > 9")), {("mine", "A"): 5})
    found = lake_rules(LAKE_CONFIG, lake({"action": "remove_rule", "name": "plain"}), running)
    assert (names(found), found.begins_ns) == (["plain", "mine"], {("mine", "A"): 5})
    assert [(rule.timeframe, rule.message) for rule in found.rules] == [("1s", "")] * 2
