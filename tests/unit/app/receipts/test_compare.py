"""Stored rows beside recomputed ones, the splits that a lake tells of, and the rules that a replay begins with."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from market_rows import Engine, Row, batch_of, clock, config_of, control, heartbeat, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.receipts.compare import compare, flat, match
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_splits import missed_splits, split_words, waiting_splits
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.receipts.recomputed import Gathered, missing_rows
from marketpulse.app.receipts.replay import Replay
from marketpulse.app.receipts.running_rules import RunningRules, begin_as, rules_of, told_by
from marketpulse.app.receipts.verify import last_revisions
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.model.market import StringTable
from marketpulse.model.rows import ALERT, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.query.stored_rows import SHAPE
from split_rows import split

SCHEMA = indicators_schema(["ema_3", "rsi_2"])
RECEIPT = {
    "topic": "market", "partition": 0, "first_offset": 1, "first_row": 0, "last_offset": 2, "last_row": 0,
    "late_count": 0, "engine_version": "2",
}  # fmt: skip
PLACE = {"symbol": "A", "timeframe": "1s", "open_time_ns": 0, "revision": 0}
INDICATED = {**PLACE, "close_time_ns": 1, "close": 1.0, "ema_3": 0.5, "rsi_2": None}
RAISED = {
    **PLACE, "rule": "high", "severity": "info", "event_time_ns": 1, "state": "raised", "was": None,
    "late": False, "value": 2.0, "message": "A is high",
}  # fmt: skip


def rows(*given: dict[str, Any], plain: dict[str, Any] = INDICATED, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Indicator rows; each differs from a plain one by what is given."""
    receipts = [{**RECEIPT, **{k: v for k, v in row.items() if k in RECEIPT}} for row in given]
    listed = [{**plain, **row, "receipt": receipt} for row, receipt in zip(given, receipts, strict=True)]
    return flat(pa.Table.from_pylist(listed, schema))


def alerts(*given: dict[str, Any]) -> pa.Table:
    return rows(*given, plain=RAISED, schema=ALERT)


def matched(left: pa.Table, right: pa.Table) -> list[tuple[int, int]]:
    mine, theirs = match("indicators", left, right)
    return sorted(zip(mine.tolist(), theirs.tolist(), strict=True))


def test_rows_are_matched_by_key_in_any_order_and_bars_by_count_told_apart_by_first_and_last_record() -> None:
    left = rows({"open_time_ns": 1}, {"open_time_ns": 2}, {"symbol": "B"})
    assert matched(left, rows({"symbol": "B"}, {"open_time_ns": 2}, {"open_time_ns": 3})) == [(1, 1), (2, 0)]
    left = rows({"timeframe": "3t", "first_offset": 5}, {"timeframe": "3t", "first_offset": 8})
    assert matched(left, rows({"timeframe": "3t", "first_offset": 8})) == [(1, 0)]
    first, second = ({"timeframe": "3t", "first_offset": 5, "last_offset": last} for last in (9, 14))
    found = compare("bars", rows(second), rows(first, second))
    assert (found.same, found.differences, found.only_stored.tolist()) == (1, [], [0])


def test_a_null_and_a_receipt_that_differ_are_differences_and_a_column_that_the_file_did_not_have_is_none() -> None:
    found = compare("indicators", rows({"ema_3": None}), rows({"last_offset": 3}))
    told = [(d.column, d.stored, d.recomputed) for d in found.differences]
    assert told == [("ema_3", 0.5, None), ("receipt.last_offset", 3, 2)]
    assert (found.same, found.differing) == (0, 1)
    stored = rows({"ema_3": None}, {"open_time_ns": 9, "ema_3": None}).append_column(
        SHAPE, pa.array([0, 1], pa.int32())
    )
    found = compare("indicators", rows({}, {"open_time_ns": 9}), stored, [("rsi_2",), ("ema_3", "rsi_2")])
    assert [(d.open_time_ns, d.column) for d in found.differences] == [(9, "ema_3")]


def test_a_row_is_missing_only_when_a_later_one_is_stored_and_last_when_none_replaces_it() -> None:
    given = rows(*({"open_time_ns": t} for t in range(4)))
    found = compare("indicators", given, rows({"open_time_ns": 0}, {"open_time_ns": 2}))
    assert found.only_recomputed.tolist() == [1, 3]
    assert missing_rows(given, found, 1).tolist() == [1]
    given = rows({}, {"revision": 1}, {"open_time_ns": 5}, {"revision": 2})
    assert last_revisions("indicators", given, given).tolist() == [False, False, True, True]
    assert last_revisions("indicators", given.slice(0, 2), given).tolist() == [False, False], "one is elsewhere"


def test_alerts_of_one_bar_are_told_apart_and_counted_by_their_rule_and_what_they_tell_is_compared() -> None:
    given = alerts({}, {"rule": "low"}, {"revision": 1, "state": "withdrawn", "was": "raised"})
    assert compare("alerts", given, given.take([2, 0, 1])).same == 3
    for column, wrong in (
        ("state", "cleared"), ("was", "cleared"), ("late", True), ("value", 2.5), ("message", "A is low"),
        ("severity", "critical"), ("event_time_ns", 2), ("last_offset", 9),
    ):  # fmt: skip
        (found,) = compare("alerts", given, alerts({}, {"rule": "low", column: wrong})).differences
        assert (found.rule, found.column.removeprefix("receipt."), found.stored) == ("low", column, wrong)
    given = alerts({}, {"rule": "low"}, {"revision": 1, "state": "withdrawn"})
    assert last_revisions("alerts", given, given).tolist() == [False, True, True]


CONFIG = config_of(["3t", "1s", "1d"])
FIRST, MISSED, CORRECTED = split("A", 0, 4.0), split("A", 9, 2.0), split("A", 0, 3.0)
EX, LATER = FIRST["ex_time_ns"], MISSED["ex_time_ns"]


def events(*records: tuple[int, dict[str, Any]]) -> pa.Table:
    schema = pa.schema([("type", pa.string()), ("body", pa.string()), ("offset", pa.int64()), ("row", pa.int32())])
    rows = [{"type": r["type"], "body": json.dumps(r), "offset": at, "row": 0} for at, r in records]
    return pa.Table.from_pylist(rows, schema)


def rebuild(part: int) -> dict[str, Any]:
    return {"type": "rebuild", "symbol": "A", "id": "x", "part": part, "parts": 2}


def test_each_timeframe_goes_by_what_it_knew_and_a_rebuild_believes_what_is_known_but_for_bars_cut_by_count() -> None:
    words = split_words(events((7, MISSED), (3, FIRST), (9, CORRECTED)), {(7, 0): ("1s",), (9, 0): ("3t", "1s")})
    assert waiting_splits(words, CONFIG) == {"A": {EX: [4, 4, 3, 3], LATER: [2, 1, 2, 2]}}
    assert missed_splits(words, CONFIG) == [EX, LATER]
    assert split_words(events((7, MISSED)), {(7, 0): ()}) == [], "a record that was refused whole is none"
    words = split_words(events((1, split("A", 9, 2.0, adjusted=True))), {})
    assert waiting_splits(words, CONFIG) == {"A": {LATER: [1, 1, 1, 1]}}, "adjusted prices need no ratio"
    letters = {(7, 0): ("3t", "1s")}
    assert missed_splits(split_words(events((7, MISSED), (8, rebuild(0))), letters), CONFIG) == [LATER]
    whole = split_words(events((7, MISSED), (8, rebuild(0)), (9, rebuild(1))), letters)
    assert waiting_splits(whole, CONFIG) == {"A": {LATER: [1, 2, 2, 2]}}
    assert missed_splits(whole, CONFIG) == []
    refused = split_words(events((7, MISSED), (9, rebuild(1))), {**letters, (9, 0): ()})
    assert missed_splits(refused, CONFIG) == [LATER]


# Which rules run, and since when: a replay of the log or of the lake has them begin where they did.

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


def test_rows_of_a_rule_that_had_the_name_before_or_runs_no_more_are_not_of_this_one() -> None:
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


def lake(*changes: Any, refused: Mapping[tuple[int, int], str] = MappingProxyType({})) -> LakeInputs:
    """A lake without trades, with these changes as control records."""
    place = {"type": "control", "partition": 0, "row": 0}
    bodies = [json.dumps({"type": "control", "change": change}) for change in changes]
    events = [{**place, "offset": i, "body": body} for i, body in enumerate(bodies)]
    told = pa.Table.from_pylist(events, TABLES["events"][1])
    return LakeInputs("market", 0, pa.table({}), np.empty(0, np.bool_), told, refused)


def names(rules: RunningRules) -> list[str]:
    return [rule.name for rule in rules.rules]


def test_a_snapshot_tells_of_all_rules_and_without_a_broker_those_that_control_records_name_are_left_out() -> None:
    put = {"action": "put_rule", "rule": {"name": "other", "expression": "close > 4"}}
    changes = ({"action": "remove_rule", "name": "gone"}, put)
    assert names(lake_rules(LAKE_CONFIG, lake(), None)) == ["plain", "gone", "other"]
    assert names(lake_rules(LAKE_CONFIG, lake(*changes), None)) == ["plain"]
    assert names(lake_rules(LAKE_CONFIG, lake(*changes, refused={(1, 0): "too_late"}), None)) == ["plain", "other"]
    assert names(lake_rules(LAKE_CONFIG, lake(None, 7, {"rule": 5}), None)) == ["plain", "gone", "other"]
    running = RunningRules((LAKE_RULES[0], LAKE_RULES[1], Rule("mine", "close > 9")), {("mine", "A"): 5})
    found = lake_rules(LAKE_CONFIG, lake({"action": "remove_rule", "name": "plain"}), running)
    assert (names(found), found.begins_ns) == (["plain", "mine"], {("mine", "A"): 5})
    assert [(rule.timeframe, rule.message) for rule in found.rules] == [("1s", "")] * 2
