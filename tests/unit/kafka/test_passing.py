"""Records that go on as they are, and rows of frames as JSON."""

import json

import numpy as np
import pyarrow as pa

from marketpulse.kafka.codec import MarketDecoder, RowRecords
from marketpulse.kafka.frame_writer import write_frame
from marketpulse.kafka.passing import chosen_rows, joined_rows, no_rows, records_as_rows, rows_as_text
from marketpulse.kafka.records import records_of
from marketpulse.model.market import QUOTE, TRADE

TIME = 1_767_225_600 * 10**9
TRADES = [
    {"type": "trade", "symbol": "A", "source": "x", "event_time_ns": TIME, "price": 1.5, "size": 2.0, "trade_id": "t1"},
    {"type": "trade", "symbol": "Ä", "source": "x", "event_time_ns": TIME + 1, "price": 2.5, "size": 0.0,
     "venue": "XNYS", "conditions": ["@", "I"], "ingest_time_ns": TIME + 2},
]  # fmt: skip
A_QUOTE = {"type": "quote", "symbol": "A", "source": "x", "event_time_ns": TIME, "bid": 1.0, "bid_size": 1.0,
           "ask": 2.0, "ask_size": 3.0}  # fmt: skip


def pairs(rows: RowRecords) -> list[tuple[bytes, bytes]]:
    """(key, value) of each row; the line feed is checked and left off."""
    found = []
    for i in range(len(rows)):
        value = rows.values[rows.value_ends[i] : rows.value_ends[i + 1]].tobytes()
        assert value.endswith(b"\n")
        found.append((rows.keys[rows.key_ends[i] : rows.key_ends[i + 1]].tobytes(), value[:-1]))
    return found


def test_chosen_records_keep_their_bytes_and_keys_in_the_order_asked_for() -> None:
    records = records_of([b'{"a": 1}', b"{}", b'{"of no contract": true}'], keys=[b"K", b"", b"LONGER"])
    chosen = records_as_rows(records, np.array([2, 0]))
    assert pairs(chosen) == [(b"LONGER", b'{"of no contract": true}'), (b"K", b'{"a": 1}')]


def test_records_of_a_part_are_copied_from_where_they_lie() -> None:
    records = records_of([b"first", b"second", b"third"], keys=[b"1", b"2", b"3"]).part(1, 3)
    assert pairs(records_as_rows(records, np.array([0, 1]))) == [(b"2", b"second"), (b"3", b"third")]


def test_rows_are_joined_and_chosen_again() -> None:
    records = records_of([b"a", b"bb", b"ccc"], keys=[b"1", b"2", b"3"])
    first, second = (records_as_rows(records, np.array(places)) for places in ([0, 2], [1]))
    whole = joined_rows([first, no_rows(), chosen_rows(second, np.array([0]))])
    assert pairs(whole) == [(b"1", b"a"), (b"3", b"ccc"), (b"2", b"bb")]
    assert pairs(chosen_rows(whole, np.array([1]))) == [(b"3", b"ccc")]
    assert pairs(joined_rows([])) == []


def test_rows_of_frames_become_json_of_the_same_content_in_the_logs_order() -> None:
    frames = [
        write_frame(pa.RecordBatch.from_pylist(rows, schema=schema))
        for rows, schema in ((TRADES[:1], TRADE), ([A_QUOTE], QUOTE), (TRADES[1:], TRADE))
    ]
    batch, refused = MarketDecoder().decode("feeds", records_of(frames, frames=True))
    assert refused == []
    found = pairs(rows_as_text(batch, np.arange(3)))
    assert [key.decode() for key, _ in found] == ["A", "A", "Ä"]
    assert [json.loads(value) for _, value in found] == [TRADES[0], A_QUOTE, TRADES[1]]
