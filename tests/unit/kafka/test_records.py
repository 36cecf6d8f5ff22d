"""Market rows on their way to the log; records as they were polled, and what they become; what a control record states."""

import base64
import hashlib
import json
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Message, Producer

from market_rows import at, trade
from marketpulse.errors import ParameterError
from marketpulse.kafka import codec, native
from marketpulse.kafka.client import LogProducer
from marketpulse.kafka.columns import KIND, OFFSET, SYMBOL, TRADE_ID_START, A, Columns, joined
from marketpulse.kafka.control_record import ControlRecord, control_record, control_value, offsets_headers
from marketpulse.kafka.dead_letter import DEAD_LETTER_BYTES_MAX, encode_dead_letter
from marketpulse.kafka.frame_writer import FRAME_CONTENT_TYPE, write_frame
from marketpulse.kafka.handle import handle_of
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.passing import chosen_rows, joined_rows, no_rows, records_as_rows, rows_as_text
from marketpulse.kafka.polled_bytes import from_bytes, to_bytes
from marketpulse.kafka.records import Records, records_of, records_of_messages
from marketpulse.model.market import ABSENT, BAR_IN, EVENT, QUOTE, TRADE, DeadLetter, MarketBatch
from marketpulse.model.rows import DEAD_LETTER
from marketpulse.model.tables import TABLES
from marketpulse.ports import Hello, Polled, RejectedInput
from refused import assert_raises


def seen(records: Records) -> list[tuple[int, bytes | None, bytes | None, bool, int]]:
    return [
        (int(records.offsets[i]), records.key(i), records.value(i), records.is_frame(i), int(records.appended_ms[i]))
        for i in range(len(records))
    ]


def test_values_keys_and_what_is_missing_come_back_also_of_messages_and_a_part_is_in_the_same_memory() -> None:
    records = records_of(
        [b"one", None, b"", b"four"], 7, np.array([3, 5, 6, 9]), keys=[b"a", b"", None, b"bc"],
        appended_ms=np.array([10, 20, 30, 40]), frames=[False, False, False, True],
    )  # fmt: skip
    assert records.partition == 7
    assert seen(records) == [
        (3, b"a", b"one", False, 10), (5, b"", None, False, 20), (6, None, b"", False, 30), (9, b"bc", b"four", True, 40),
    ]  # fmt: skip
    assert [records.at(offset) for offset in (3, 5, 6, 9)] == [0, 1, 2, 3]
    records = records_of([b"one", b"two", None, b"four"], keys=[b"a", None, b"c", b"d"])
    assert seen(records.part(1, 3)) == seen(records)[1:3]
    assert seen(records.part(1, 3).part(1, 2)) == seen(records)[2:3]
    assert records.part(1, 3).data is records.data
    common: dict[str, Any] = {"topic": "t", "partition": 2}
    times = [(TIMESTAMP_LOG_APPEND_TIME, 100), (TIMESTAMP_LOG_APPEND_TIME, 101)]
    frame: list[tuple[str, str | bytes | None]] = [("content-type", FRAME_CONTENT_TYPE)]
    records = records_of_messages(2, [
        Message(**common, offset=5, key=b"k", value=b"frame", headers=frame, timestamp=times[0]),
        Message(**common, offset=6, key=None, value=None, headers=[], timestamp=times[1]),
    ])  # fmt: skip
    assert records.partition == 2
    assert seen(records) == [(5, b"k", b"frame", True, 100), (6, None, None, False, 101)]


ROWS = pa.RecordBatch.from_pylist([trade("A", 1.0 + i, 5.0, 2.0, venue="X", trade_id=f"{i}") for i in range(3)], TRADE)
JSON = [record.value for record in codec.encode_market(ROWS, wire="json", partitions=1)]
FRAME = codec.encode_market(ROWS, wire="arrow", partitions=1)[0].value


@pytest.mark.parametrize(("values", "rows"), [
    (JSON, 3), ([JSON[0], b"no market data", JSON[1]], 2), ([FRAME], 3), ([JSON[0], FRAME, JSON[1], FRAME], 8), ([FRAME, b"no market data"], 3),
], ids=["json", "json and a refused record", "a frame", "both wires", "a frame and a refused record"])  # fmt: skip
def test_every_column_is_in_one_piece_and_the_bytes_are_read_only(values: list[bytes], rows: int) -> None:
    """One layout for all, since kernels are compiled for each."""
    times = np.full(len(values), at(9) // 10**6)
    records = records_of(values, appended_ms=times, frames=[value is FRAME for value in values])
    batch, _ = codec.MarketDecoder().decode("market", records)
    arrays = [column for field in fields(batch) if isinstance(column := getattr(batch, field.name), np.ndarray)]
    assert len(arrays) > 20
    assert all(array.flags.c_contiguous for array in arrays)
    assert not batch.data.flags.writeable
    assert (len(batch), batch.a.tolist()) == (rows, [5.0] * rows)


@pytest.mark.parametrize("run", [1, 5, 40, 400])
def test_parts_are_joined_in_the_order_of_the_log_however_long_their_runs(run: int) -> None:
    """Three parts whose rows take turns, so many at a time; each row's bytes still begin where its part's do."""
    owner = np.arange(1_000) // run % 3
    parts = []
    for number in range(3):
        offsets = np.flatnonzero(owner == number)
        part = Columns.undefined(len(offsets), np.full(7 + number, number, np.uint8))
        part.blank(slice(None))
        part.longs[OFFSET], part.longs[TRADE_ID_START], part.floats[A] = offsets, number, offsets * 0.5
        part.ids[SYMBOL], part.flags[KIND] = number, number
        part.rare[0] = {"of": number}
        parts.append(part)
    whole = joined(parts)
    assert whole.longs[OFFSET].tolist() == list(range(1_000))
    assert whole.floats[A].tolist() == [0.5 * offset for offset in range(1_000)]
    assert whole.ids[SYMBOL].tolist() == whole.flags[KIND].tolist() == owner.tolist()
    assert whole.data[whole.longs[TRADE_ID_START]].tolist() == owner.tolist()
    assert whole.rare == {int(np.flatnonzero(owner == n)[0]): {"of": n} for n in range(3) if (owner == n).any()}


def pairs(rows: codec.RowRecords) -> list[tuple[bytes, bytes]]:
    """(key, value) of each row; the line feed is checked and left off."""
    found = []
    for i in range(len(rows)):
        value = rows.values[rows.value_ends[i] : rows.value_ends[i + 1]].tobytes()
        assert value.endswith(b"\n")
        found.append((rows.keys[rows.key_ends[i] : rows.key_ends[i + 1]].tobytes(), value[:-1]))
    return found


def test_chosen_records_keep_bytes_and_keys_in_the_order_asked_for_and_frames_become_the_same_json() -> None:
    records = records_of([b'{"a": 1}', b"{}", b'{"of no contract": true}'], keys=[b"K", b"", b"LONGER"])
    chosen = records_as_rows(records, np.array([2, 0]))
    assert pairs(chosen) == [(b"LONGER", b'{"of no contract": true}'), (b"K", b'{"a": 1}')]
    part = records_of([b"first", b"second", b"third"], keys=[b"1", b"2", b"3"]).part(1, 3)
    assert pairs(records_as_rows(part, np.array([0, 1]))) == [(b"2", b"second"), (b"3", b"third")]
    records = records_of([b"a", b"bb", b"ccc"], keys=[b"1", b"2", b"3"])
    first, second = (records_as_rows(records, np.array(places)) for places in ([0, 2], [1]))
    whole = joined_rows([first, no_rows(), chosen_rows(second, np.array([0]))])
    assert pairs(whole) == [(b"1", b"a"), (b"3", b"ccc"), (b"2", b"bb")]
    assert (pairs(chosen_rows(whole, np.array([1]))), pairs(joined_rows([]))) == ([(b"3", b"ccc")], [])
    head = {"source": "x", "event_time_ns": at(0)}
    plain = {"type": "trade", "symbol": "A", **head, "price": 1.5, "size": 2.0, "trade_id": "t1"}
    rich = {"type": "trade", "symbol": "Ä", "source": "x", "event_time_ns": at(0) + 1, "ingest_time_ns": at(0) + 2,
            "price": 2.5, "size": 0.0, "venue": "XNYS", "conditions": ["@", "I"]}  # fmt: skip
    quote = {"type": "quote", "symbol": "A", **head, "bid": 1.0, "bid_size": 1.0, "ask": 2.0, "ask_size": 3.0}
    rows = [(plain, TRADE), (quote, QUOTE), (rich, TRADE)]
    frames = [write_frame(pa.RecordBatch.from_pylist([row], schema=schema)) for row, schema in rows]
    batch, refused = codec.MarketDecoder().decode("feeds", records_of(frames, frames=True))
    assert refused == []
    found = pairs(rows_as_text(batch, np.arange(3)))
    assert [key.decode() for key, _ in found] == ["A", "A", "Ä"]
    assert [json.loads(value) for _, value in found] == [plain, quote, rich]


POLLED_TRADES = pa.RecordBatch.from_pylist(
    [
        {"type": "trade", "symbol": "A\u00e9", "price": 0.1 + 0.2, "size": 5e-324, "trade_id": "1", "conditions": ["x", "y"]},
        {"type": "trade", "symbol": "B", "event_time_ns": 2**62, "price": 1.0},
    ], schema=TRADE,
)  # fmt: skip
POLLED_QUOTES = pa.RecordBatch.from_pylist([{"type": "quote", "symbol": "A", "bid": 1.0}], schema=QUOTE)
POLLED_EVENTS = pa.RecordBatch.from_pylist([{"type": "gap", "symbol": "A", "body": '{"a":1}'}], schema=EVENT)
WHOLE = Polled(
    [POLLED_TRADES, POLLED_EVENTS, POLLED_QUOTES, POLLED_TRADES.slice(1)], '{"A":[1]}',
    Hello("coinbase", "live", "r", 2, "24x7"), 2**62, True,
    [RejectedInput("bad_price", "price is \udcff", "wss://x", 7, b"\x00\xff"), RejectedInput("b", "", "", 1, b"")],
)  # fmt: skip


@pytest.mark.parametrize("polled", [WHOLE, Polled(), Polled([POLLED_QUOTES])])
def test_all_that_a_source_has_brought_comes_back_from_the_disk_to_the_bit(polled: Polled) -> None:
    back = from_bytes(to_bytes(polled))
    assert [b.schema for b in back.batches] == [b.schema for b in polled.batches]
    assert all(a.equals(b) for a, b in zip(back.batches, polled.batches, strict=True))
    for name in ("position", "hello", "goodbye_watermark_ns", "ended"):
        assert getattr(back, name) == getattr(polled, name)
    assert list(back.rejected) == list(polled.rejected)


@pytest.mark.parametrize("cut", [0, 3, 10, 200, -1])
def test_what_is_cut_is_refused(cut: int) -> None:
    assert_raises(ParameterError, "not what a source has brought", from_bytes, to_bytes(WHOLE)[:cut])


T0 = 1_768_600_000_000_000_000


def trades_of(symbols: list[str]) -> pa.RecordBatch:
    head = {"type": "trade", "source": "s", "size": 2.0}
    rows = [{**head, "symbol": s, "event_time_ns": T0 + i, "price": 0.1 + i} for i, s in enumerate(symbols)]
    return pa.RecordBatch.from_pylist(rows, schema=TRADE)


def test_values_are_as_json_has_them_rows_are_objects_without_nulls_and_events_go_everywhere_without_a_symbol() -> None:
    given = pa.RecordBatch.from_pylist(
        [{"symbol": 'q"\\\t\x01é', "final": False, "session_date": 19_782, "trade_count": -(2**63)},
         {"symbol": "b", "open": float("nan"), "high": float("inf"), "low": -0.0, "close": 5e-324}], schema=BAR_IN,
    )  # fmt: skip
    first, second = (json.loads(r.value) for r in codec.encode_market(given, wire="json", partitions=4))
    assert first == {"symbol": 'q"\\\t\x01é', "final": False, "session_date": "2024-02-29", "trade_count": -(2**63)}
    assert second == {"symbol": "b", "low": -0.0, "close": 5e-324}
    unnamed = pa.RecordBatch.from_pylist([{"type": "trade", "symbol": None}], schema=TRADE)
    assert_raises(ParameterError, "symbol", codec.encode_market, unnamed, wire="arrow", partitions=3)
    assert [codec.encode_market(trades_of([]), wire=wire, partitions=4) for wire in ("json", "arrow")] == [[], []]
    found = batch()
    assert [json.loads(codec.row_as_json(found, row)) for row in range(len(found))] == RECORDS
    found, _ = codec.MarketDecoder().decode("m", records_of([]))
    assert codec.to_tables(found) == {}
    (record,) = codec.encode_market(trades_of(["AAA"]), wire="json", partitions=4)
    assert (record.partition, record.key, record.headers) == (None, b"AAA", None)
    assert record.value == (
        b'{"type":"trade","symbol":"AAA","source":"s","event_time_ns":1768600000000000000,"price":0.1,"size":2.0}'
    )
    rows = [{"symbol": "AAA", "body": '{"type":"gap"}'}, {"symbol": None, "body": '{"type":"hello"}'}]
    records = codec.encode_market(pa.RecordBatch.from_pylist(rows, schema=EVENT), wire="arrow", partitions=3)
    assert [(r.partition, r.key, r.value) for r in records] == [
        (None, b"AAA", b'{"type":"gap"}'), *((p, None, b'{"type":"hello"}') for p in range(3))
    ]  # fmt: skip


def test_frames_hold_the_rows_of_one_partition_in_order_and_a_large_batch_becomes_several() -> None:
    records = codec.encode_market(trades_of([f"S{i % 40}" for i in range(400)]), wire="arrow", partitions=4)
    assert sorted(r.partition or 0 for r in records) == [0, 1, 2, 3]
    seen = 0
    for record in records:
        assert (record.key, record.headers) == (None, codec.FRAME_HEADERS)
        table = pa.ipc.open_stream(record.value).read_all()
        held = [s.encode() for s in table.column("symbol").to_pylist()]
        assert set(partitions_of(held, 4).tolist()) == {record.partition}
        times = table.column("event_time_ns").to_pylist()
        assert times == sorted(times)
        seen += table.num_rows
    assert seen == 400
    records = codec.encode_market(trades_of(["AAA"] * 60_000), wire="arrow", partitions=1)
    assert len(records) > 1
    assert max(len(r.value) for r in records) <= 900_000
    times = [t for r in records for t in pa.ipc.open_stream(r.value).read_all().column("event_time_ns").to_pylist()]
    assert times == list(range(T0, T0 + 60_000))


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
    found, letters = codec.MarketDecoder().decode("market", records_of(values, 3, np.arange(10, 10 + len(values))))
    assert letters == []
    return found


def test_rows_come_into_their_tables_events_as_text_and_a_change_is_behind_a_state_that_lacks_its_place() -> None:
    tables = codec.to_tables(batch())
    assert sorted(tables) == ["events", "quotes", "trades"]
    assert all(rows.schema.equals(TABLES[table][1]) for table, rows in tables.items())
    for table, places in (("trades", [0, 2, 7]), ("quotes", [3])):
        whole = [RECORDS[i] | {"topic": "market", "partition": 3, "offset": 10 + i, "row": 0} for i in places]
        assert tables[table].to_pylist() == [{name: row.get(name) for name in TABLES[table][1].names} for row in whole]
    events = tables["events"].to_pylist()
    assert [event["offset"] for event in events] == [15, 16, 18]
    assert [json.loads(event["body"]) for event in events] == [RECORDS[i] for i in (5, 6, 8)]
    assert [(e["type"], e["symbol"], e["event_time_ns"]) for e in events] == [
        ("bar", "AAA", T0), ("split", "AAA", T0), ("hello", None, None)
    ]  # fmt: skip
    value = control_value(REMOVE)
    assert value == b'{"type":"control","change":{"action":"remove_rule","name":"high"}}', "what the engine takes"
    assert read(value, offsets_headers([12, 7])) == ControlRecord("rule/high", REMOVE, (12, 7), (), 1_700)
    assert read(value, offsets_headers([12, 7], [3, 1])) == ControlRecord("rule/high", REMOVE, (12, 7), (3, 1), 1_700)
    placed = ControlRecord("rule/high", REMOVE, (12, 7))
    assert [placed.is_behind(*place) for place in ((0, 12), (0, 13), (1, 7), (1, 12))] == [True, False, True, False]
    unplaced = read(control_value(REMOVE))
    assert unplaced is not None
    assert unplaced.is_behind(0, 1_000)


REMOVE = {"action": "remove_rule", "name": "high"}


def read(content: bytes | None, marks: Any = None) -> ControlRecord | None:
    """What a record states, as the client hands it over."""
    answers = {"key": b"rule/high", "value": content, "timestamp": (1, 1_700), "headers": marks}
    held = SimpleNamespace(**{name: lambda answer=answer: answer for name, answer in answers.items()})
    return control_record(cast(Message, held))


@pytest.mark.parametrize(("content", "mark"), [
    *((content, b"[1]") for content in (None, b"no json", b"[]", b'{"type":"clock"}', b'{"type":"control","change":"remove"}')),
    *((control_value(REMOVE), mark) for mark in (b"one", b'["1"]')),
])  # fmt: skip
def test_what_states_no_change_is_passed_over(content: bytes | None, mark: bytes) -> None:
    assert read(content, [("market-offsets", mark)]) is None


def letter(value: bytes | None, key: bytes | None = b"k", symbol: str | None = None, row: int = ABSENT) -> DeadLetter:
    return DeadLetter("bad_price", "price must be above 0", "market", 3, 77, row, key, value, symbol, ("1s", "1m"))


def test_a_dead_letter_is_a_row_with_the_record_as_text_else_base64_and_of_a_tombstone_with_neither() -> None:
    key, value = encode_dead_letter(letter(b'{"price":0}', symbol="AAA", row=4))
    assert key == b"AAA"
    rows = codec.decode_rows("dead-letters", [value])
    assert rows.schema.equals(DEAD_LETTER)
    assert rows.to_pylist() == [{
        "reason": "bad_price", "detail": "price must be above 0", "topic": "market", "partition": 3, "offset": 77,
        "row": 4, "symbol": "AAA", "timeframes": ["1s", "1m"], "key": "k", "value": '{"price":0}', "value_base64": None,
    }]  # fmt: skip
    key, value = encode_dead_letter(letter(b"\xff\x00\xfe", key=b"\xff"))
    row = json.loads(value)
    assert (key, row["key"], row["row"]) == (b"\xff", "\\xff", None)
    assert (row["value"], base64.b64decode(row["value_base64"])) == (None, b"\xff\x00\xfe")
    key, value = encode_dead_letter(letter(None, key=None))
    row = json.loads(value)
    assert (key, row["value"], row["value_base64"], row["key"]) == (None, None, None, None)


@pytest.mark.parametrize("byte", [b"x", b"\xff", b"\x00"])
def test_what_does_not_fit_is_cut_and_says_so(byte: bytes) -> None:
    whole = byte * 16_000_000
    _, value = encode_dead_letter(letter(whole, key=byte * 5_000_000))
    assert len(value) <= DEAD_LETTER_BYTES_MAX
    detail = json.loads(value)["detail"]
    assert hashlib.sha256(whole).hexdigest() in detail
    assert "16,000,000 bytes" in detail
    _, value = encode_dead_letter(letter(b"x" * 5_000_000))
    assert len(json.loads(value)["value"]) == 5_000_000, "five megabytes stay whole"


NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "client.id": "own-name", "log_level": 0}


def test_the_clients_objects_begin_with_the_librarys_handle() -> None:
    consumer, producer, derived = Consumer({**NOWHERE, "group.id": "g"}), Producer(NOWHERE), LogProducer(NOWHERE)
    names = [native.client_name(handle_of(client)) for client in (consumer, producer, derived)]
    assert [name.split(b"-")[0:2] for name in names] == [
        [b"own", b"name#consumer"], [b"own", b"name#producer"], [b"own", b"name#producer"]
    ]  # fmt: skip
    assert len(set(names)) == 3
    consumer.close()


# Hashes of org.apache.kafka.common.utils.Utils.murmur2, as its own test lists them.
JAVA = {
    b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, b"abc": 479470107,
}  # fmt: skip


@pytest.mark.parametrize("partitions", [1, 4, 12, 100, 2**31 - 1])
def test_a_key_goes_where_java_clients_put_it(partitions: int) -> None:
    wanted = [(value & 0x7FFFFFFF) % partitions for value in JAVA.values()]
    assert partitions_of(list(JAVA), partitions).tolist() == wanted
    assert partitions_of([], partitions).tolist() == []
