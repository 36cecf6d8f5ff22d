import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, dictionaries, floats, integers, lists, none, one_of, sampled_from, text
from pydantic import SecretStr

from marketpulse.clock import SystemClock
from marketpulse.errors import EnvironmentProblem, SettingsError
from marketpulse.model.market import REASONS
from marketpulse.ports import Polled
from marketpulse.settings import HttpSettings
from marketpulse.sources.push import HttpSource
from marketpulse.sources.push_requests import AWAY_S, Push, Waiting

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


def sent(pushed: HttpSource, body: bytes, **headers: str) -> Future[httpx.Response]:
    """Push in a thread: the answer comes when the rows are in the log."""
    pool = ThreadPoolExecutor(1)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return pool.submit(httpx.post, pushed.url, content=body, headers={**GOOD, **names}, timeout=20, trust_env=False)


def polled(pushed: HttpSource) -> Polled:
    """The next poll that brings something."""
    while True:
        found = pushed.poll(0.2)
        if found.batches or found.rejected:
            return found


def test_the_answer_comes_after_the_rows_are_in_the_log() -> None:
    with serving() as pushed:
        asked = sent(pushed, ROW)
        found = polled(pushed)
        assert [row["symbol"] for row in found.batches[0].to_pylist()] == ["AAPL"]
        assert not asked.done(), "the log does not have it yet"
        pushed.committed()
        answer = asked.result(10)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "rejected": 0, "faults": []}


@pytest.mark.parametrize(
    "body", [ROW + b"\n" + ROW + b"\n\n", b"[" + ROW + b",\n" + ROW + b"]", b'{"trades": [' + ROW + b"," + ROW + b"]}"]
)
def test_lines_arrays_and_objects_with_lists_are_taken(body: bytes) -> None:
    with serving() as pushed:
        asked = sent(pushed, body)
        found = polled(pushed)
        pushed.committed()
        assert sum(batch.num_rows for batch in found.batches) == 2
        assert asked.result(10).json()["accepted"] == 2


def test_a_row_that_cannot_be_is_a_dead_letter_and_the_answer_says_which() -> None:
    bad = ROW.replace(b"187.5", b"-1")
    with serving() as pushed:
        asked = sent(pushed, ROW + b"\n" + bad + b"\nnot json\n")
        found = polled(pushed)
        pushed.committed()
        answer = asked.result(10).json()
    assert sorted(item.reason for item in found.rejected) == ["bad_price", "not_json"]
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    assert sorted(fault["row"] for fault in answer["faults"]) == [2, 3]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": {}}, 401), ({"headers": {"Authorization": "Bearer wrong-token-of-20-letters"}}, 401),
        ({"headers": {"Authorization": WORD}}, 401), ({"url": "/other"}, 404), ({"method": "GET"}, 405), ({"method": "PUT"}, 501),
        ({"headers": {**GOOD, "Content-Encoding": "gzip"}}, 415), ({"content": b"x" * 2_000}, 413),
        ({"content": iter([ROW])}, 411), ({"headers": {**GOOD, "Idempotency-Key": "k" * 300}}, 400),
    ],
)  # fmt: skip
def test_what_is_not_taken(change: dict[str, Any], status: int) -> None:
    with serving(body_bytes=1_024) as pushed:
        given: dict[str, Any] = {"method": "POST", "content": ROW, "headers": GOOD, **change}
        url = pushed.url.replace("/ingest", given.pop("url", "/ingest"))
        answer = httpx.request(url=url, timeout=10, trust_env=False, **given)
        assert not pushed.poll(0.0).batches
    assert answer.status_code == status
    assert WORD not in answer.text


def test_rows_that_say_nothing_we_know_are_told_so() -> None:
    with serving() as pushed, ThreadPoolExecutor(1):
        asked = sent(pushed, b'{"colour": "blue"}')
        while not asked.done():
            pushed.poll(0.05)
        assert asked.result().status_code == 422
        assert "cannot tell" in asked.result().json()["error"]


def test_a_repeat_with_the_same_key_is_in_the_log_once_over_a_restart() -> None:
    with serving() as pushed:
        asked = sent(pushed, ROW, Idempotency_Key="order-1")
        found = polled(pushed)
        pushed.committed()
        assert asked.result(10).json()["accepted"] == 1
    with serving(found.position) as again:
        repeated = sent(again, ROW, Idempotency_Key="order-1")
        while not repeated.done():
            assert not again.poll(0.05).batches
        assert repeated.result().json() == {"accepted": 0, "rejected": 0, "repeated": True}
        other = sent(again, ROW, Idempotency_Key="order-2")
        assert polled(again).batches
        again.committed()
        assert other.result(10).json()["accepted"] == 1


def test_while_the_log_holds_a_request_its_repeat_waits_for_the_same_rows() -> None:
    with serving() as pushed:
        first = sent(pushed, ROW, Idempotency_Key="order-1")
        assert polled(pushed).batches
        second = sent(pushed, ROW, Idempotency_Key="order-1")
        pushed.committed()
        while not second.done():
            assert not pushed.poll(0.05).batches
        assert first.result(10).json()["accepted"] == 1
        assert second.result(10).status_code == 200


def test_a_log_that_takes_too_long_is_said_and_the_request_may_be_repeated() -> None:
    with serving(answer_s=0.2) as pushed:
        asked = sent(pushed, ROW)
        assert polled(pushed).batches
        answer = asked.result(10)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "Idempotency-Key" in answer.json()["error"]


def test_beyond_the_bound_who_pushes_is_told_to_come_again() -> None:
    with serving(waiting_bytes=1_024) as pushed:
        first = sent(pushed, ROW * 10)
        while not pushed._waiting._queue:
            threading.Event().wait(0.01)
        second = httpx.post(pushed.url, content=ROW * 10, headers=GOOD, timeout=10, trust_env=False)
        assert second.status_code == 429
        assert second.headers["retry-after"] == "1"
        assert polled(pushed).batches
        pushed.committed()
        assert first.result(10).status_code == 200


def test_beyond_the_bound_while_the_log_is_away_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.sources.push_requests.AWAY_S", -1.0)
    with serving(waiting_bytes=1_024) as pushed:
        first = sent(pushed, ROW * 10)
        assert polled(pushed).batches
        second = httpx.post(pushed.url, content=ROW * 10, headers=GOOD, timeout=10, trust_env=False)
        assert second.status_code == 503
        assert "the log is away" in second.json()["error"]
        pushed.committed()
        assert first.result(10).status_code == 200


def test_a_log_that_is_away_is_another_answer_than_one_that_is_slow() -> None:
    waiting = Waiting(1_000)
    waiting.offer(Push(b"", 0))
    assert not waiting.log_is_away(0.0)
    waiting.take(0.0, 100.0)
    assert not waiting.log_is_away(100.0 + AWAY_S)
    assert waiting.log_is_away(100.1 + AWAY_S)


def test_who_waits_when_it_stops_is_told_so() -> None:
    pushed = source()
    pushed.start(None)
    asked = sent(pushed, ROW)
    assert polled(pushed).batches
    pushed.close()
    assert asked.result(10).status_code == 503


def test_nothing_is_promised_while_requests_wait() -> None:
    with serving() as pushed:
        assert pushed.watermark_ns() is None
        asked = sent(pushed, ROW)
        polled(pushed)
        assert pushed.watermark_ns() is None
        pushed.committed()
        asked.result(10)
        promise = pushed.watermark_ns()
        assert promise is not None
        assert promise < SystemClock().now_ns() - 2 * 10**9
    with serving(mode="historical") as pushed:
        asked = sent(pushed, ROW)
        polled(pushed)
        pushed.committed()
        asked.result(10)
        assert pushed.watermark_ns() == 1_772_463_600 * 10**9 - 2 * 10**9


def test_without_a_token_it_does_not_begin() -> None:
    with pytest.raises(SettingsError, match="MARKETPULSE_SOURCES__NAME__TOKEN"):
        source(token=None)


def test_a_port_that_is_taken_is_said() -> None:
    with serving() as pushed:
        port = int(pushed.url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(EnvironmentProblem, match="set port"):
            source(port=port)


VALUES = one_of(
    none(),
    integers(-(2**60), 2**60),
    floats(),
    text(max_size=8),
    sampled_from(["AAPL", "2026-03-02T15:00:00Z", "-1", "1m"]),
)
NAMES = sampled_from(
    ["symbol", "price", "size", "timestamp", "bid", "ask", "open", "high", "low", "close", "volume", "timeframe", "x"]
)


@settings(max_examples=150, deadline=None)
@given(
    rows=lists(one_of(dictionaries(NAMES, VALUES, max_size=8), VALUES), max_size=5),
    junk=binary(max_size=12),
    cut=integers(0, 40),
)
def test_no_body_crashes_it(rows: list[Any], junk: bytes, cut: int) -> None:
    lines = b"\n".join(json.dumps(row).encode() for row in rows) + b"\n" + junk
    for body in (lines, lines[cut:], json.dumps(rows).encode()):
        push = Push(body, 1_772_463_600 * 10**9)
        batches, rejected = FUZZED._understand(push)
        assert push.status in (200, 422)
        assert all(item.reason in REASONS for item in rejected)
        assert push.status == 422 or sum(batch.num_rows for batch in batches) == push.outcome["accepted"]


FUZZED = source()
FUZZED.start(None)
