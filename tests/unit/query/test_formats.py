"""Rows as people and programs take them."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.errors import ParameterError
from marketpulse.query.formats import CELL_WIDTH_MAX, FORMATS, render
from refused import assert_raises

ROWS = pa.table({
    "symbol": ["AAA", "B"],
    "price": [101.5, None],
    "n": pa.array([2**63 - 1, -1], pa.int64()),
    "timestamp": pa.array([datetime(2024, 5, 1, 9, 30), datetime(2024, 5, 1, 9, 30, 0, 500_000)], pa.timestamp("us")),
})  # fmt: skip


def test_a_table_has_numbers_to_the_right_and_nothing_where_a_value_is_missing_and_columns_without_rows() -> None:
    assert render(ROWS, "table").decode() == (
        "┌────────┬───────┬─────────────────────┬───────────────────────┐\n"
        "│ symbol │ price │                   n │ timestamp             │\n"
        "├────────┼───────┼─────────────────────┼───────────────────────┤\n"
        "│ AAA    │ 101.5 │ 9223372036854775807 │ 2024-05-01 09:30:00   │\n"
        "│ B      │       │                  -1 │ 2024-05-01 09:30:00.5 │\n"
        "└────────┴───────┴─────────────────────┴───────────────────────┘\n"
        "2 rows\n"
    )
    shown = "┌────────┐\n│ symbol │\n├────────┤\n└────────┘\n0 rows\n"
    assert render(ROWS.slice(0, 0).select(["symbol"]), "table").decode() == shown
    assert json.loads(render(ROWS.slice(0, 0), "json")) == []


def test_json_is_one_array_of_objects_with_every_digit_and_what_it_does_not_know_is_written_plainly() -> None:
    assert json.loads(render(ROWS, "json")) == [
        {"symbol": "AAA", "price": 101.5, "n": 2**63 - 1, "timestamp": "2024-05-01 09:30:00"},
        {"symbol": "B", "price": None, "n": -1, "timestamp": "2024-05-01 09:30:00.5"},
    ]
    rows = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "a_1"])
    assert json.loads(render(rows, "json")) == [{"a": 1, "a_1": 2, "a_1_1": 3}], "columns of one name are told apart"
    rows = pa.table({
        "nan": [float("nan")], "inf": [float("-inf")], "whole": [Decimal(2**100)], "part": [Decimal("1.25")],
        "day": [date(2024, 5, 1)], "zone": pa.array([datetime(2024, 5, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "ns": pa.array([1_714_555_800_123_456_789], pa.timestamp("ns")), "bytes": [b"\x00\xff"],
        "struct": [{"a": [1, None]}], "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    })  # fmt: skip
    assert json.loads(render(rows, "json")) == [{
        "nan": None, "inf": None, "whole": 2**100, "part": 1.25, "day": "2024-05-01", "zone": "2024-05-01 00:00:00Z",
        "ns": "2024-05-01 09:30:00.123456789", "bytes": "00ff", "struct": {"a": [1, None]}, "map": [["k", 1]],
    }]  # fmt: skip


def test_parquet_and_csv_read_back_as_they_were_and_what_they_cannot_hold_says_what_to_do() -> None:
    assert pq.read_table(pa.BufferReader(render(ROWS, "parquet"))).equals(ROWS)
    rows = pa.table({"i": pa.array([pa.MonthDayNano([0, 1, 0])])})
    assert json.loads(render(rows, "json")) == [{"i": "MonthDayNano(months=0, days=1, nanoseconds=0)"}]
    assert_raises(ParameterError, "cast that column to VARCHAR", render, rows, "parquet")
    assert_raises(ParameterError, "table, csv, json, jsonl, parquet, arrow, rows", render, ROWS, "xml")
    assert FORMATS == ("table", "csv", "json", "jsonl", "parquet", "arrow", "rows")
    texts, truths = ['x"y', "l1\nl2", None, "ä,b"], [True, False, None, True]
    rows = pa.table({"a": texts, "b": truths, "c": [0.1, 1e22, None, 5e-324]})
    head, *lines = csv.reader(io.StringIO(render(rows, "csv").decode()))
    assert (head, [line[0] for line in lines]) == (["a", "b", "c"], ['x"y', "l1\nl2", "", "ä,b"])
    assert [line[1] for line in lines] == ["true", "false", "", "true"]
    assert [float(line[2]) for line in lines if line[2]] == [0.1, 1e22, 5e-324]


def test_text_from_outside_cannot_steer_the_terminal_widens_no_box_and_is_shortened() -> None:
    text = render(pa.table({"s": ["\x1b[2J\r\n\u202e\u2028"]}), "table").decode()
    assert "\\u001b[2J\\u000d\\u000a\\u202e\\u2028" in text
    assert not any(c in text for c in "\x1b\r\u202e\u2028")
    lines = render(pa.table({"s": ["日本", "ab", "x" * 500]}), "table").decode().split("\n")
    assert lines[3] == "│ 日本" + " " * (CELL_WIDTH_MAX - 4) + " │"
    assert lines[5] == "│ " + "x" * (CELL_WIDTH_MAX - 1) + "… │"
