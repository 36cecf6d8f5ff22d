"""Rows written from where they lie: JSON that its library reads back as what the records say; and what is measured."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from marketpulse.kafka.live_writer import LiveWriter
from marketpulse.model.market import StringTable
from marketpulse.model.record_rows import RecordRows, RowField, ValueKind
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY
from written_rows import written

RECORD = np.dtype([("name", "i4"), ("day", "i4"), ("count", "i8"), ("price", "f8")])
FIELDS = [
    RowField("key", ValueKind.NAME, 0, 0), RowField("day", ValueKind.DATE, 0, 4),
    RowField("count", ValueKind.LONG, 0, 8, sign=15), RowField("part", ValueKind.INT, 1, 0, "inner"),
    RowField("price", ValueKind.DOUBLE, 0, 16, "inner"), RowField("size", ValueKind.DOUBLE, 2, 8),
]  # fmt: skip
NAMES = ["A", "", 'quoted "name"\\', "Ä\u2028\x01\n", "as long as a symbol may be and longer"]


def sample(n: int, names: list[str]) -> RecordRows:
    random = np.random.default_rng(n)
    records = np.zeros(n, RECORD)
    records["name"] = random.integers(0, len(names), n)
    records["day"] = random.integers(0, 40_000, n)
    records["count"] = random.integers(-(2**63), 2**63 - 1, n)
    records["price"] = random.integers(0, 2**63, n).view(np.float64)
    return RecordRows((records, np.array([-7], np.int32), random.random((n, 2))), (StringTable(names),))


@pytest.mark.parametrize("n", [0, 1, 3, 5_000])
def test_each_row_is_the_object_that_its_records_say(n: int) -> None:
    rows = sample(n, NAMES)
    records, _, sizes = rows.blocks
    found = written(FIELDS, rows)
    assert [key for key, _ in found] == [NAMES[i].encode() for i in records["name"]]
    assert [json.loads(value) for _, value in found] == [
        {
            "key": NAMES[record["name"]],
            "day": str(date(1970, 1, 1) + timedelta(int(record["day"]))),
            "count": int(record["count"]) if record["count"] >= 0 else None,
            "inner": {"part": -7, "price": float(record["price"]) if np.isfinite(record["price"]) else None},
            "size": float(size[1]),
        }
        for record, size in zip(records, sizes, strict=True)
    ]


def test_names_that_are_larger_than_the_room_for_them_get_more() -> None:
    found = written(FIELDS, sample(3, ["\x00" * 300_000]))
    assert [(key, json.loads(value)["key"]) for key, value in found] == [(b"\x00" * 300_000, "\x00" * 300_000)] * 3


def test_names_that_come_later_are_there() -> None:
    names, records = StringTable(["A"]), np.zeros(1, RECORD)
    assert written(FIELDS[:1], RecordRows((records,), (names,))) == [(b"A", b'{"key":"A"}')]
    records["name"] = names.intern("later")
    assert written(FIELDS[:1], RecordRows((records,), (names,))) == [(b"later", b'{"key":"later"}')]


def measured() -> float:
    return REGISTRY.get_sample_value("marketpulse_event_latency_seconds_count") or 0.0


def test_of_live_rows_trades_that_waited_for_this_process_are_not_measured(tmp_path: Path) -> None:
    """No broker is asked."""
    settings = Settings(data_dir=tmp_path, kafka={"bootstrap_servers": "127.0.0.1:9"})
    writer = LiveWriter(settings, [RowField("symbol", ValueKind.NAME, 0, 0)], began_ns=1_000)
    rows, before = RecordRows((np.zeros(2, np.int32),), (StringTable(["A"]),)), measured()
    for ingest_ns, more in (([999, 0], 0), ([0, 0], 0), ([1_000, 0], 1)):
        writer.write(rows, np.array(ingest_ns), now_ns=2_000)
        assert measured() == before + more
    writer.close()
