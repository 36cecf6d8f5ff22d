"""Records as they were polled: their bytes, the columns that they become, and those that go on as they are."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from market_rows import at, trade
from marketpulse.errors import ParameterError
from marketpulse.kafka.codec import MarketDecoder, RowRecords, encode_market
from marketpulse.kafka.columns import KIND, OFFSET, SYMBOL, TRADE_ID_START, A, Columns, joined
from marketpulse.kafka.frame_writer import FRAME_CONTENT_TYPE, write_frame
from marketpulse.kafka.passing import chosen_rows, joined_rows, no_rows, records_as_rows, rows_as_text
from marketpulse.kafka.polled_bytes import from_bytes, to_bytes
from marketpulse.kafka.records import Records, records_of, records_of_messages
from marketpulse.model.market import EVENT, QUOTE, TRADE
from marketpulse.ports import Hello, Polled, RejectedInput


def seen(records: Records) -> list[tuple[int, bytes | None, bytes | None, bool, int]]:
    return [
        (int(records.offsets[i]), records.key(i), records.value(i), records.is_frame(i), int(records.appended_ms[i]))
        for i in range(len(records))
    ]


def test_values_keys_and_what_is_missing_come_back() -> None:
    records = records_of(
        [b"one", None, b"", b"four"], 7, np.array([3, 5, 6, 9]), keys=[b"a", b"", None, b"bc"],
        appended_ms=np.array([10, 20, 30, 40]), frames=[False, False, False, True],
    )  # fmt: skip
    assert records.partition == 7
    assert seen(records) == [
        (3, b"a", b"one", False, 10), (5, b"", None, False, 20), (6, None, b"", False, 30), (9, b"bc", b"four", True, 40),
    ]  # fmt: skip
    assert [records.at(offset) for offset in (3, 5, 6, 9)] == [0, 1, 2, 3]


def test_a_part_is_the_same_records_in_the_same_memory() -> None:
    records = records_of([b"one", b"two", None, b"four"], keys=[b"a", None, b"c", b"d"])
    assert seen(records.part(1, 3)) == seen(records)[1:3]
    assert seen(records.part(1, 3).part(1, 2)) == seen(records)[2:3]
    assert records.part(1, 3).data is records.data


def test_messages_of_the_client_become_the_same_records() -> None:
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
JSON = [record.value for record in encode_market(ROWS, wire="json", partitions=1)]
FRAME = encode_market(ROWS, wire="arrow", partitions=1)[0].value


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        pytest.param(JSON, 3, id="json"),
        pytest.param([JSON[0], b"no market data", JSON[1]], 2, id="json and a refused record"),
        pytest.param([FRAME], 3, id="a frame"),
        pytest.param([JSON[0], FRAME, JSON[1], FRAME], 8, id="both wires"),
        pytest.param([FRAME, b"no market data"], 3, id="a frame and a refused record"),
    ],
)
def test_every_column_is_in_one_piece_and_the_bytes_are_read_only(values: list[bytes], rows: int) -> None:
    """One layout for all, since kernels are compiled for each."""
    times = np.full(len(values), at(9) // 10**6)
    records = records_of(values, appended_ms=times, frames=[value is FRAME for value in values])
    batch, _ = MarketDecoder().decode("market", records)
    columns = [getattr(batch, field.name) for field in fields(batch)]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
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


def pairs(rows: RowRecords) -> list[tuple[bytes, bytes]]:
    """(key, value) of each row; the line feed is checked and left off."""
    found = []
    for i in range(len(rows)):
        value = rows.values[rows.value_ends[i] : rows.value_ends[i + 1]].tobytes()
        assert value.endswith(b"\n")
        found.append((rows.keys[rows.key_ends[i] : rows.key_ends[i + 1]].tobytes(), value[:-1]))
    return found


def test_chosen_records_keep_their_bytes_and_keys_in_the_order_asked_for_from_where_they_lie() -> None:
    records = records_of([b'{"a": 1}', b"{}", b'{"of no contract": true}'], keys=[b"K", b"", b"LONGER"])
    chosen = records_as_rows(records, np.array([2, 0]))
    assert pairs(chosen) == [(b"LONGER", b'{"of no contract": true}'), (b"K", b'{"a": 1}')]
    part = records_of([b"first", b"second", b"third"], keys=[b"1", b"2", b"3"]).part(1, 3)
    assert pairs(records_as_rows(part, np.array([0, 1]))) == [(b"2", b"second"), (b"3", b"third")]


def test_rows_are_joined_and_chosen_again() -> None:
    records = records_of([b"a", b"bb", b"ccc"], keys=[b"1", b"2", b"3"])
    first, second = (records_as_rows(records, np.array(places)) for places in ([0, 2], [1]))
    whole = joined_rows([first, no_rows(), chosen_rows(second, np.array([0]))])
    assert pairs(whole) == [(b"1", b"a"), (b"3", b"ccc"), (b"2", b"bb")]
    assert pairs(chosen_rows(whole, np.array([1]))) == [(b"3", b"ccc")]
    assert pairs(joined_rows([])) == []


def test_rows_of_frames_become_json_of_the_same_content_in_the_logs_order() -> None:
    head = {"source": "x", "event_time_ns": at(0)}
    plain = {"type": "trade", "symbol": "A", **head, "price": 1.5, "size": 2.0, "trade_id": "t1"}
    rich = {"type": "trade", "symbol": "Ä", "source": "x", "event_time_ns": at(0) + 1, "ingest_time_ns": at(0) + 2,
            "price": 2.5, "size": 0.0, "venue": "XNYS", "conditions": ["@", "I"]}  # fmt: skip
    quote = {"type": "quote", "symbol": "A", **head, "bid": 1.0, "bid_size": 1.0, "ask": 2.0, "ask_size": 3.0}
    rows = [(plain, TRADE), (quote, QUOTE), (rich, TRADE)]
    frames = [write_frame(pa.RecordBatch.from_pylist([row], schema=schema)) for row, schema in rows]
    batch, refused = MarketDecoder().decode("feeds", records_of(frames, frames=True))
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
    with pytest.raises(ParameterError, match="not what a source has brought"):
        from_bytes(to_bytes(WHOLE)[:cut])
