"""A vendor's REST side as a client sees it: faults, limits, keys that stand nowhere else, and patience."""

import io
import logging
import random
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis.strategies import text
from pydantic import SecretStr

from marketpulse.clock import ManualClock
from marketpulse.errors import ParameterError
from marketpulse.sources.rest import Allowance, Backoff, Budget, Rate, Refused, RestClient, TryLater, WrongKey
from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.secret import HIDDEN, Key, Veil
from marketpulse.telemetry import REGISTRY
from vendor_server import Reply, Request, VendorServer, scripted, vendor

KEY = "S3CR+T/k3y=="
BY_NAME = Key(SecretStr(KEY), parameter="apikey")
QUICK = Rate(1_000, 1.0, burst=100)


def client(server: VendorServer, name: str = "fake", rate: Rate = QUICK, **more: Any) -> RestClient:
    clock = ManualClock(1_700_000_000 * 10**9)
    given = {"clock": clock, "backoff": Backoff(rng=random.Random(1)), "timeout_s": 5.0, **more}
    return RestClient(name, server.url, rate, **given)


def test_a_good_answer_brings_its_json_and_its_headers_and_no_key_that_it_repeats() -> None:
    with vendor(scripted(Reply.json({"price": 1.5}, CB_AFTER="17"))) as server:
        answer = client(server).get("/trades", {"limit": "10"})
    assert (answer.body, answer.headers["cb-after"]) == ({"price": 1.5}, "17")
    assert answer.received_ns == 1_700_000_000 * 10**9
    assert (server.requests[0].path, server.requests[0].parameters) == ("/trades", {"limit": "10"})
    with vendor(scripted(Reply.json({"asked": f"/query?apikey={KEY}", "price": 1.5}))) as server:
        answer = client(server, key=BY_NAME).get("/query")
    assert answer.body == {"asked": "/query?apikey=***", "price": 1.5}
    assert KEY.encode() not in answer.raw


@pytest.mark.parametrize("reply", [
    Reply(500), Reply(502, b"<html>bad gateway</html>"), Reply(503), Reply(408), Reply(403, b"<html>who are you</html>"),
    Reply(200, b"<!DOCTYPE html><html></html>"), Reply(200, b'{"half": [1, 2'), Reply(200, b'{"whole": [1, 2, 3]}', cut=7),
    Reply(200, b""), Reply(200, b"not gzip", {"Content-Encoding": "gzip"}),
], ids=["500", "502", "503", "408", "403-html", "html", "half", "cut", "empty", "gzip"])  # fmt: skip
def test_a_fault_that_passes_is_asked_again_after_a_pause(reply: Reply) -> None:
    with vendor(scripted(reply, Reply.json({"good": 1}))) as server:
        rest = client(server)
        with pytest.raises(TryLater):
            rest.get("/a")
        assert rest.ready_in_s() > 0
        with pytest.raises(TryLater, match="not asked"):
            rest.get("/a")
        assert len(server.requests) == 1, "an eager caller makes no storm"
        assert rest.get("/a", patience_s=60).body == {"good": 1}


def test_silence_and_a_far_end_that_is_not_there_are_faults_that_pass() -> None:
    with vendor(scripted(Reply(silent=True))) as server, pytest.raises(TryLater, match="no whole answer"):
        client(server, timeout_s=0.2).get("/a")
    with pytest.raises(TryLater, match="no whole answer"):
        client(server).get("/a")


TWO_DAYS_AHEAD, A_MINUTE_LATER = (
    format_datetime(datetime(2023, 11, 16, 22, minute, 20, tzinfo=UTC), usegmt=True) for minute in (13, 14)
)


@pytest.mark.parametrize(("status", "headers", "seconds"), [
    *((status, {"Retry-After": "120"}, 120) for status in (429, 418, 503)),
    (429, {"Retry-After": A_MINUTE_LATER, "Date": TWO_DAYS_AHEAD}, 60),  # by the server's own clock
])  # fmt: skip
def test_retry_after_is_kept_in_full(status: int, headers: dict[str, str], seconds: int) -> None:
    with vendor(scripted(Reply(status, headers=headers))) as server:
        rest = client(server)
        with pytest.raises(TryLater) as raised:
            rest.get("/a")
    assert seconds <= raised.value.retry_in_s <= seconds + 1
    assert seconds <= rest.ready_in_s() <= seconds + 1


def test_a_limit_that_comes_with_status_200_is_a_limit() -> None:
    def judge(status: int, body: Any) -> Judgement | None:
        return Judgement(Taken.LIMIT, "a limit", 45.0) if "Note" in body else None

    with vendor(scripted(Reply.json({"Note": "5 calls per minute"}), Reply.json({}))) as server:
        rest = client(server, judge=judge, name="limited")
        with pytest.raises(TryLater) as raised:
            rest.get("/a")
        assert 45 <= raised.value.retry_in_s <= 46
        assert rest.get("/a", patience_s=60).body == {}
    for end in ("limit", "good"):
        assert REGISTRY.get_sample_value("marketpulse_rest_requests_total", {"source": "limited", "end": end}) == 1


def test_a_wrong_key_stops_the_client_for_good_and_after_a_wrong_question_the_next_is_asked_at_once() -> None:
    with vendor(scripted(Reply.json({"message": "bad key"}, 401))) as server:
        rest = client(server, key=BY_NAME)
        for _ in range(5):
            with pytest.raises(WrongKey, match=r"\.env"):
                rest.get("/a", patience_s=1000)
    assert len(server.requests) == 1
    with vendor(scripted(Reply.json({"error": "Not Found"}, 404), Reply.json({"good": 1}))) as server:
        rest = client(server)
        with pytest.raises(Refused, match="Not Found") as raised:
            rest.get("/chart/XXX")
        assert raised.value.status == 404
        assert rest.get("/chart/AAPL").body == {"good": 1}


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with vendor(scripted(Reply.json({}))) as other:
        away = Reply(302, headers={"Location": f"{other.url}/x"})
        with vendor(scripted(away)) as server, pytest.raises(Refused):
            client(server, key=Key(SecretStr(KEY), header="X-Key")).get("/a")
    assert not other.requests


def test_the_rate_is_kept_and_patience_ends_and_says_when_to_come_again() -> None:
    clock, at = ManualClock(0), list[float]()

    def answer(_: Request) -> Reply:
        at.append(clock.monotonic())
        return Reply.json({})

    with vendor(answer) as server:
        rest = client(server, rate=Rate(5, 60.0), clock=clock)
        for _ in range(7):
            rest.get("/a", patience_s=1000)
    assert [round(s) for s in at] == [0, 12, 24, 36, 48, 60, 72]
    clock = ManualClock(0)
    with vendor(scripted(Reply(429, headers={"Retry-After": "500"}))) as server, pytest.raises(TryLater) as raised:
        client(server, clock=clock).get("/a", patience_s=100)
    assert raised.value.retry_in_s >= 500
    assert clock.monotonic() == 0, "it does not wait for what cannot come in time"


def test_the_budget_of_the_day_is_not_overdrawn(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000 * 10**9)
    allowance = Allowance(3, at_once=3)
    with vendor(scripted(Reply.json({}))) as server:
        rest = client(server, clock=clock, budget=Budget(allowance, tmp_path / "b.json", clock), name="budgeted")
        for _ in range(3):
            rest.get("/a")
        with pytest.raises(TryLater, match="budget"):
            rest.get("/a")
        again = client(server, clock=clock, budget=Budget(allowance, tmp_path / "b.json", clock))
        with pytest.raises(TryLater, match="budget"):
            again.get("/a")
    assert len(server.requests) == 3
    assert REGISTRY.get_sample_value("marketpulse_rest_budget_left", {"source": "budgeted"}) == 0


@pytest.mark.parametrize("sent", [{"parameter": "apikey"}, {"header": "Authorization", "scheme": "Bearer "}], ids=str)
@pytest.mark.parametrize("reply", [
    Reply.json({"Information": f"We have detected your API key as {KEY} and 25 requests"}, 429),
    Reply.json({"message": f"key {KEY} not known"}, 401), Reply.json({"message": f"no such question: apikey={KEY}"}, 404),
    Reply(500, f"<html>GET /?apikey={KEY}</html>".encode()), Reply(200, b'{"whole": [1, 2, 3]}', cut=7),
], ids=["limit", "key", "refused", "html", "cut"])  # fmt: skip
def test_the_key_is_sent_and_stands_nowhere_else(
    sent: dict[str, str], reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said, everything, key = io.StringIO(), structlog.make_filtering_bound_logger(0), Key(SecretStr(KEY), **sent)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=said), wrapper_class=everything)
    try:
        with vendor(scripted(reply)) as server:
            rest = client(server, key=key)
            with pytest.raises((TryLater, WrongKey, Refused)) as raised:
                rest.get("/query", {"symbol": "AAPL", "note": KEY})
    finally:
        structlog.reset_defaults()
    [request] = server.requests
    assert request.parameters.get("apikey") == KEY or request.headers.get("authorization") == f"Bearer {KEY}"
    error = raised.value
    chain = [repr(e) + str(e) for e in (error, error.__cause__) if e is not None]
    shown = "".join([*chain, repr(rest), repr(key), str(getattr(error, "body", b"")), caplog.text, said.getvalue()])
    assert [form for form in (KEY, "S3CR%2BT%2Fk3y%3D%3D") if form in shown] == []
    assert error.__suppress_context__ or error.__context__ is None


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with vendor(scripted(Reply.json({"through": "the proxy"}))) as proxy:
        for name, value in (("HTTP_PROXY", proxy.url), ("NO_PROXY", ""), ("no_proxy", "")):
            monkeypatch.setenv(name, value)
        rest = RestClient("fake", "http://vendor.invalid", QUICK, clock=ManualClock(0))
        assert rest.get("/a").body == {"through": "the proxy"}
    assert proxy.requests[0].headers["host"] == "vendor.invalid"


def test_no_url_and_no_question_are_refused_and_an_answer_without_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in ("www.vendor.com", "ftp://vendor.com", "https://"):
        with pytest.raises(ParameterError, match="is not the URL of a server"):
            RestClient("fake", url, QUICK)
    with vendor(scripted(Reply())) as server, pytest.raises(Refused):
        client(server).get("/chart/\x00")
    monkeypatch.setattr("marketpulse.sources.rest.client.BODY_BYTES_MAX", 1000)
    with vendor(scripted(Reply(200, b"[" + b"1," * 5000 + b"1]"))) as server, pytest.raises(TryLater):
        client(server).get("/a")


PRINTABLE = text(alphabet=[chr(c) for c in range(33, 127) if chr(c) != "*"], min_size=3, max_size=24)


@given(value=PRINTABLE, around=text(alphabet="xyz =&?", max_size=10))
def test_no_form_of_the_key_stays(value: str, around: str) -> None:
    veil = Veil(Key(SecretStr(value), parameter="apikey"))
    for form in (value, quote(value, safe=""), quote_plus(value), value.lower()):
        shown = veil.text(f"{around}{form}{around}{form}")
        assert HIDDEN in shown
        assert form not in shown.replace(HIDDEN, "")


def test_a_key_is_sent_where_the_vendor_wants_it_and_hidden_in_text_bytes_and_frames() -> None:
    key = Key(SecretStr("k3y"), parameter="apikey")
    assert (key.parameters(), key.headers(), "k3y" in repr(key)) == ({"apikey": "k3y"}, {}, False)
    in_header = Key(SecretStr("k3y"), header="Authorization", scheme="Bearer ")
    assert in_header.headers() == {"Authorization": "Bearer k3y"}
    assert [Veil(none).text("anything") for none in (None, Key(SecretStr(""), parameter="apikey"))] == ["anything"] * 2
    assert Veil(key).data(b"\xff\x00k3y\xfe") == b"\xff\x00***\xfe"
    assert Veil(Key(SecretStr("hush"))).frame(b"\x91\xa9not hush!\xff") == b"\x91\xa9not ****!\xff"
    assert Veil().frame(b"\xff") == b"\xff"
