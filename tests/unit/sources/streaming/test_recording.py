"""Recordings: what is written is read, up to where a kill cut it; removed lines show as gaps of that size."""

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from marketpulse.errors import Fatal
from marketpulse.settings import RecordingSettings
from marketpulse.sources.streaming.connection import Item
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.recording import Recorder, read
from vendor_messages import BINANCE, COINBASE

HOUR = 3_600 * 10**9
AT = 1_772_600_767_000_000_000


def message(number: int) -> bytes:
    second = number % 60
    return orjson.dumps({**COINBASE["match"], "trade_id": number, "time": f"2026-03-04T05:06:{second:02d}Z"})


def rows_of(path: Path, **more: Any) -> tuple[list[dict[str, Any]], list[str]]:
    source = RecordedSource(RecordingSettings(files=(str(path),), **more), "recording", lateness_ns=1)
    source.start(None)
    rows: list[dict[str, Any]] = []
    reasons: list[str] = []
    while not (polled := source.poll(0)).ended:
        rows += [row for batch in polled.batches for row in batch.to_pylist()]
        reasons += [item.reason for item in polled.rejected]
    rows += [row for batch in polled.batches for row in batch.to_pylist()]
    return rows, reasons + [item.reason for item in polled.rejected]


def test_each_hour_has_a_file_and_what_came_is_read_with_its_times(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new", "coinbase", "coinbase")
    recorder.keep(Item("connected", AT, b""))
    recorder.keep(Item("message", AT + 1, b'{"a":1}'))
    recorder.keep(Item("message", AT + HOUR, b"\xff no text"))
    recorder.close()
    files = sorted((tmp_path / "new").iterdir())
    assert len(files) == 2
    found = [r for path in files for r in read(path)]
    assert [(r.received_ns, r.message) for r in found] == [
        (AT, None), (AT + 1, b'{"a":1}'), (AT + HOUR, b"\xff no text")
    ]  # fmt: skip


def test_what_was_flushed_before_a_kill_is_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "coinbase", "coinbase")
    recorder.keep(Item("message", AT, message(1)))
    recorder.keep(Item("message", AT + 1, message(2)))
    recorder.idle(AT + 10**9)
    [path] = tmp_path.iterdir()
    cut = path.read_bytes()  # as it stands while the recorder lives: without the end of a gzip file
    with pytest.raises(EOFError):
        gzip.decompress(cut)
    assert [r.message for r in read(path)] == [message(1), message(2)]
    recorder.close()


def test_removed_lines_show_as_gaps_of_their_size(tmp_path: Path) -> None:
    path = tmp_path / "coinbase.jsonl"
    path.write_bytes(b"\n".join(message(n) for n in range(10, 60) if not 20 <= n < 27 and n != 40))
    rows, reasons = rows_of(path)
    assert sum(row["type"] == "trade" for row in rows) == 42
    gaps = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    assert [(g["from_id"], g["to_id"], g["trades"], g["state"]) for g in gaps] == [
        ("20", "26", 7, "found"),
        ("40", "40", 1, "found"),
    ]
    assert reasons == []


def test_whose_messages_they_are_is_told_by_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(orjson.dumps(BINANCE["answer"]) + b"\n" + orjson.dumps(BINANCE["trade"]) + b"\nhalf{\n")
    rows, reasons = rows_of(path)
    assert [(row["symbol"], row["source"]) for row in rows] == [("BTC-USDT", "recording")]
    assert reasons == ["not_json"]
    path.write_bytes(b'{"nothing": 1}\n')
    with pytest.raises(Fatal, match="set the recording's vendor"):
        rows_of(path)


def test_a_recording_that_was_fed_in_is_not_fed_in_again(tmp_path: Path) -> None:
    path = tmp_path / "coinbase.jsonl"
    path.write_bytes(b"\n".join(message(n) for n in range(20)))
    settings = RecordingSettings(files=(str(path),))
    source = RecordedSource(settings, "recording", lateness_ns=1)
    source.start(None)
    position = source.poll(0).position
    again = RecordedSource(settings, "recording", lateness_ns=1)
    again.start(position)
    assert again.finished_before
    assert again.poll(0).batches == ()


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        (b"2026-03-04T05:06:07.123456789Z", 1_772_600_767_123_456_000),
        (b"[2026-03-04 05:06:07]", 1_772_600_767 * 10**9),
        (b"2026-03-04T06:06:07+01:00,", 1_772_600_767 * 10**9),
        (b"1772600767.5\t", 1_772_600_767_500_000_000),
        (b"1772600767123 |", 1_772_600_767_123_000_000),
        (b"1772600767123456789", 1_772_600_767_123_456_789),
    ],
)
def test_a_line_of_others_may_have_its_time_before_the_message(tmp_path: Path, written: bytes, ns: int) -> None:
    path = tmp_path / "session.log"
    path.write_bytes(b"".join(written + b" " + message(n) + b"\n" for n in range(1, 4)))
    assert [(r.received_ns, r.message) for r in read(path)] == [(ns, message(n)) for n in range(1, 4)]
    assert [row["trade_id"] for row in rows_of(path)[0]] == ["1", "2", "3"]


def test_what_stands_before_a_message_and_is_no_time_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "session.log"
    path.write_bytes(b"ing " + message(1) + b"\n" + message(2) + b"\n")
    assert [(r.received_ns, r.message) for r in read(path)] == [(None, b"ing " + message(1)), (None, message(2))]


def test_notes_of_other_recorders_are_no_messages(tmp_path: Path) -> None:
    path = tmp_path / "COINBASE.ws.1.0"
    path.write_bytes(
        b"wss://ws-feed.example.com <-> 1772600760.5\n"
        b'wss://ws-feed.example.com <- 1772600760.6: {"type":"subscribe","product_ids":["BTC-USD"]}\n'
        + b"".join(b"17726007%d.25: " % (61 + n) + message(n) + b"\n" for n in (1, 2, 5))
    )
    assert [(r.event, r.message is None) for r in read(path)][:2] == [("connected", True), ("sent", True)]
    rows, reasons = rows_of(path)
    assert reasons == []
    assert [row["trade_id"] for row in rows if row["type"] == "trade"] == ["1", "2", "5"]
