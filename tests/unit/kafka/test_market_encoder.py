import json

import pyarrow as pa
import pytest

from marketpulse.errors import ParameterError
from marketpulse.kafka.codec import FRAME_HEADERS, encode_market
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.model.market import BAR_IN, EVENT, TRADE

T0 = 1_768_600_000_000_000_000


def trades(symbols: list[str]) -> pa.RecordBatch:
    rows = [
        {"type": "trade", "symbol": s, "source": "s", "event_time_ns": T0 + i, "price": 0.1 + i, "size": 2.0}
        for i, s in enumerate(symbols)
    ]
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


def test_a_trade_without_a_symbol_has_no_frame() -> None:
    batch = pa.RecordBatch.from_pylist([{"type": "trade", "symbol": None}], schema=TRADE)
    with pytest.raises(ParameterError, match="symbol"):
        encode_market(batch, wire="arrow", partitions=3)


def test_an_empty_batch_gives_no_records() -> None:
    assert encode_market(trades([]), wire="json", partitions=4) == []
    assert encode_market(trades([]), wire="arrow", partitions=4) == []
