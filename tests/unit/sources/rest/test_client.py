"""A vendor's REST side as a client sees it: faults, keys that stand nowhere else, patience, rates, budgets and turns."""

import io
import logging
import random
from datetime import UTC, datetime, time
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, none, one_of, text
from pydantic import SecretStr

from marketpulse.clock import ManualClock
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.sources.rest import Allowance, Backoff, Budget, Rate, Refused, RestClient, TryLater, WrongKey
from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.backoff import RETRY_AFTER_MAX_S, retry_after_s
from marketpulse.sources.rest.budget import budget_file
from marketpulse.sources.rest.limits import Bucket
from marketpulse.sources.rest.secret import HIDDEN, Key, Veil
from marketpulse.sources.rest.turns import Turns
from marketpulse.telemetry import REGISTRY
from refused import assert_raises
from vendor_server import Reply, Request, VendorServer, scripted, vendor

KEY = "S3CR+T/k3y=="
BY_NAME = Key(SecretStr(KEY), parameter="apikey")
QUICK = Rate(1_000, 1.0, burst=100)


def client(server: VendorServer, name: str = "fake", rate: Rate = QUICK, **more: Any) -> RestClient:
    clock = ManualClock(1_700_000_000 * 10**9)
    given = {"clock": clock, "backoff": Backoff(rng=random.Random(1)), "timeout_s": 5.0, **more}
    return RestClient(name, server.url, rate, **given)


def test_a_good_answer_brings_its_json_and_no_key_which_goes_where_it_is_wanted_hidden_elsewhere() -> None:
    with vendor(scripted(Reply.json({"price": 1.5}, CB_AFTER="17"))) as server:
        answer = client(server).get("/trades", {"limit": "10"})
    assert (answer.body, answer.headers["cb-after"]) == ({"price": 1.5}, "17")
    assert answer.received_ns == 1_700_000_000 * 10**9
    assert (server.requests[0].path, server.requests[0].parameters) == ("/trades", {"limit": "10"})
    with vendor(scripted(Reply.json({"asked": f"/query?apikey={KEY}", "price": 1.5}))) as server:
        answer = client(server, key=BY_NAME).get("/query")
    assert answer.body == {"asked": "/query?apikey=***", "price": 1.5}
    assert KEY.encode() not in answer.raw
    key = Key(SecretStr("k3y"), parameter="apikey")
    assert (key.parameters(), key.headers(), "k3y" in repr(key)) == ({"apikey": "k3y"}, {}, False)
    in_header = Key(SecretStr("k3y"), header="Authorization", scheme="Bearer ")
    assert in_header.headers() == {"Authorization": "Bearer k3y"}
    assert [Veil(none).text("anything") for none in (None, Key(SecretStr(""), parameter="apikey"))] == ["anything"] * 2
    assert Veil(key).data(b"\xff\x00k3y\xfe") == b"\xff\x00***\xfe"
    assert Veil(Key(SecretStr("hush"))).frame(b"\x91\xa9not hush!\xff") == b"\x91\xa9not ****!\xff"
    assert Veil().frame(b"\xff") == b"\xff"


@pytest.mark.parametrize("reply", [
    Reply(500), Reply(502, b"<html>bad gateway</html>"), Reply(503), Reply(408), Reply(403, b"<html>who are you</html>"),
    Reply(200, b"<!DOCTYPE html><html></html>"), Reply(200, b'{"half": [1, 2'), Reply(200, b'{"whole": [1, 2, 3]}', cut=7),
    Reply(200, b""), Reply(200, b"not gzip", {"Content-Encoding": "gzip"}),
], ids=["500", "502", "503", "408", "403-html", "html", "half", "cut", "empty", "gzip"])  # fmt: skip
def test_a_fault_that_passes_is_asked_again_after_a_pause(reply: Reply) -> None:
    with vendor(scripted(reply, Reply.json({"good": 1}))) as server:
        rest = client(server)
        assert_raises(TryLater, "", rest.get, "/a")
        assert rest.ready_in_s() > 0
        assert_raises(TryLater, "not asked", rest.get, "/a")
        assert len(server.requests) == 1, "an eager caller makes no storm"
        assert rest.get("/a", patience_s=60).body == {"good": 1}


def test_silence_and_nobody_there_are_faults_that_pass_and_a_redirect_gets_no_key() -> None:
    with vendor(scripted(Reply(silent=True))) as server, pytest.raises(TryLater, match="no whole answer"):
        client(server, timeout_s=0.2).get("/a")
    assert_raises(TryLater, "no whole answer", client(server).get, "/a")
    with vendor(scripted(Reply.json({}))) as other:
        away = Reply(302, headers={"Location": f"{other.url}/x"})
        with vendor(scripted(away)) as server, pytest.raises(Refused):
            client(server, key=Key(SecretStr(KEY), header="X-Key")).get("/a")
    assert not other.requests


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


def test_a_limit_may_have_status_200_a_wrong_key_stops_for_good_and_a_wrong_question_nothing() -> None:
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
    with vendor(scripted(Reply.json({"message": "bad key"}, 401))) as server:
        rest = client(server, key=BY_NAME)
        for _ in range(5):
            assert_raises(WrongKey, r"\.env", rest.get, "/a", patience_s=1000)
    assert len(server.requests) == 1
    with vendor(scripted(Reply.json({"error": "Not Found"}, 404), Reply.json({"good": 1}))) as server:
        rest = client(server)
        with pytest.raises(Refused, match="Not Found") as refused:
            rest.get("/chart/XXX")
        assert (refused.value.status, rest.get("/chart/AAPL").body) == (404, {"good": 1})


def test_the_rate_is_kept_and_patience_ends_and_says_when_to_come_again() -> None:
    clock, at = ManualClock(0), list[float]()

    def answer(_: Request) -> Reply:
        at.append(clock.monotonic())
        return Reply.json({})

    with vendor(answer) as server:
        rest = client(server, more_rates=[Rate(5, 60.0)], clock=clock)
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
        assert_raises(TryLater, "budget", rest.get, "/a")
        again = client(server, clock=clock, budget=Budget(allowance, tmp_path / "b.json", clock))
        assert_raises(TryLater, "budget", again.get, "/a")
    assert len(server.requests) == 3
    assert REGISTRY.get_sample_value("marketpulse_rest_budget_left", {"source": "budgeted"}) == 0


@pytest.mark.parametrize("sent", [{"parameter": "apikey"}, {"header": "Authorization", "scheme": "Bearer "}], ids=str)
@pytest.mark.parametrize("reply", [
    Reply.json({"Information": f"We have detected your API key as {KEY} and 25 requests"}, 429),
    Reply.json({"message": f"key {KEY} not known"}, 401), Reply.json({"message": f"no such question: apikey={KEY}"}, 404),
    Reply(500, f"<html>GET /?apikey={KEY}</html>".encode()), Reply(200, b'{"whole": [1, 2, 3]}', cut=7),
], ids=["limit", "key", "refused", "html", "cut"])  # fmt: skip
def test_the_key_is_sent_and_is_nowhere_else(sent: Any, reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
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


def test_what_is_no_url_or_question_is_refused_and_an_endless_answer_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("www.vendor.com", "ftp://vendor.com", "https://"):
        assert_raises(ParameterError, "is not the URL of a server", RestClient, "fake", url, QUICK)
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


NEW_YORK = Allowance(25, "America/New_York", time(9, 30), time(16, 0), at_once=3)
NOW_NS = int(datetime(2026, 3, 2, 14, 30, tzinfo=UTC).timestamp()) * 10**9
RATES = {"requests": integers(1, 12), "burst": integers(1, 12)}


def bucket(requests: int, per_s: float, burst: int = 1) -> tuple[Bucket, ManualClock]:
    clock = ManualClock(0)
    return Bucket(Rate(requests, per_s, min(burst, requests)), clock), clock


@given(**RATES, pauses_s=lists(floats(0, 30), min_size=1, max_size=80))
def test_no_window_holds_more_requests_than_the_rate_allows(requests: int, burst: int, pauses_s: list[float]) -> None:
    some, clock = bucket(requests, 60.0, burst)
    taken: list[float] = []
    for pause in pauses_s:
        clock.sleep(pause)
        while some.take():
            taken.append(clock.monotonic())
    for i, begin in enumerate(taken):
        assert sum(at < begin + 60.0 - 1e-6 for at in taken[i:]) <= requests


@given(**RATES)
def test_who_waits_as_told_may_ask(requests: int, burst: int) -> None:
    some, clock = bucket(requests, 60.0, burst)
    for _ in range(40):
        clock.sleep(some.wait_s())
        assert some.take()


def test_in_the_long_run_the_whole_rate_is_used_and_a_dear_request_takes_several_tokens() -> None:
    some, clock = bucket(5, 60.0)
    for _ in range(50):
        clock.sleep(some.wait_s())
        assert some.take()
    assert clock.monotonic() == pytest.approx(49 * 12, abs=1e-3)
    some, _ = bucket(10, 10.0, 5)
    assert some.take(5)
    assert not some.take()
    assert some.wait_s(5) == pytest.approx(5 * 10 / 6)
    some, clock = bucket(10, 10.0, 2)
    assert some.take(5)
    assert some.wait_s(1) > 0
    clock.sleep(some.wait_s(5))
    assert some.take(5)


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type,misc]


def budget(file: Path, now_ns: int) -> tuple[Budget, ManualClock]:
    clock = ManualClock(now_ns)
    return Budget(NEW_YORK, file, clock), clock


def test_before_the_session_only_the_first_look_is_there_and_the_rest_is_spread_evenly_over_it(tmp_path: Path) -> None:
    some, clock = budget(tmp_path / "b", at(2026, 3, 2, 12, 0))  # 07:00 in New York
    for _ in range(3):
        assert some.wait_s() == 0
        some.spend()
    assert some.left() == 22
    # 22 requests in six and a half hours: the first is there a 22nd of them after 14:30 UTC
    assert some.wait_s() == pytest.approx(2.5 * 3600 + 6.5 * 3600 / 22, abs=1)
    spent = []
    for _ in range(22):
        clock.sleep(some.wait_s())
        some.spend()
        spent.append(clock.now_ns())
    assert {round((b - a) / 1e9) for a, b in pairwise(spent)} <= {1063, 1064}
    assert spent[-1] == at(2026, 3, 2, 21, 0), "the last one is there when the session closes"
    assert some.left() == 0


def test_after_the_session_all_is_free_until_midnight_there_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    some, _ = budget(tmp_path / "b", at(2026, 3, 2, 22, 0))
    for _ in range(25):
        assert some.wait_s() == 0
        some.spend()
    assert some.wait_s() == pytest.approx((at(2026, 3, 3, 5, 0) - at(2026, 3, 2, 22, 0)) / 1e9), "midnight there"
    some, _ = budget(tmp_path / "b", at(2026, 3, 8, 5, 0))  # midnight, still UTC-5; later that day it is UTC-4
    some.spend(25)
    assert some.wait_s() == 23 * 3600
    budget(tmp_path / "deep" / "b", at(2026, 3, 2, 22, 0))[0].spend(20)
    assert budget(tmp_path / "deep" / "b", at(2026, 3, 1, 22, 0))[0].left() == 5, "a day back"
    second, clock = budget(tmp_path / "deep" / "b", at(2026, 3, 2, 22, 5))
    assert second.left() == 5
    clock.sleep(12 * 3600)
    assert second.left() == 25


def test_a_broken_file_counts_from_0_one_not_written_stops_and_its_name_tells_no_key(tmp_path: Path) -> None:
    for content in (b"", b"{", b"[]", b'{"day": 1, "spent": "x"}', b"\xff\xfe"):
        (tmp_path / "b").write_bytes(content)
        assert budget(tmp_path / "b", at(2026, 3, 2, 22, 0))[0].left() == 25
    (tmp_path / "file").write_text("")
    some, _ = budget(tmp_path / "file" / "b", at(2026, 3, 2, 22, 0))
    assert_raises(EnvironmentProblem, "cannot be written", some.spend)
    keys = ("ABCDEFGH12345678", "other", "ABCDEFGH12345678")
    one, other, again = (budget_file(Path("/data"), "alpha_vantage", key) for key in keys)
    assert (one == again, one == other, "ABCD" in str(one)) == (True, False, False)


@given(per_day=integers(1, 40), at_once=integers(0, 10), steps_s=lists(integers(1, 20_000), min_size=1, max_size=60))
def test_the_wait_it_tells_is_enough_and_no_longer_than_needed(per_day: int, at_once: int, steps_s: list[int]) -> None:
    allowance = Allowance(per_day, "America/New_York", time(9, 30), time(16, 0), at_once)
    now_ns = at(2026, 3, 7, 0, 0)
    for step in steps_s:
        now_ns += step * 10**9
        released = allowance.released(now_ns)
        assert 0 <= released <= per_day
        for count in range(1, per_day + 1):
            when = allowance.released_at_ns(count, now_ns)
            assert (when <= now_ns) == (count <= released)
            assert count <= released or allowance.released(when) >= count


@given(seed=integers(0, 10_000), faults=integers(1, 80))
def test_each_wait_is_within_the_doubling_bound_and_the_cap(seed: int, faults: int) -> None:
    backoff = Backoff(1.0, 300.0, random.Random(seed))
    assert all(0 <= backoff.next_s() <= min(300.0, 2.0**n) for n in range(faults))


def test_the_jitter_is_full_an_answer_begins_the_waits_anew_and_what_the_vendor_asks_for_is_waited_for() -> None:
    """Waits fill the whole of [0, bound]: of many, some are in its lowest and some in its highest tenth."""
    waits = [Backoff(10.0, 10.0, random.Random(seed)).next_s() for seed in range(300)]
    assert min(waits) < 1.0
    assert max(waits) > 9.0
    backoff = Backoff(1.0, 300.0, random.Random(3))
    for _ in range(9):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.0
    assert 60.0 <= Backoff(1.0, 300.0, random.Random(3)).next_s(60.0) <= 61.0


def date_of(*moment: int) -> str:
    return format_datetime(datetime(*moment, tzinfo=UTC), usegmt=True)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(("header", "date", "seconds"), [
    ("120", None, 120.0), (" 1.5 ", None, 1.5), ("0", None, 0.0), ("-5", None, 0.0), ("nan", None, None), ("soon", None, None),
    ("", None, None), (None, None, None), ("inf", None, RETRY_AFTER_MAX_S), ("99999999", None, RETRY_AFTER_MAX_S),
    # a date is read by our clock where the server tells none of its own
    (date_of(2026, 3, 2, 14, 32), None, 120.0), (date_of(2026, 3, 2, 14, 32), date_of(2026, 3, 2, 14, 31), 60.0),
    (format_datetime(datetime(2020, 1, 1, tzinfo=UTC)), None, 0.0),
])  # fmt: skip
def test_retry_after_is_read_as(header: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_NS, date) == seconds


@given(header=one_of(none(), text(max_size=40)), date=one_of(none(), text(max_size=40)))
def test_no_header_is_too_odd(header: str | None, date: str | None) -> None:
    found = retry_after_s(header, NOW_NS, date)
    assert found is None or 0 <= found <= RETRY_AFTER_MAX_S


@given(count=integers(1, 12), failing=lists(integers(0, 11), max_size=12), rounds=integers(1, 5))
def test_no_symbol_starves_whatever_the_others_do(count: int, failing: list[int], rounds: int) -> None:
    """Symbols whose questions fail stay due; all the same each of them has one turn a round."""
    symbols = [f"S{i}" for i in range(count)]
    turns = Turns(symbols)
    asked = []
    for step in range(count * rounds):
        symbol = turns.next(float(step))
        assert symbol is not None
        turns.asked(symbol)
        asked.append(symbol)
        if int(symbol[1:]) not in failing:
            turns.again_at(symbol, float(step))
    for begin in range(0, len(asked), count):
        assert sorted(asked[begin : begin + count]) == sorted(symbols)


def test_nobody_is_asked_before_it_is_due_and_a_rate_or_allowance_that_cannot_be_is_refused() -> None:
    turns = Turns(["A", "B"])
    turns.again_at("A", 10.0)
    turns.again_at("B", 20.0)
    assert turns.next(9.0) is None
    assert (turns.wait_s(9.0), turns.next(10.0), turns.wait_s(30.0)) == (1.0, "A", 0.0)
    for requests, per_s, burst in ((0, 1, 1), (5, 0, 1), (5, 60, 6), (5, 60, 0)):
        assert_raises(ParameterError, "burst", Rate, requests, per_s, burst)
    wrong = ({"at_once": -1}, {"zone": "Mars/Base"}, {"opens": time(16, 0), "closes": time(9, 30)})
    given_wrong: list[dict[str, Any]] = [{"per_day": 0}, *({"per_day": 5, **more} for more in wrong)]
    for one in given_wrong:
        assert_raises(ParameterError, "", Allowance, **one)
