"""Market rows on their way to the log, and from it to tables."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.errors import ParameterError
from marketpulse.kafka.codec import FRAME_HEADERS, MarketDecoder, encode_market, row_as_json, to_tables
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.records import records_of
from marketpulse.model.market import BAR_IN, EVENT, TRADE, MarketBatch
from marketpulse.model.tables import TABLES

T0 = 1_768_600_000_000_000_000


def trades(symbols: list[str]) -> pa.RecordBatch:
    head = {"type": "trade", "source": "s", "size": 2.0}
    rows = [{**head, "symbol": s, "event_time_ns": T0 + i, "price": 0.1 + i} for i, s in enumerate(symbols)]
    return pa.RecordBatch.from_pylist(rows, schema=TRADE)


def test_a_trade_is_one_object_without_its_nulls_under_its_symbol() -> None:
    (record,) = encode_market(trades(["AAA"]), wire="json", partitions=4)
    assert (record.partition, record.key, record.headers) == (None, b"AAA", None)
    assert record.value == (
        b'{"type":"trade","symbol":"AAA","source":"s","event_time_ns":1768600000000000000,"price":0.1,"size":2.0}'
    )


def test_dates_flags_lists_and_escapes_are_written_as_json_has_them() -> None:
    batch = pa.RecordBatch.from_pylist(
        [{"symbol": 'q"\\\t\x01é', "final": False, "session_date": 19_782, "trade_count": -(2**63)},
         {"symbol": "b", "open": float("nan"), "high": float("inf"), "low": -0.0, "close": 5e-324}], schema=BAR_IN,
    )  # fmt: skip
    first, second = (json.loads(r.value) for r in encode_market(batch, wire="json", partitions=4))
    assert first == {"symbol": 'q"\\\t\x01é', "final": False, "session_date": "2024-02-29", "trade_count": -(2**63)}
    assert second == {"symbol": "b", "low": -0.0, "close": 5e-324}


def test_frames_hold_the_rows_of_one_partition_in_order() -> None:
    symbols = [f"S{i % 40}" for i in range(400)]
    records = encode_market(trades(symbols), wire="arrow", partitions=4)
    assert sorted(r.partition or 0 for r in records) == [0, 1, 2, 3]
    seen = 0
    for record in records:
        assert (record.key, record.headers) == (None, FRAME_HEADERS)
        table = pa.ipc.open_stream(record.value).read_all()
        held = [s.encode() for s in table.column("symbol").to_pylist()]
        assert set(partitions_of(held, 4).tolist()) == {record.partition}
        times = table.column("event_time_ns").to_pylist()
        assert times == sorted(times)
        seen += table.num_rows
    assert seen == 400


def test_a_large_batch_becomes_several_frames_in_order() -> None:
    records = encode_market(trades(["AAA"] * 60_000), wire="arrow", partitions=1)
    assert len(records) > 1
    assert max(len(r.value) for r in records) <= 900_000
    times = [t for r in records for t in pa.ipc.open_stream(r.value).read_all().column("event_time_ns").to_pylist()]
    assert times == list(range(T0, T0 + 60_000))


def test_an_event_is_its_body_and_goes_everywhere_when_it_has_no_symbol() -> None:
    rows = [{"symbol": "AAA", "body": '{"type":"gap"}'}, {"symbol": None, "body": '{"type":"hello"}'}]
    records = encode_market(pa.RecordBatch.from_pylist(rows, schema=EVENT), wire="arrow", partitions=3)
    assert [(r.partition, r.key, r.value) for r in records] == [
        (None, b"AAA", b'{"type":"gap"}'), *((p, None, b'{"type":"hello"}') for p in range(3))
    ]  # fmt: skip


def test_a_trade_without_a_symbol_has_no_frame_and_an_empty_batch_gives_no_records() -> None:
    batch = pa.RecordBatch.from_pylist([{"type": "trade", "symbol": None}], schema=TRADE)
    with pytest.raises(ParameterError, match="symbol"):
        encode_market(batch, wire="arrow", partitions=3)
    assert encode_market(trades([]), wire="json", partitions=4) == []
    assert encode_market(trades([]), wire="arrow", partitions=4) == []


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


def test_rows_come_into_their_tables_with_their_position() -> None:
    tables = to_tables(batch())
    assert sorted(tables) == ["events", "quotes", "trades"]
    for table, rows in tables.items():
        assert rows.schema.equals(TABLES[table][1])
    for table, places in (("trades", [0, 2, 7]), ("quotes", [3])):
        whole = [RECORDS[i] | {"topic": "market", "partition": 3, "offset": 10 + i, "row": 0} for i in places]
        assert tables[table].to_pylist() == [{name: row.get(name) for name in TABLES[table][1].names} for row in whole]


def test_events_hold_the_whole_record_as_text_and_marks_of_time_are_dropped() -> None:
    events = to_tables(batch())["events"].to_pylist()
    assert [event["offset"] for event in events] == [15, 16, 18]
    assert [json.loads(event["body"]) for event in events] == [RECORDS[i] for i in (5, 6, 8)]
    assert [(e["type"], e["symbol"], e["event_time_ns"]) for e in events] == [
        ("bar", "AAA", T0), ("split", "AAA", T0), ("hello", None, None)
    ]  # fmt: skip


def test_each_row_can_be_shown_as_its_object_and_a_batch_without_rows_has_no_tables() -> None:
    found = batch()
    assert [json.loads(row_as_json(found, row)) for row in range(len(found))] == RECORDS
    found, _ = MarketDecoder().decode("m", records_of([]))
    assert to_tables(found) == {}
