"""Recordings of every form: what stands in them comes out, once, and what was taken out of them is a gap."""

import json
from pathlib import Path
from typing import Any

import orjson

from marketpulse.settings import RecordingSettings
from marketpulse.sources.streaming.recorded import RecordedSource
from vendor_messages import ALPACA, BINANCE, COINBASE, FINNHUB, POLYGON

AT_MS = 1_772_600_767_000


def aggregate(number: int, pair: str = "BTCUSDT") -> dict[str, Any]:
    return {**BINANCE["aggTrade"], "a": number, "s": pair, "T": AT_MS + number}


def single(number: int, pair: str = "BTCUSDT") -> dict[str, Any]:
    return {**BINANCE["trade"]["data"], "t": number, "s": pair, "T": AT_MS + number}


def played(path: Path, messages: list[Any], **more: Any) -> list[dict[str, Any]]:
    file = path / "recording.jsonl"
    file.write_bytes(b"".join(orjson.dumps(m) + b"\n" for m in messages))
    return played_file(file, **more)


def played_file(file: Path, **more: Any) -> list[dict[str, Any]]:
    source = RecordedSource(RecordingSettings(files=(str(file),), **more), "r", lateness_ns=1)
    source.start(None)
    polled = source.poll(0)
    assert not polled.rejected
    return [row for batch in polled.batches for row in batch.to_pylist()]


def trades(rows: list[dict[str, Any]], symbol: str = "BTC-USDT") -> list[int]:
    return [int(row["trade_id"]) for row in rows if row["type"] == "trade" and row["symbol"] == symbol]


def gaps(rows: list[dict[str, Any]]) -> list[int]:
    return [json.loads(row["body"])["trades"] for row in rows if row["type"] == "gap"]


def test_aggregates_alone_are_one_row_each_and_those_taken_out_a_gap_of_their_number(tmp_path: Path) -> None:
    rows = played(tmp_path, [aggregate(n) for n in range(10, 40) if n not in (15, 16, 30)])
    assert trades(rows) == [n for n in range(10, 40) if n not in (15, 16, 30)]
    assert gaps(rows) == [2, 1]


def test_where_single_trades_were_recorded_too_they_win_wherever_they_begin(tmp_path: Path) -> None:
    messages = [aggregate(7), aggregate(3, "ETHUSDT"), *[single(n) for n in range(900, 905)], aggregate(8)]
    rows = played(tmp_path, messages)
    assert trades(rows) == [900, 901, 902, 903, 904]
    assert trades(rows, "ETH-USDT") == [3]
    assert gaps(rows) == []


def test_both_wires_of_coinbase_give_the_same_trades_and_a_ticker_none(tmp_path: Path) -> None:
    exchange = [COINBASE["last_match"], COINBASE["match"], COINBASE["ticker"], COINBASE["heartbeat"]]
    assert trades(played(tmp_path, exchange), "BTC-USD") == [70, 71]
    assert trades(played(tmp_path, [COINBASE["market_trades"], COINBASE["tickers"]]), "BTC-USD") == [72, 73]


def test_an_answer_by_rest_is_read_with_its_symbol_over_many_lines_too(tmp_path: Path) -> None:
    file = tmp_path / "trades.json"
    row = {"price": "4.5", "qty": "1", "quoteQty": "4.5", "isBuyerMaker": True, "isBestMatch": True}
    answer = [{"id": n, "time": AT_MS, **row} for n in (1, 2, 5)]
    file.write_text(json.dumps(answer, indent=2))
    rows = played_file(file, symbol="BTCUSDT")
    assert trades(rows) == [1, 2, 5]
    assert gaps(rows) == [2]
    side = {"side": "buy", "size": "2", "price": "3", "time": "2026-03-04T05:06:06.5Z"}
    file.write_text(json.dumps([{"trade_id": n, **side} for n in (9, 8, 7)], indent=2))
    assert trades(played_file(file, symbol="BTC-USD", vendor="coinbase"), "BTC-USD") == [7, 8, 9]


def test_a_file_of_one_array_is_its_messages(tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    file.write_text(json.dumps([single(n) for n in range(4)], indent=1))
    assert trades(played_file(file)) == [0, 1, 2, 3]


def test_a_recording_of_a_feed_without_counting_ids_says_when_it_was_away(tmp_path: Path) -> None:
    first, second = ({**ALPACA["trade"], "i": n, "t": f"2026-03-04T15:06:{n:02d}Z"} for n in (7, 20))
    at = 1_772_636_767 * 10**9

    def line(seconds: int, **said: Any) -> dict[str, Any]:
        return {"received_ns": at + seconds * 10**9, "vendor": "alpaca", **said}

    lines = [line(0, event="connected", why=""), line(0, message=[first]), line(1, event="lost", why="closed"),
             line(9, event="connected", why=""), line(10, message=[second])]  # fmt: skip
    rows = played(tmp_path, lines)
    assert [row["symbol"] for row in rows if row["type"] == "trade"] == ["AAPL", "AAPL"]
    told = [json.loads(row["body"]) for row in rows if row["type"] == "gap"]
    assert [gap["state"] for gap in told] == ["found", "open"]
    assert {gap["to_ns"] - gap["from_ns"] for gap in told} == {10 * 10**9}


def test_each_vendor_s_messages_are_told_apart(tmp_path: Path) -> None:
    for messages, names in ((ALPACA, ("trade", "quote")), (POLYGON, ("trade", "quote")), (FINNHUB, ("trade",))):
        rows = played(tmp_path, [[messages[name]] for name in names])
        assert "AAPL" in [row["symbol"] for row in rows]
        assert {row["type"] for row in rows} == set(names)


def test_answers_of_history_are_read_with_their_symbol(tmp_path: Path) -> None:
    file = tmp_path / "page.json"
    for messages, vendor in ((ALPACA, "alpaca"), (POLYGON, "polygon")):
        file.write_text(json.dumps(messages["history"], indent=2))
        rows = played_file(file, symbol="AAPL", vendor=vendor)
        assert [row["symbol"] for row in rows] == ["AAPL", "AAPL"]
