import json
from typing import Any

import numpy as np
import pyarrow as pa

from marketpulse.kafka.codec import MarketDecoder, row_as_json, to_tables
from marketpulse.kafka.records import records_of
from marketpulse.model.market import MarketBatch
from marketpulse.model.tables import TABLES

T0 = 1_768_600_000_000_000_000
HEAD = {"symbol": "AAA", "source": "s", "event_time_ns": T0}
RECORDS: list[dict[str, Any]] = [
    {"type": "trade", **HEAD, "venue": "XNYS", "price": 101.25, "size": 5.0, "trade_id": "id-1", "conditions": ["@"]},
    {"type": "heartbeat", "source": "s", "event_time_ns": T0},
    {"type": "trade", **HEAD, "price": 101.5, "size": 1.0, "ingest_time_ns": T0 + 3},
    {"type": "quote", **HEAD, "bid": 1.5, "bid_size": 1.0, "ask": 1.75, "ask_size": 2.0},
    {"type": "clock"},
    {"type": "bar", **HEAD, "timeframe": "1d", "open_time_ns": T0, "close_time_ns": T0 + 1, "open": 1.0, "high": 2.0,
     "low": 0.5, "close": 1.5, "volume": 7.0, "vwap": 1.25, "trade_count": 3, "final": True,
     "session_date": "2026-01-16"},
    {"type": "split", **HEAD, "ratio": 2, "ex_time_ns": T0},
    {"type": "trade", **HEAD, "price": 101.75, "size": 2.0, "trade_id": "é"},
    {"type": "hello", "source": "s", "mode": "live", "run_id": "1"},
]  # fmt: skip


def batch() -> MarketBatch:
    values = [json.dumps(record).encode() for record in RECORDS]
    found, letters = MarketDecoder().decode("market", records_of(values, 3, np.arange(10, 10 + len(values))))
    assert letters == []
    return found


def given(record: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    return {name: record.get(name) for name in schema.names}


def test_rows_come_into_their_tables_with_their_position() -> None:
    tables = to_tables(batch())
    assert sorted(tables) == ["events", "quotes", "trades"]
    for table, rows in tables.items():
        assert rows.schema.equals(TABLES[table][1])
    for table, offsets in (("trades", [0, 2, 7]), ("quotes", [3])):
        wanted = [
            given({**RECORDS[i], "topic": "market", "partition": 3, "offset": 10 + i, "row": 0}, TABLES[table][1])
            for i in offsets
        ]
        assert tables[table].to_pylist() == wanted


def test_events_hold_the_whole_record_as_text_and_marks_of_time_are_dropped() -> None:
    events = to_tables(batch())["events"].to_pylist()
    assert [event["offset"] for event in events] == [15, 16, 18]
    assert [json.loads(event["body"]) for event in events] == [RECORDS[i] for i in (5, 6, 8)]
    assert [(e["type"], e["symbol"], e["event_time_ns"]) for e in events] == [
        ("bar", "AAA", T0), ("split", "AAA", T0), ("hello", None, None)
    ]  # fmt: skip


def test_each_row_can_be_shown_as_its_object() -> None:
    found = batch()
    assert [json.loads(row_as_json(found, row)) for row in range(len(found))] == RECORDS


def test_a_batch_without_rows_has_no_tables() -> None:
    found, _ = MarketDecoder().decode("m", records_of([]))
    assert to_tables(found) == {}
