"""Rows that are pushed over HTTP, or written into a pipe: answered when they are in the log, and nothing is lost."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO
from unittest.mock import patch

import httpx
import pytest
from hypothesis import given
from hypothesis.strategies import binary, dictionaries, floats, integers, lists, none, one_of, sampled_from, text
from pydantic import SecretStr

from examples import examples
from marketpulse.clock import SystemClock
from marketpulse.errors import EnvironmentProblem, Fatal, SettingsError
from marketpulse.model.market import COMPLETE, REASONS
from marketpulse.ports import Polled
from marketpulse.settings import HttpSettings, Mapping, StdinSettings
from marketpulse.sources import push_server
from marketpulse.sources.push import HttpSource
from marketpulse.sources.push_requests import AWAY_S, Push, Waiting
from marketpulse.sources.stdin import Lines, StdinSource
from refused import assert_raises

WORD = "a-token-of-more-than-20-letters"
GOOD = {"Authorization": f"Bearer {WORD}"}
ROW = b'{"symbol": "AAPL", "price": 187.5, "size": 100, "timestamp": "2026-03-02T15:00:00Z"}'


def source(**given: Any) -> HttpSource:
    values: dict[str, Any] = {"port": 0, "token": SecretStr(WORD), "answer_s": 60.0, **given}
    return HttpSource(HttpSettings(**values), "http", lateness_ns=2 * 10**9)


@contextmanager
def serving(position: str | None = None, **given: Any) -> Iterator[HttpSource]:
    pushed = source(**given)
    pushed.start(position)
    try:
        yield pushed
    finally:
        pushed.close()


def posted(pushed: HttpSource, body: bytes = ROW * 10, **more: str) -> httpx.Response:
    return httpx.post(pushed.url, content=body, headers={**GOOD, **more}, timeout=20, trust_env=False)


def sent(pushed: HttpSource, body: bytes = ROW, key: str | None = None) -> Future[httpx.Response]:
    """Push in a thread: the answer comes when the rows are in the log."""
    return ThreadPoolExecutor(1).submit(posted, pushed, body, **({} if key is None else {"Idempotency-Key": key}))


def polled(pushed: HttpSource) -> Polled:
    """The next poll that brings something."""
    while True:
        found = pushed.poll(0.2)
        if found.batches or found.rejected:
            return found


def rows(found: Polled) -> list[dict[str, Any]]:
    return [row for batch in found.batches for row in batch.to_pylist()]


def logged(pushed: HttpSource, body: bytes = ROW, key: str | None = None) -> tuple[httpx.Response, Polled]:
    """(the answer, what was polled) of rows that reach the log."""
    asked = sent(pushed, body, key)
    found = polled(pushed)
    pushed.committed()
    return asked.result(10), found


def answered(pushed: HttpSource, asked: Future[httpx.Response]) -> httpx.Response:
    """The answer to a request that brings no rows."""
    while not asked.done():
        assert not pushed.poll(0.02).batches
    return asked.result()


def test_the_answer_comes_after_the_rows_are_in_the_log_and_nothing_is_promised_before() -> None:
    with serving() as pushed:
        asked = sent(pushed)
        assert [row["symbol"] for row in rows(polled(pushed))] == ["AAPL"]
        assert not asked.done(), "the log does not have it yet"
        pushed.committed()
        answer = asked.result(10)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "rejected": 0, "faults": []})
    with serving() as pushed:
        assert pushed.watermark_ns() is None
        asked = sent(pushed)
        polled(pushed)
        assert pushed.watermark_ns() is None
        pushed.committed()
        asked.result(10)
        promise: Any = pushed.watermark_ns()
        assert promise < SystemClock().now_ns() - 2 * 10**9
    with serving(mode="historical") as pushed:
        logged(pushed)
        assert pushed.watermark_ns() == 1_772_463_600 * 10**9 - 2 * 10**9


def test_lines_arrays_and_objects_are_taken_and_of_a_row_that_cannot_be_a_dead_letter_and_the_answer_tell() -> None:
    with serving() as pushed:
        for body in (b"%s\n%s\n\n", b"[%s,\n%s]", b'{"trades": [%s,%s]}'):
            answer, found = logged(pushed, body % (ROW, ROW))
            assert (len(rows(found)), answer.json()["accepted"]) == (2, 2)
    with serving() as pushed:
        response, found = logged(pushed, ROW + b"\n" + ROW.replace(b"187.5", b"-1") + b"\nnot json\n" + b"[" * 10_240)
    answer = response.json()
    assert sorted(item.reason for item in found.rejected) == ["bad_price", "not_json", "not_json"]
    assert (answer["accepted"], answer["rejected"]) == (1, 3)
    assert sorted(fault["row"] for fault in answer["faults"]) == [2, 3, 4]


@pytest.mark.parametrize(("change", "status"), [
    ({"headers": {}}, 401), ({"headers": {"Authorization": "Bearer wrong-token-of-20-letters"}}, 401),
    ({"headers": {"Authorization": WORD}}, 401), ({"url": "/other"}, 404), ({"method": "GET"}, 405), ({"method": "PUT"}, 501),
    ({"headers": {**GOOD, "Content-Encoding": "gzip"}}, 415), ({"content": b"x" * 2_000}, 413),
    ({"content": iter([ROW])}, 411), ({"headers": {**GOOD, "Idempotency-Key": "k" * 300}}, 400),
])  # fmt: skip
def test_what_is_not_taken(change: dict[str, Any], status: int) -> None:
    with serving(body_bytes=1_024) as pushed:
        given: dict[str, Any] = {"method": "POST", "content": ROW, "headers": GOOD, **change}
        url = pushed.url.replace("/ingest", given.pop("url", "/ingest"))
        answer = httpx.request(url=url, timeout=10, trust_env=False, **given)
        assert not pushed.poll(0.0).batches
    assert answer.status_code == status
    assert WORD not in answer.text


def test_a_repeat_with_the_same_key_is_in_the_log_once_while_it_waits_and_over_a_restart() -> None:
    with serving() as pushed:
        first = sent(pushed, key="order-1")
        found = polled(pushed)
        second = sent(pushed, key="order-1")  # while the log holds the first
        pushed.committed()
        assert (answered(pushed, second).status_code, first.result(10).json()["accepted"]) == (200, 1)
    with serving(found.position) as again:
        assert answered(again, sent(again, key="order-1")).json() == {"accepted": 0, "rejected": 0, "repeated": True}
        assert logged(again, key="order-2")[0].json()["accepted"] == 1


def test_a_log_that_is_slow_or_away_or_a_source_that_stops_is_said_and_the_request_may_be_repeated() -> None:
    with serving(answer_s=0.2) as pushed:
        asked = sent(pushed)
        assert polled(pushed).batches
        answer = asked.result(10)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "Idempotency-Key" in answer.json()["error"]
    with serving() as pushed:
        asked = sent(pushed)
        assert polled(pushed).batches
    assert asked.result(10).status_code == 503, "it stops"
    waiting = Waiting(1_000)
    waiting.offer(Push(b"", 0))
    assert not waiting.log_is_away(0.0)
    waiting.take(0.0, 100.0)
    assert not waiting.log_is_away(100.0 + AWAY_S)
    assert waiting.log_is_away(100.1 + AWAY_S)


def test_beyond_the_bound_who_pushes_is_told_so_and_whether_the_log_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(waiting_bytes=1_024) as pushed:
        first = sent(pushed, ROW * 10)
        while not pushed._waiting._queue:
            threading.Event().wait(0.002)
        second = posted(pushed)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert polled(pushed).batches
        monkeypatch.setattr("marketpulse.sources.push_requests.AWAY_S", -1.0)
        third = posted(pushed)
        assert third.status_code == 503
        assert "the log is away" in third.json()["error"]
        pushed.committed()
        assert first.result(10).status_code == 200


@patch.object(push_server, "_ARRIVES_WITHIN_S", 0.3)
@patch.object(push_server, "_PER_ADDRESS_MAX", 2)
def test_a_request_that_does_not_arrive_is_ended_and_an_address_has_so_many_connections() -> None:
    with serving() as pushed:
        at = ("127.0.0.1", httpx.URL(pushed.url).port or 0)
        head = f"POST /ingest HTTP/1.1\r\nAuthorization: Bearer {WORD}\r\nContent-Length: 9\r\n".encode()
        for pieces in (b"", head, head + b"\r\n{"):
            with socket.create_connection(at, 5) as client:
                client.sendall(pieces)
                assert client.recv(4_096) == b""
        with socket.create_connection(at, 5), socket.create_connection(at, 5), socket.create_connection(at, 5) as third:
            assert third.recv(4_096) == b""
        assert logged(pushed)[0].status_code == 200


def test_rows_that_say_nothing_we_know_are_told_so_and_without_token_or_free_port_it_does_not_begin() -> None:
    assert_raises(SettingsError, "MARKETPULSE_SOURCES__NAME__TOKEN", source, token=None)
    with serving() as pushed:
        answer = answered(pushed, sent(pushed, b'{"colour": "blue"}'))
        assert answer.status_code == 422
        assert "cannot tell" in answer.json()["error"]
        assert_raises(EnvironmentProblem, "set port", source, port=int(pushed.url.rsplit(":", 1)[1].split("/")[0]))


WORDS = sampled_from(["AAPL", "2026-03-02T15:00:00Z", "-1", "1m"])
VALUES = one_of(none(), integers(-(2**60), 2**60), floats(), text(max_size=8), WORDS)
NAMES = sampled_from(
    ["symbol", "price", "size", "timestamp", "bid", "ask", "open", "high", "low", "close", "volume", "timeframe", "x"]
)
ROWS = lists(one_of(dictionaries(NAMES, VALUES, max_size=8), VALUES), max_size=5)
FUZZED = source()
FUZZED.start(None)


@examples(150)
@given(rows=ROWS, junk=binary(max_size=12), cut=integers(0, 40))
def test_no_body_crashes_it(rows: list[Any], junk: bytes, cut: int) -> None:
    lines = b"\n".join(json.dumps(row).encode() for row in rows) + b"\n" + junk
    for body in (lines, lines[cut:], json.dumps(rows).encode()):
        push = Push(body, 1_772_463_600 * 10**9)
        batches, rejected = FUZZED._understand(push)
        assert push.status in (200, 422)
        assert {item.reason for item in rejected} <= set(REASONS)
        assert push.status == 422 or sum(batch.num_rows for batch in batches) == push.outcome["accepted"]


def trade(second: int, price: float = 10.0) -> bytes:
    return b'{"symbol": "A", "price": %g, "timestamp": "2026-03-02T15:00:%02dZ"}\n' % (price, second)


@contextmanager
def piped(*lines: bytes, **given: Any) -> Iterator[tuple[StdinSource, BinaryIO]]:
    """(a source, the end that is written to) with these lines in the pipe."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reading, os.fdopen(write, "wb", buffering=0) as writing:
        piping = StdinSource(StdinSettings(**given), reading, "stdin", lateness_ns=2 * 10**9)
        piping.start(None)
        for line in lines:
            writing.write(line)
        yield piping, writing


def everything(piping: StdinSource, writing: BinaryIO) -> tuple[list[dict[str, Any]], Polled]:
    """(the rows, the last poll) that are left when the pipe is closed."""
    writing.close()
    polls: list[Polled] = []
    while not polls or not polls[-1].ended:
        polls.append(piping.poll(0.2))
    return [row for found in polls for row in rows(found)], polls[-1]


TABLE: dict[str, Any] = {"mode": "historical", "mapping": Mapping(symbol="A")}
FIRST_BAR = b"time,open,high,low,close,volume\n2026-03-02 15:00,1,1,1,1,5\n"


def test_json_lines_come_as_they_are_written_and_a_table_with_one_header() -> None:
    with piped(mode="historical") as (piping, writing):
        assert not rows(piping.poll(0.0))
        assert piping.watermark_ns() is None
        writing.write(trade(1) + trade(2)[:20])
        [row] = rows(piping.poll(5.0))
        assert row["event_time_ns"] % 10**11 == 1_000_000_000
        assert piping.watermark_ns() == row["event_time_ns"] - 2 * 10**9, "the promise follows what has come"
        writing.write(trade(2)[20:])
        assert len(rows(piping.poll(5.0))) == 1
        writing.write(trade(3).rstrip())
        assert len(everything(piping, writing)[0]) == 1, "the last line may lack its end"
    with piped(b"time,price,size\n", **TABLE) as (piping, writing):
        assert not rows(piping.poll(0.2)), "its columns cannot be told from the header alone"
        writing.write(b"2026-03-02 15:00:01,10,1\n2026-03-02 15:00:02,11,1\n")
        assert [row["price"] for row in rows(piping.poll(5.0))] == [10.0, 11.0]
        writing.write(b"2026-03-02 15:00:03,12,1\n2026-03-02 15:00:04,x,1\n")
        found = piping.poll(5.0)
        assert [row["price"] for row in rows(found)] == [12.0]
        assert [(item.reason, item.row) for item in found.rejected] == [("wrong_type", 5)]
        assert everything(piping, writing)[1].goodbye_watermark_ns == COMPLETE


def test_bars_wait_for_their_length_one_alone_and_no_market_data_are_told_so_and_nothing_is_no_fault() -> None:
    with piped(FIRST_BAR, b"2026-03-02 15:01,2,2,2,2,5\n", **TABLE) as (piping, _):
        found: list[dict[str, Any]] = []
        while len(found) < 2:
            found += rows(piping.poll(0.2))
        assert {row["timeframe"] for row in found} == {"1m"}
    with piped(FIRST_BAR, **TABLE) as (piping, writing), pytest.raises(Fatal, match="--timeframe"):
        everything(piping, writing)
    with piped(b'{"colour": "blue"}\n') as (piping, _), pytest.raises(Fatal, match="standard input: cannot tell"):
        piping.poll(5.0)
    with piped() as (piping, writing):
        found, last = everything(piping, writing)
        assert (found, last.goodbye_watermark_ns) == ([], None)


def test_a_writer_that_is_quicker_than_the_log_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.stdin._HELD_BYTES_MAX", 1_000)
    monkeypatch.setattr("marketpulse.sources.stdin._BLOCK_BYTES", 500)
    data = b"".join(b"%059d\n" % i for i in range(5_000))  # 300 kB: more than a pipe holds
    read, write = os.pipe()

    def write_all() -> None:
        with os.fdopen(write, "wb", buffering=0) as writing:
            for begin in range(0, len(data), 60):
                writing.write(data[begin : begin + 60])

    with os.fdopen(read, "rb") as reading:
        lines, got = Lines(reading), b""
        writer = threading.Thread(target=write_all)
        writer.start()
        while not lines.over:
            block = lines.take(1.0)
            assert len(block) <= 1_000
            got += block
        writer.join()
    assert got == data
