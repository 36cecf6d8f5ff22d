"""Stored rows beside recomputed ones, and the splits that a lake tells of."""

import json
from typing import Any

import pyarrow as pa

from market_rows import config_of
from marketpulse.app.receipts.compare import compare, flat, match
from marketpulse.app.receipts.lake_splits import missed_splits, split_words, waiting_splits
from marketpulse.app.receipts.recomputed import missing_rows
from marketpulse.app.receipts.verify import last_revisions
from marketpulse.model.rows import ALERT, indicators_schema
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


def test_a_null_beside_a_value_and_a_receipt_that_differs_are_differences() -> None:
    found = compare("indicators", rows({"ema_3": None}), rows({"last_offset": 3}))
    told = [(d.column, d.stored, d.recomputed) for d in found.differences]
    assert told == [("ema_3", 0.5, None), ("receipt.last_offset", 3, 2)]
    assert (found.same, found.differing) == (0, 1)


def test_a_column_that_the_rows_file_did_not_have_is_passed_over() -> None:
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


def test_each_timeframe_goes_by_what_it_knew() -> None:
    words = split_words(events((7, MISSED), (3, FIRST), (9, CORRECTED)), {(7, 0): ("1s",), (9, 0): ("3t", "1s")})
    assert waiting_splits(words, CONFIG) == {"A": {EX: [4, 4, 3, 3], LATER: [2, 1, 2, 2]}}
    assert missed_splits(words, CONFIG) == [EX, LATER]
    assert split_words(events((7, MISSED)), {(7, 0): ()}) == [], "a record that was refused whole is none"
    words = split_words(events((1, split("A", 9, 2.0, adjusted=True))), {})
    assert waiting_splits(words, CONFIG) == {"A": {LATER: [1, 1, 1, 1]}}, "adjusted prices need no ratio"


def test_a_rebuild_believes_what_is_known_but_for_bars_cut_by_count() -> None:
    letters = {(7, 0): ("3t", "1s")}
    assert missed_splits(split_words(events((7, MISSED), (8, rebuild(0))), letters), CONFIG) == [LATER]
    whole = split_words(events((7, MISSED), (8, rebuild(0)), (9, rebuild(1))), letters)
    assert waiting_splits(whole, CONFIG) == {"A": {LATER: [1, 2, 2, 2]}}
    assert missed_splits(whole, CONFIG) == []
    refused = split_words(events((7, MISSED), (9, rebuild(1))), {**letters, (9, 0): ()})
    assert missed_splits(refused, CONFIG) == [LATER]
