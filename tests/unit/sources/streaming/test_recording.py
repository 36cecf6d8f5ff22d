"""Recordings of every form, up to where a kill cut them; and what is asked for by REST, by ids or by time."""

import gzip
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from keyed_exchange import iso
from marketpulse.errors import Fatal
from marketpulse.ports import Polled
from marketpulse.settings import AlpacaSettings, RecordingSettings
from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.streaming import timed_refill
from marketpulse.sources.streaming.alpaca import Alpaca
from marketpulse.sources.streaming.binance import Binance
from marketpulse.sources.streaming.connection import Item
from marketpulse.sources.streaming.parsed import Print, Trade
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.recording import Recorder, read
from marketpulse.sources.streaming.refill import Found, Refill, Wanted
from marketpulse.sources.streaming.timed_intake import Lost
from marketpulse.sources.streaming.timed_refill import Pages, TimedRefill
from refused import assert_raises
from vendor_messages import ALPACA, BINANCE, COINBASE, FINNHUB, POLYGON
from vendor_server import Reply, Request, VendorServer, vendor

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
    assert_raises(EOFError, "", gzip.decompress, cut)
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
    for messages, name in ((ALPACA, "alpaca"), (POLYGON, "polygon")):
        file.write_text(json.dumps(messages["history"], indent=2))
        assert [row["symbol"] for row in rows_of(file, symbol="AAPL", vendor=name)] == ["AAPL", "AAPL"]
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
    assert_raises(Fatal, "set the recording's vendor", rows_of, written(path, b'{"nothing": 1}'))
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


MOMENT = 1_772_636_767 * 10**9


def client(server: VendorServer, **more: Any) -> RestClient:
    return RestClient("r", server.url, Rate(1_000, 1.0, burst=100), backoff=Backoff(0.01, 0.02), **more)


def gathered(refill: Any, is_over: Callable[[list[Any]], bool]) -> list[Any]:
    """What a refill that runs has to say, until it is over."""
    answers: list[Any] = []
    deadline = time.monotonic() + 30
    while not is_over(answers) and time.monotonic() < deadline:
        if (one := refill.found()) is not None:
            answers.append(one)
        else:
            time.sleep(0.002)
    refill.close()
    return answers


def by_ids(server: VendorServer, wanted: Wanted, answers: int, trades_max: int = 10_000) -> list[Found]:
    refill = Refill(Binance(), client(server, judge=refused), "r", trades_max, again_s=0.01)
    refill.start()
    refill.ask(wanted)
    return gathered(refill, lambda found: len(found) == answers)


def by_time(server: VendorServer, request: Any = None) -> list[Pages]:
    settings, alpaca = AlpacaSettings(symbols=("AAPL",)), Alpaca()
    wanted = request or (lambda s, a, b, p: alpaca.history_request(settings, s, a, b, p))
    refill = TimedRefill(wanted, alpaca.parse_page, client(server), "r", 10**9, 0.0, again_s=0.01)
    refill.start()
    refill.ask("AAPL", Lost(MOMENT, MOMENT + 10**9))
    return gathered(refill, lambda found: bool(found) and found[-1].last)


def rows(first: int, last: int) -> Reply:
    return Reply.json(
        [{"id": n, "price": "1", "qty": "1", "time": MOMENT // 10**6 + n} for n in range(first, last + 1)]
    )


def refused(status: int, body: Any) -> Judgement | None:
    return Judgement(Taken.REFUSED, "not without a key") if status == 401 else None


def ids(found: Found) -> list[int]:
    return [trade.trade_id for trade in found.trades if isinstance(trade, Trade)]


def by_id(request: Request) -> Reply:
    first, limit = int(request.parameters["fromId"]), int(request.parameters["limit"])
    return rows(first, first + limit - 1)


def page(numbers: range, following: str | None) -> Reply:
    rows = [{"t": iso(MOMENT + n), "x": "V", "p": 10, "s": 1, "c": ["@"], "i": n, "z": "C"} for n in numbers]
    return Reply.json({"trades": {"AAPL": rows}, "next_page_token": following})


def test_a_gap_comes_in_pages_from_the_lowest_up_with_overlap_through_faults_and_the_newest_if_too_long() -> None:
    with vendor(by_id) as server:
        found = by_ids(server, Wanted("BTCUSDT", 10, 1_209), 2)
        assert [(f.first, f.last, len(f.trades)) for f in found] == [(10, 1_009, 1_000), (1_010, 1_209, 200)]
        given_up, newest = by_ids(server, Wanted("BTCUSDT", 1, 100), 2, trades_max=30)
    assert (given_up.first, given_up.last, given_up.trades) == (1, 70, [])
    assert "refill_trades_max (30)" in str(given_up.why)
    assert ids(newest) == list(range(71, 101))
    replies = [Reply(500), page(range(3), "two"), Reply(429), Reply(200, b"<html>"), page(range(3, 5), None)]
    with vendor(lambda _: replies.pop(0)) as server:
        pages = by_time(server)
        assert [r.parameters.get("page_token") for r in server.requests] == [None, None, "two", "two", "two"]
        span = [server.requests[0].parameters[name] for name in ("start", "end")]
    assert span == [iso(MOMENT - 10**9), iso(MOMENT + 2 * 10**9)]
    told = [[t.trade_id for t in one.rows if isinstance(t, Print)] for one in pages]
    assert told == [[f"20516-V-{n}" for n in range(3)], [f"20516-V-{n}" for n in range(3, 5)]]
    assert [(one.last, one.why) for one in pages] == [(False, None), (True, None)]


def test_what_the_vendor_lacks_is_given_up_and_where_history_is_refused_the_newest_are_looked_through() -> None:
    with vendor(lambda _: Reply.json([])) as server:
        [found] = by_ids(server, Wanted("BTCUSDT", 5, 6), 1)
        assert len(server.requests) == 4
    assert (found.first, found.last, found.why) == (5, 6, "the vendor does not give them")
    with vendor(lambda _: Reply(400, b'{"code":-1121,"msg":"Invalid symbol."}')) as server:
        [found] = by_ids(server, Wanted("FOO"), 1)
    assert found.newest
    assert Binance().unknown_symbol(str(found.why))

    def answer(request: Request) -> Reply:
        if request.path.endswith("historicalTrades"):
            return Reply(401, orjson.dumps({"code": -2014, "msg": "API-key format invalid."}))
        return rows(8, 30)

    with vendor(answer) as server:
        [found] = by_ids(server, Wanted("BTCUSDT", 5, 12), 1)
    assert set(range(8, 13)) <= set(ids(found))
    assert (found.first, found.last) == (5, 12)
    assert "API-key format invalid" in str(found.why)


@pytest.mark.parametrize(("status", "said"), [(403, "key"), (422, "question")])
def test_what_is_refused_is_said_and_a_vendor_without_history_is_not_asked(status: int, said: str) -> None:
    with vendor(lambda _: Reply(status, b'{"message":"subscription does not permit"}')) as server:
        [pages] = by_time(server)
    assert pages.last
    assert said in str(pages.why)
    with vendor(lambda _: Reply(500)) as server:
        [pages] = by_time(server, request=lambda *_: None)
        assert server.requests == []
    assert pages.why == "the vendor has no such history"


def test_the_gaps_of_many_symbols_wait_for_the_vendors_store_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(timed_refill, "time", clock)
    settings, alpaca = AlpacaSettings(symbols=("AAPL",)), Alpaca()
    with vendor(lambda _: page(range(2), None)) as server:
        refill = TimedRefill(
            lambda *asked: alpaca.history_request(settings, *asked), alpaca.parse_page, client(server), "r", 0, 3_600.0
        )
        for n in range(3):
            refill.ask("AAPL", Lost(MOMENT + n, MOMENT + n + 1))
        clock.now = 3_600.0
        refill.start()
        found = gathered(refill, lambda pages: len(pages) == 3)
    assert [one.lost.from_ns - MOMENT for one in found] == [0, 1, 2]
