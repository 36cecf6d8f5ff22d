"""Recordings of every form: what is written is read, up to where a kill cut it, once; what was taken out of them is a gap."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from marketpulse.errors import Fatal
from marketpulse.ports import Polled
from marketpulse.settings import RecordingSettings
from marketpulse.sources.streaming.connection import Item
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.recording import Recorder, read
from vendor_messages import ALPACA, BINANCE, COINBASE, FINNHUB, POLYGON

HOUR = 3_600 * 10**9
AT = 1_772_600_767_000_000_000


def message(number: int) -> bytes:
    second = number % 60
    return orjson.dumps({**COINBASE["match"], "trade_id": number, "time": f"2026-03-04T05:06:{second:02d}Z"})


def aggregate(number: int, pair: str = "BTCUSDT") -> dict[str, Any]:
    return {**BINANCE["aggTrade"], "a": number, "s": pair, "T": AT // 10**6 + number}


def single(number: int) -> dict[str, Any]:
    return {**BINANCE["trade"]["data"], "t": number, "s": "BTCUSDT", "T": AT // 10**6 + number}


def written(path: Path, *lines: Any, end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines) + end)
    return path


def opened(file: Path, position: str | None = None, **more: Any) -> RecordedSource:
    source = RecordedSource(RecordingSettings(files=(str(file),), **more), "recording", lateness_ns=1)
    source.start(position)
    return source


def rows_of(file: Path, rejected: Sequence[str] = (), **more: Any) -> list[dict[str, Any]]:
    """All that comes out, with dead letters of these reasons."""
    source, polls = opened(file, **more), list[Polled]()
    while not polls or not polls[-1].ended:
        polls.append(source.poll(0))
    assert [item.reason for polled in polls for item in polled.rejected] == [*rejected]
    return [row for polled in polls for batch in polled.batches for row in batch.to_pylist()]


def trades(rows: list[dict[str, Any]], symbol: str = "BTC-USDT") -> list[int]:
    return [int(row["trade_id"]) for row in rows if row["type"] == "trade" and row["symbol"] == symbol]


def gaps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in rows if row["type"] == "gap"]


def test_each_hour_has_a_file_and_what_was_flushed_before_a_kill_is_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "coinbase", "coinbase")
    for number in (1, 2):
        recorder.keep(Item("message", AT + number, message(number)))
    recorder.idle(AT + 10**9)
    [path] = tmp_path.iterdir()
    cut = path.read_bytes()  # as it stands while the recorder lives: without the end of a gzip file
    with pytest.raises(EOFError):
        gzip.decompress(cut)
    assert [r.message for r in read(path)] == [message(1), message(2)]
    recorder.close()
    recorder = Recorder(tmp_path / "new", "coinbase", "coinbase")
    for item in (("connected", AT, b""), ("message", AT + 1, b'{"a":1}'), ("message", AT + HOUR, b"\xff no text")):
        recorder.keep(Item(*item))
    recorder.close()
    files = sorted((tmp_path / "new").iterdir())
    assert len(files) == 2
    found = [(r.received_ns, r.message) for path in files for r in read(path)]
    assert found == [(AT, None), (AT + 1, b'{"a":1}'), (AT + HOUR, b"\xff no text")]


def test_removed_lines_show_as_gaps_single_trades_win_over_aggregates_and_both_wires_agree(tmp_path: Path) -> None:
    left = [n for n in range(10, 60) if not 20 <= n < 27 and n != 40]
    rows = rows_of(written(tmp_path / "r.jsonl", *map(message, left), end=b""))
    assert sum(row["type"] == "trade" for row in rows) == 42
    found = [(g["from_id"], g["to_id"], g["trades"], g["state"]) for g in gaps(rows)]
    assert found == [("20", "26", 7, "found"), ("40", "40", 1, "found")]
    kept = [n for n in range(10, 40) if n not in (15, 16, 30)]
    rows = rows_of(written(tmp_path / "a.jsonl", *map(aggregate, kept)))
    assert trades(rows) == kept, "aggregates alone are one row each"
    assert [gap["trades"] for gap in gaps(rows)] == [2, 1]
    messages = [aggregate(7), aggregate(3, "ETHUSDT"), *map(single, range(900, 905)), aggregate(8)]
    rows = rows_of(written(tmp_path / "r.jsonl", *messages))
    assert (trades(rows), trades(rows, "ETH-USDT"), gaps(rows)) == ([900, 901, 902, 903, 904], [3], [])
    wires = {("last_match", "match", "ticker", "heartbeat"): [70, 71], ("market_trades", "tickers"): [72, 73]}
    for names, ids in wires.items():
        rows = rows_of(written(tmp_path / "r.jsonl", *(COINBASE[name] for name in names)))
        assert trades(rows, "BTC-USD") == ids


def test_an_answer_by_rest_and_a_file_of_one_array_are_read_over_many_lines_too(tmp_path: Path) -> None:
    file = tmp_path / "trades.json"
    row = {"price": "4.5", "qty": "1", "quoteQty": "4.5", "isBuyerMaker": True, "isBestMatch": True}
    file.write_text(json.dumps([{"id": n, "time": AT // 10**6, **row} for n in (1, 2, 5)], indent=2))
    rows = rows_of(file, symbol="BTCUSDT")
    assert (trades(rows), [gap["trades"] for gap in gaps(rows)]) == ([1, 2, 5], [2])
    side = {"side": "buy", "size": "2", "price": "3", "time": "2026-03-04T05:06:06.5Z"}
    file.write_text(json.dumps([{"trade_id": n, **side} for n in (9, 8, 7)], indent=2))
    assert trades(rows_of(file, symbol="BTC-USD", vendor="coinbase"), "BTC-USD") == [7, 8, 9]
    for messages, vendor in ((ALPACA, "alpaca"), (POLYGON, "polygon")):
        file.write_text(json.dumps(messages["history"], indent=2))
        assert [row["symbol"] for row in rows_of(file, symbol="AAPL", vendor=vendor)] == ["AAPL", "AAPL"]
    file = tmp_path / "session.json"
    file.write_text(json.dumps([single(n) for n in range(4)], indent=1))
    assert trades(rows_of(file)) == [0, 1, 2, 3]


def test_a_recording_of_a_feed_without_counting_ids_says_when_it_was_away(tmp_path: Path) -> None:
    first, second = ({**ALPACA["trade"], "i": n, "t": f"2026-03-04T15:06:{n:02d}Z"} for n in (7, 20))
    at = 1_772_636_767 * 10**9

    def line(seconds: int, **said: Any) -> dict[str, Any]:
        return {"received_ns": at + seconds * 10**9, "vendor": "alpaca", **said}

    lines = [line(0, event="connected", why=""), line(0, message=[first]), line(1, event="lost", why="closed"),
             line(9, event="connected", why=""), line(10, message=[second])]  # fmt: skip
    rows = rows_of(written(tmp_path / "r.jsonl", *lines))
    assert [row["symbol"] for row in rows if row["type"] == "trade"] == ["AAPL", "AAPL"]
    spans = [(gap["state"], gap["to_ns"] - gap["from_ns"]) for gap in gaps(rows)]
    assert spans == [("found", 10**10), ("open", 10**10)]


def test_whose_messages_they_are_is_told_by_the_messages_and_they_are_fed_in_once(tmp_path: Path) -> None:
    path = written(tmp_path / "session.jsonl", BINANCE["answer"], BINANCE["trade"], b"half{")
    assert [(row["symbol"], row["source"]) for row in rows_of(path, ["not_json"])] == [("BTC-USDT", "recording")]
    for messages, names in ((ALPACA, ("trade", "quote")), (POLYGON, ("trade", "quote")), (FINNHUB, ("trade",))):
        rows = rows_of(written(path, *([messages[name]] for name in names)))
        assert "AAPL" in [row["symbol"] for row in rows]
        assert {row["type"] for row in rows} == set(names)
    with pytest.raises(Fatal, match="set the recording's vendor"):
        rows_of(written(path, b'{"nothing": 1}'))
    path = written(tmp_path / "coinbase.jsonl", *map(message, range(20)))
    again = opened(path, opened(path).poll(0).position)
    assert again.finished_before
    assert again.poll(0).batches == ()


@pytest.mark.parametrize(("before", "ns"), [
    (b"2026-03-04T05:06:07.123456789Z", AT + 123_456_000), (b"[2026-03-04 05:06:07]", AT), (b"2026-03-04T06:06:07+01:00,", AT),
    (b"1772600767.5\t", AT + 500_000_000), (b"1772600767123 |", AT + 123_000_000), (b"1772600767123456789", AT + 123_456_789),
])  # fmt: skip
def test_a_line_of_others_may_have_its_time_before_the_message(tmp_path: Path, before: bytes, ns: int) -> None:
    path = written(tmp_path / "session.log", *(before + b" " + message(n) for n in range(1, 4)))
    assert [(r.received_ns, r.message) for r in read(path)] == [(ns, message(n)) for n in range(1, 4)]
    assert [row["trade_id"] for row in rows_of(path)] == ["1", "2", "3"]


def test_notes_of_other_recorders_are_no_messages_and_what_is_no_time_is_not_passed_over(tmp_path: Path) -> None:
    feed, subscribe = b"wss://ws-feed.example.com", b'{"type":"subscribe","product_ids":["BTC-USD"]}'
    notes = [feed + b" <-> 1772600760.5", feed + b" <- 1772600760.6: " + subscribe]
    messages = [b"17726007%d.25: " % (61 + n) + message(n) for n in (1, 2, 5)]
    path = written(tmp_path / "COINBASE.ws.1.0", *notes, *messages)
    assert [(r.event, r.message is None) for r in read(path)][:2] == [("connected", True), ("sent", True)]
    assert [row["trade_id"] for row in rows_of(path) if row["type"] == "trade"] == ["1", "2", "5"]
    path = written(tmp_path / "session.log", b"ing " + message(1), message(2))
    assert [(r.received_ns, r.message) for r in read(path)] == [(None, b"ing " + message(1)), (None, message(2))]
