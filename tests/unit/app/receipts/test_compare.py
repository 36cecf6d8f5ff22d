from typing import Any

import pyarrow as pa

from marketpulse.app.receipts.compare import compare, flat, match
from marketpulse.app.receipts.recomputed import missing_rows
from marketpulse.app.receipts.verify import last_revisions
from marketpulse.model.rows import ALERT, indicators_schema
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
    listed = [
        {**plain, **row, "receipt": {**RECEIPT, **{k: v for k, v in row.items() if k in RECEIPT}}} for row in given
    ]
    return flat(pa.Table.from_pylist(listed, schema))


def alerts(*given: dict[str, Any]) -> pa.Table:
    """The same of alerts."""
    return rows(*given, plain=RAISED, schema=ALERT)


def test_rows_are_matched_by_key_in_whatever_order_they_stand() -> None:
    left = rows({"open_time_ns": 1}, {"open_time_ns": 2}, {"symbol": "B"})
    right = rows({"symbol": "B"}, {"open_time_ns": 2}, {"open_time_ns": 3})
    mine, theirs = match("indicators", left, right)
    assert sorted(zip(mine.tolist(), theirs.tolist(), strict=True)) == [(1, 1), (2, 0)]


def test_bars_by_count_that_begin_at_one_time_are_told_apart_by_their_first_record() -> None:
    left = rows({"timeframe": "3t", "first_offset": 5}, {"timeframe": "3t", "first_offset": 8})
    right = rows({"timeframe": "3t", "first_offset": 8})
    mine, theirs = match("indicators", left, right)
    assert (mine.tolist(), theirs.tolist()) == ([1], [0])


def test_bars_by_count_that_begin_with_the_same_quote_are_told_apart_by_their_last_record() -> None:
    first, second = ({"timeframe": "3t", "first_offset": 5, "last_offset": last} for last in (9, 14))
    found = compare("bars", rows(second), rows(first, second))
    assert (found.same, found.differences, found.only_stored.tolist()) == (1, [], [0])


def test_a_null_beside_a_value_and_a_receipt_that_differs_are_differences() -> None:
    found = compare("indicators", rows({"ema_3": None}), rows({"last_offset": 3}))
    assert [(d.column, d.stored, d.recomputed) for d in found.differences] == [
        ("ema_3", 0.5, None),
        ("receipt.last_offset", 3, 2),
    ]
    assert (found.same, found.differing) == (0, 1)


def test_a_column_that_the_rows_file_did_not_have_is_passed_over() -> None:
    stored = rows({"ema_3": None}, {"open_time_ns": 9, "ema_3": None})
    stored = stored.append_column(SHAPE, pa.array([0, 1], pa.int32()))
    shapes = [("rsi_2",), ("ema_3", "rsi_2")]
    found = compare("indicators", rows({}, {"open_time_ns": 9}), stored, shapes)
    assert [(d.open_time_ns, d.column) for d in found.differences] == [(9, "ema_3")]


def test_a_row_is_missing_only_when_a_later_one_is_stored() -> None:
    given = rows(*({"open_time_ns": t} for t in range(4)))
    found = compare("indicators", given, rows({"open_time_ns": 0}, {"open_time_ns": 2}))
    assert found.only_recomputed.tolist() == [1, 3]
    assert missing_rows(given, found, 1).tolist() == [1]


def test_the_last_revision_of_a_row_is_the_one_that_none_replaces() -> None:
    given = rows({}, {"revision": 1}, {"open_time_ns": 5}, {"revision": 2})
    assert last_revisions("indicators", given, given).tolist() == [False, False, True, True]
    assert last_revisions("indicators", given.slice(0, 2), given).tolist() == [False, False], "one is elsewhere"


def test_alerts_of_one_bar_are_told_apart_by_their_rule_and_what_they_tell_is_compared() -> None:
    given = alerts({}, {"rule": "low"}, {"revision": 1, "state": "withdrawn", "was": "raised"})
    assert compare("alerts", given, given.take([2, 0, 1])).same == 3
    for column, wrong in (
        ("state", "cleared"), ("was", "cleared"), ("late", True), ("value", 2.5), ("message", "A is low"),
        ("severity", "critical"), ("event_time_ns", 2), ("last_offset", 9),
    ):  # fmt: skip
        (found,) = compare("alerts", given, alerts({}, {"rule": "low", column: wrong})).differences
        assert (found.rule, found.column.removeprefix("receipt."), found.stored) == ("low", column, wrong)


def test_the_last_revision_of_an_alert_is_counted_by_rule() -> None:
    given = alerts({}, {"rule": "low"}, {"revision": 1, "state": "withdrawn"})
    assert last_revisions("alerts", given, given).tolist() == [False, True, True]
