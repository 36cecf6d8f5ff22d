"""Stored rows beside recomputed ones, the rules that a replay begins with, and what a receipt and a report say."""

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from market_rows import Engine, Row, batch_of, clock, config_of, control, heartbeat, split, trade
from marketpulse.alerts.rule import Rule
from marketpulse.app.receipts.bar_arithmetic import explain_column
from marketpulse.app.receipts.compare import Difference, compare, flat, match
from marketpulse.app.receipts.explain_text import receipt_text
from marketpulse.app.receipts.lake_rules import lake_rules
from marketpulse.app.receipts.lake_splits import missed_splits, split_words, waiting_splits
from marketpulse.app.receipts.lake_trades import LakeInputs
from marketpulse.app.receipts.loaded import file_of, place_text
from marketpulse.app.receipts.recomputed import Gathered, missing_rows
from marketpulse.app.receipts.replay import Replay
from marketpulse.app.receipts.report import Report
from marketpulse.app.receipts.report_text import as_object, difference_text, lines
from marketpulse.app.receipts.running_rules import RunningRules, begin_as, rules_of, told_by
from marketpulse.app.receipts.time_text import parse_time, show_time
from marketpulse.app.receipts.trace import Input
from marketpulse.app.receipts.verify import last_revisions
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.errors import ParameterError
from marketpulse.model.market import LOADED, StringTable
from marketpulse.model.rows import ALERT, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.query.stored_rows import SHAPE

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


def test_rows_match_by_key_and_bars_by_count_by_records_and_are_missing_only_before_a_stored_one() -> None:
    left = rows({"open_time_ns": 1}, {"open_time_ns": 2}, {"symbol": "B"})
    assert matched(left, rows({"symbol": "B"}, {"open_time_ns": 2}, {"open_time_ns": 3})) == [(1, 1), (2, 0)]
    left = rows({"timeframe": "3t", "first_offset": 5}, {"timeframe": "3t", "first_offset": 8})
    assert matched(left, rows({"timeframe": "3t", "first_offset": 8})) == [(1, 0)]
    first, second = ({"timeframe": "3t", "first_offset": 5, "last_offset": last} for last in (9, 14))
    found = compare("bars", rows(second), rows(first, second))
    assert (found.same, found.differences, found.only_stored.tolist()) == (1, [], [0])
    given = rows(*({"open_time_ns": t} for t in range(4)))
    found = compare("indicators", given, rows({"open_time_ns": 0}, {"open_time_ns": 2}))
    assert found.only_recomputed.tolist() == [1, 3]
    assert missing_rows(given, found, 1).tolist() == [1]
    given = rows({}, {"revision": 1}, {"open_time_ns": 5}, {"revision": 2})
    assert last_revisions("indicators", given, given).tolist() == [False, False, True, True]
    assert last_revisions("indicators", given.slice(0, 2), given).tolist() == [False, False], "one is elsewhere"


def test_nulls_receipts_and_alerts_of_each_rule_that_differ_are_differences_but_no_column_the_file_lacks() -> None:
    found = compare("indicators", rows({"ema_3": None}), rows({"last_offset": 3}))
    told = [(d.column, d.stored, d.recomputed) for d in found.differences]
    assert told == [("ema_3", 0.5, None), ("receipt.last_offset", 3, 2)]
    assert (found.same, found.differing) == (0, 1)
    stored = rows({"ema_3": None}, {"open_time_ns": 9, "ema_3": None}).append_column(
        SHAPE, pa.array([0, 1], pa.int32())
    )
    found = compare("indicators", rows({}, {"open_time_ns": 9}), stored, [("rsi_2",), ("ema_3", "rsi_2")])
    assert [(d.open_time_ns, d.column) for d in found.differences] == [(9, "ema_3")]
    given = alerts({}, {"rule": "low"}, {"revision": 1, "state": "withdrawn", "was": "raised"})
    assert compare("alerts", given, given.take([2, 0, 1])).same == 3
    for column, wrong in (
        ("state", "cleared"), ("was", "cleared"), ("late", True), ("value", 2.5), ("message", "A is low"),
        ("severity", "critical"), ("event_time_ns", 2), ("last_offset", 9),
    ):  # fmt: skip
        (one,) = compare("alerts", given, alerts({}, {"rule": "low", column: wrong})).differences
        assert (one.rule, one.column.removeprefix("receipt."), one.stored) == ("low", column, wrong)
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


def test_rules_of_starts_control_records_and_snapshots_begin_where_they_were_put_or_are_left_out() -> None:
    engine, told = restarted(config(), config(HIGH, FALLS))
    assert told.num_rows > 4
    assert rules_of(engine.state).begins_ns.keys() == {("high", "A"), ("falls", "A")}, "B was met later"
    again, _, _ = replayed(engine)
    found = compare("alerts", again, told)
    assert (found.same, found.differences) == (told.num_rows, [])
    assert len(found.only_recomputed) == len(found.only_stored) == 0
    naive = alerts_of(Engine(engine.config), ROWS)  # why beginnings matter: it would miss rows that were never told
    assert len(compare("alerts", naive, told).only_recomputed) > 0
    run = Replay(config(HIGH), "market", 0, new_state(config(HIGH)))
    put = control("put_rule", rule={"name": "mine", "expression": "close > 1"})
    for part in (put, control("remove_rule", name="mine")):
        list(run.take(batch_of([part], 0, StringTable())))
    assert run.rules == {"high", "mine"}
    assert told_by(pa.table({}), ("high",), {}).tolist() == []  # a lake without the table: until the first alert
    put = {"action": "put_rule", "rule": {"name": "other", "expression": "close > 4"}}
    changes = ({"action": "remove_rule", "name": "gone"}, put)
    assert names(lake_rules(LAKE_CONFIG, lake(), None)) == ["plain", "gone", "other"]
    assert names(lake_rules(LAKE_CONFIG, lake(*changes), None)) == ["plain"]
    assert names(lake_rules(LAKE_CONFIG, lake(*changes, refused={(1, 0): "too_late"}), None)) == ["plain", "other"]
    assert names(lake_rules(LAKE_CONFIG, lake(None, 7, {"rule": 5}), None)) == ["plain", "gone", "other"]
    running = RunningRules((LAKE_RULES[0], LAKE_RULES[1], Rule("mine", "close > 9")), {("mine", "A"): 5})
    rules = lake_rules(LAKE_CONFIG, lake({"action": "remove_rule", "name": "plain"}), running)
    assert (names(rules), rules.begins_ns) == (["plain", "mine"], {("mine", "A"): 5})
    assert [(rule.timeframe, rule.message) for rule in rules.rules] == [("1s", "")] * 2


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


HALF_PAST_TWO = 1_767_623_400_000_000_000  # date -d 2026-01-05T14:30:00Z +%s


def traded(offset: int, time: int, price: float, size: float, *, counts: bool = True) -> Input:
    return Input("trade", offset, 0, time, "feed", price, size, counts=counts)


def test_a_column_follows_from_the_trades_that_count_by_time_or_log_or_from_the_newest_bars() -> None:
    trades = [traded(7, 30, 4.0, 1.0), traded(5, 10, 5.0, 1.0), traded(6, 20, 9.0, 3.0, counts=False), traded(8, 40, 7.0, 3.0)]  # fmt: skip
    values = {"open": 5.0, "high": 7.0, "low": 4.0, "close": 7.0, "volume": 5.0, "vwap": 6.0, "trade_count": 3}
    explained = {name: explain_column(name, trades, by_count=False) for name in values}
    assert {name: found for name, (_, found) in explained.items()} == values
    assert all(lines for lines, _ in explained.values())
    swapped = [traded(1, 50, 2.0, 1.0), traded(2, 10, 3.0, 1.0)]
    assert explain_column("close", swapped, by_count=True)[1] == 3.0
    assert explain_column("close", swapped, by_count=False)[1] == 2.0
    assert explain_column("vwap", [traded(1, 1, 2.0, 0.0)], by_count=False)[1] is None, "there is no volume"
    assert explain_column("close", [traded(1, 1, 2.0, 0.0, counts=False)], by_count=False)[1] is None, "nor any trade"

    def given(offset: int, opens: int, close: float, volume: float, vwap: float) -> Input:
        bar = {"open": 1.0, "high": close, "low": 0.5, "close": close, "volume": volume, "vwap": vwap, "trade_count": 2}
        return Input("bar", offset, 0, opens, "feed", close, volume, bar=bar)

    bars = [given(1, 0, 3.0, 1.0, 2.0), given(2, 0, 4.0, 1.0, 2.0), given(3, 60, 2.0, 3.0, 6.0)]
    for column, value in (("high", 4.0), ("volume", 4.0), ("vwap", 5.0), ("trade_count", 4)):
        assert explain_column(column, bars, by_count=False)[1] == value, column
    assert explain_column("vwap", [given(1, 0, 3.0, 1.0, math.nan)], by_count=False)[1] is None


def test_a_place_is_of_the_log_or_a_file_and_a_time_is_read_as_written_to_the_nanosecond() -> None:
    assert (place_text(12, 3), place_text(LOADED + 45, 0)) == ("12.3", "file row 45")
    assert (file_of("file:trades.csv@1a.2b"), file_of("market")) == ("trades.csv", None)
    nowhere = dict.fromkeys(("first_offset", "first_row", "last_offset", "last_row"))
    receipt = {"topic": "market", "partition": 2, **nowhere, "late_count": 0, "engine_version": "3"}
    loaded = {**receipt, "topic": "file:t.csv@1a.2b", "first_offset": 2, "last_offset": 3_000}
    assert "rows 2 to 3,000 of t.csv, which was loaded" in receipt_text(loaded)
    assert "loaded history, and offsets to 9.1" in receipt_text({**receipt, "last_offset": 9, "last_row": 1})
    assert "filled in, or made of loaded history alone" in receipt_text(receipt)
    for text in ("05T14:30:00Z", "05 14:30", "05T14:30:00.000", "05T09:30:00-05:00"):
        assert parse_time(f"2026-01-{text}", "--from") == HALF_PAST_TWO, text
    assert parse_time(str(HALF_PAST_TWO), "--from") == HALF_PAST_TWO
    time = HALF_PAST_TWO + 123_456_789
    assert show_time(time) == "2026-01-05T14:30:00.123456789Z"
    assert parse_time(show_time(time), "--from") == time
    assert show_time(HALF_PAST_TWO) == "2026-01-05T14:30:00Z"
    assert parse_time("2026-01-05", "--to") == HALF_PAST_TWO - 52_200 * 10**9
    with pytest.raises(ParameterError, match=r"--from 'noon' is no time: write one such as"):
        parse_time("noon", "--from")


def test_a_difference_names_row_column_values_and_rule_and_a_report_what_was_compared_and_its_verdict() -> None:
    wrong = Difference("bars", "AAA", "1m", HALF_PAST_TWO, 1, "vwap", 2.5, 2.0)
    lost = Difference("alerts", "AAA", "1m", HALF_PAST_TWO, 0, "", None, "there", "high")
    assert [difference_text(one) for one in (wrong, lost)] == [
        "bars AAA 1m 2026-01-05T14:30:00Z revision 1: vwap is stored as 2.5, recomputed 2.0",
        "alerts AAA 1m high 2026-01-05T14:30:00Z revision 0: is not stored, though later rows are",
    ]
    report = Report()
    report.tallies["bars"].stored, report.tallies["bars"].same = 1_200, 1_200
    said = list(lines(report))
    assert said[0] == "bars        1,200 stored rows: 1,200 the same to the bit"
    assert said[-1] == "Every checked row has the bits that its inputs give."
    assert as_object(report)["equal"]
    report.tallies["bars"].differing = 1
    report.add([wrong])
    said = list(lines(report))
    assert said[-1] == "1 rows differ."
    assert f"differs: {difference_text(wrong)}" in said
    assert not as_object(report)["equal"]
