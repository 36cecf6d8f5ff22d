"""Who is served: the token and its cookie, alone and on the real server, hosts, origins, the binding and limits."""

import asyncio
import io
from contextlib import AbstractContextManager, redirect_stderr
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import board_rows
from board_rows import bars, row
from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY, metrics_text
from marketpulse.web.access import BODY_MAX, URL_MAX, WRONG_AT_ONCE
from marketpulse.web.board import Board
from marketpulse.web.guard import Guard, check_binding, host_name
from marketpulse.web.pages import Asset
from marketpulse.web.rates import CLIENTS_MAX, Rates, client_of
from marketpulse.web.token import COOKIE_S, Token, bearer, cookie_name

RIGHT = "a-token-of-24-characters"
WRONG = "a-wrong-one-of-characters"
NOW_NS = 1_700_000_000 * 10**9
PAGE = {"/": Asset(b"the page itself", None, "text/html", '"1"', "no-cache")}


def scope(**headers: str) -> dict[str, Any]:
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "server": ("127.0.0.1", 8080), "headers": named}


def given(token: Token) -> str:
    morsel = next(iter(SimpleCookie(token.cookie(scope(), secure=False)).values()))
    return f"{morsel.key}={morsel.value}"


def test_only_the_same_text_is_the_same_and_a_cookie_is_taken_until_it_expires_of_the_same_token_and_port() -> None:
    token = Token(RIGHT)
    assert token.is_same(RIGHT)
    for other in ("", RIGHT[:-1], RIGHT + " ", RIGHT.upper(), "é" * 24, "\ud800"):
        assert not token.is_same(other)
    assert RIGHT not in repr(token) + token.cookie(scope(), secure=True), "it never tells itself"
    clock = ManualClock(NOW_NS)
    token = Token(RIGHT, clock)
    cookie = given(token)
    assert token.has_cookie(scope(cookie=f"other=1; {cookie}"))
    assert not Token(RIGHT + "!", clock).has_cookie(scope(cookie=cookie))
    assert not token.has_cookie({**scope(cookie=cookie), "server": ("127.0.0.1", 8081)})
    name, _, value = cookie.partition("=")
    later = f"{int(value.partition('.')[0]) + 1}.{value.partition('.')[2]}"
    assert not token.has_cookie(scope(cookie=f"{name}={later}")), "its expiry was changed"
    clock.sleep(COOKIE_S)
    assert not token.has_cookie(scope(cookie=cookie))


@pytest.mark.parametrize("value", ["", "x", "9999999999.", "9999999999." + "0" * 64, "9" * 400 + "." + "a" * 64])
def test_a_cookie_of_somebody_elses_making_is_none(value: str) -> None:
    assert not Token(RIGHT).has_cookie(scope(cookie=f"{cookie_name(scope())}={value}"))


def test_a_bearer_is_read_in_any_case_and_the_token_is_in_no_answer_metric_or_log() -> None:
    for header, token in (("bearer abc", "abc"), ("Basic abc", None), ("Bearer ", None)):
        assert bearer(scope(authorization=header)) == token, header
    assert bearer(scope()) is None
    said = io.StringIO()
    with redirect_stderr(said), served() as client:
        answers = [
            client.get("/", headers=with_token()), client.get("/api/symbols", headers=with_token()),
            client.get(f"/api/symbols?token={RIGHT}"), client.get(f"/{RIGHT}"), client.get(f"/api/{RIGHT}", headers=with_token()),
            client.post("/login", data={"token": RIGHT}), client.get(f"/api/bars?symbol=AAA&timeframe={RIGHT}", headers=with_token()),
        ]  # fmt: skip
    told = [*(str(a.headers) + a.text for a in answers), metrics_text()[0].decode(), said.getvalue()]
    assert not [text for text in (*told, repr(ServeSettings(token=SecretStr(RIGHT)))) if RIGHT in text]


# On the real server.


def served(token: str | None = RIGHT, **options: Any) -> AbstractContextManager[httpx.Client]:
    board = Board()
    board.take(bars(row("AAA", "1m", 0, 1.0)))
    serve = ServeSettings(port=0, token=None if token is None else SecretStr(token), **options)
    return board_rows.served(board, serve, PAGE)


def with_token(token: str = RIGHT) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def handshake(client: httpx.Client, headers: dict[str, str]) -> int:
    """The status of a WebSocket's handshake."""

    async def attempt() -> int:
        address = str(client.base_url).replace("http", "ws", 1) + "ws"
        try:
            async with connect(address, additional_headers=headers):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    return asyncio.run(attempt())


def test_without_a_token_all_is_open_on_loopback_but_for_long_addresses_bodies_and_other_sites_pages() -> None:
    with served(None) as client:
        assert (client.get("/").text, client.get("/api/symbols").status_code) == ("the page itself", 200)
        assert (client.get("/login").status_code, handshake(client, {})) == (404, 101)
        assert client.get("/api/bars?symbol=" + "x" * URL_MAX).status_code == 414
        assert client.post("/api/sql", content=b"x" * (BODY_MAX + 1)).status_code == 413
        for site in ("cross-site", "same-site"):
            assert client.get("/api/symbols", headers={"sec-fetch-site": site}).status_code == 403
            assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200  # a link may lead here


def test_with_one_nothing_is_told_to_who_has_none_and_a_program_sends_it_with_each_request() -> None:
    with served() as client:
        for path in ("symbols", "openapi.json", "nothing", "bars?symbol=AAA&timeframe=1m", "/metrics"):
            answer = client.get(path if path[0] == "/" else f"/api/{path}")
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
            assert "MARKETPULSE_SERVE__TOKEN" in answer.json()["error"]
        for path in ("/", "/assets/main.js"):
            page = client.get(path)
            assert (page.status_code, "the page itself" in page.text) == (401, False)
            assert '<form method="post" action="/login">' in page.text
        assert (client.post("/").status_code, handshake(client, {})) == (401, 401)
        assert handshake(client, {"cookie": "marketpulse-1=1.2"}) == 401
        assert client.get("/api/symbols", headers=with_token()).status_code == 200
        assert (client.get("/metrics", headers=with_token()).status_code, handshake(client, with_token())) == (200, 101)
        wrong = client.get("/api/symbols", headers=with_token(WRONG))
        assert (wrong.status_code, "this token is wrong" in wrong.json()["error"]) == (401, True)
        assert handshake(client, with_token(WRONG)) == 401


def test_a_browser_gives_it_once_and_then_has_a_cookie_behind_tls_for_tls_only() -> None:
    with served() as client:
        logged_in = client.post("/login", data={"token": f" {RIGHT} "})
        assert (logged_in.status_code, logged_in.headers["location"]) == (303, "/")
        cookie = logged_in.headers["set-cookie"]
        assert RIGHT not in cookie
        assert "; HttpOnly; SameSite=Strict" in cookie
        assert ("Secure" not in cookie, client.get("/").text) == (True, "the page itself")
        assert client.get("/api/symbols").status_code == 200
        assert handshake(client, {"cookie": cookie.partition(";")[0]}) == 101
        origin = f"https://{client.base_url.netloc.decode()}"
        answer = client.post("/login", data={"token": RIGHT}, headers={"origin": origin})
        assert answer.headers["set-cookie"].endswith("; Secure")


def test_the_form_is_a_page_of_its_own_with_no_script_in_it_and_says_what_was_wrong() -> None:
    with served() as client:
        page = client.get("/login")
        policy = page.headers["content-security-policy"]
        assert (page.status_code, "form-action 'self'" in policy, "unsafe" in policy) == (200, True, False)
        assert page.headers.get_list("content-security-policy") == [policy]
        assert client.get("/login/login.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/login/login.css").headers["content-type"].startswith("text/css")
        wrong = client.post("/login", data={"token": WRONG})
        assert (wrong.status_code, "This token is wrong." in wrong.text, WRONG in wrong.text) == (401, True, False)
        assert "set-cookie" not in wrong.headers
        for data in ({}, {"token": ""}, {"other": RIGHT}):
            assert client.post("/login", data=data).status_code == 401
        assert client.post("/login", content=b"token=" + b"x" * 5_000).status_code == 413
        evil = {"origin": "http://evil.example"}
        assert client.post("/login", data={"token": RIGHT}, headers=evil).status_code == 403


def test_guessing_is_slow_and_locks_nobody_out_and_who_asks_too_often_is_told_when_to_come_again() -> None:
    with served() as client:
        cookie = client.post("/login", data={"token": RIGHT}).headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        wrong = [client.get("/api/symbols", headers=with_token(f"{WRONG}{i}")) for i in range(WRONG_AT_ONCE)]
        assert [answer.status_code for answer in wrong] == [401] * WRONG_AT_ONCE
        for answer in (
            client.get("/api/symbols", headers=with_token(WRONG)),
            client.get("/api/symbols", headers=with_token()),  # not even compared
            client.post("/login", data={"token": RIGHT}),
        ):
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
        assert client.get("/api/symbols", headers={"cookie": cookie}).status_code == 200
    with served(None, requests_per_s=0.001) as client:  # four thousandths at once are less than one
        answer = client.get("/api/symbols")
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
        assert (client.get("/metrics").status_code, client.get("/").text) == (429, "the page itself")
    with served(None, requests_per_s=1) as client:
        assert [client.get("/api/symbols").status_code for _ in range(4)] == [200] * 4


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(headers: dict[str, str] | list[tuple[str, str]], allowed: tuple[str, ...] = ()) -> httpx.Response:
    return board_rows.ask(Guard(behind, allowed), "http://127.0.0.1:8080/", headers=headers)


def test_loopback_and_allowed_names_are_served_with_a_policy_and_an_ipv6_client_is_its_network() -> None:
    for host in ("127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080", "127.0.0.53", "Ticks.Example.org:443"):
        assert ask({"host": host}, ("ticks.example.org",)).text == "inside", host
    for answer in (ask({"host": "localhost"}), ask({"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert ("frame-ancestors 'none'" in policy, answer.headers["x-content-type-options"]) == (True, "nosniff")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    assert (host_name("Example.org:80"), host_name("[::1]:80")) == ("example.org", "::1")
    assert host_name("example.org:x") is None

    def client(host: str) -> str:
        return client_of({"type": "http", "client": (host, 1)})

    assert client("2001:db8:1:2::9") == client("2001:db8:1:2:ffff::1") != client("2001:db8:1:3::9")
    assert client("::ffff:10.0.0.1") == client("10.0.0.1") == "10.0.0.1"
    assert client_of({"type": "http", "client": None}) == ""


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "192.168.1.4",
])  # fmt: skip
def test_foreign_hosts_are_misdirected(host: str) -> None:
    refused = ("marketpulse_requests_refused_total", {"why": "host"})
    before = REGISTRY.get_sample_value(*refused) or 0
    assert (ask({"host": host}).status_code, REGISTRY.get_sample_value(*refused)) == (421, before + 1)


def test_malformed_hosts_and_origins_are_refused_and_an_open_binding_needs_a_token_and_names() -> None:
    for malformed in ("", "localhost/evil", "user@localhost", "localhost:port", "local host"):
        assert ask({"host": malformed}).status_code in {400, 421}, malformed
    assert ask([("host", "localhost"), ("host", "localhost")]).status_code == 400
    ours = {"host": "localhost:8080"}
    assert ask(ours | {"origin": "http://localhost:8080"}).status_code == 200
    others = ("http://localhost:8081", "http://127.0.0.1:8080", "null", "http://evil.example", "file://", "http://[")
    assert [ask(ours | {"origin": origin}).status_code for origin in others] == [403] * len(others)
    token = SecretStr("a-token-of-24-characters")
    for host in ("::", "0.0.0.0", "10.0.0.1", "192.168.1.4"):  # noqa: S104
        with pytest.raises(SettingsError, match=r"MARKETPULSE_SERVE__TOKEN .*secrets.token_urlsafe"):
            check_binding(ServeSettings(host=host, allowed_hosts=("ticks.example.org",)))
        with pytest.raises(SettingsError, match="allowed_hosts"):
            check_binding(ServeSettings(host=host, token=token))
        check_binding(ServeSettings(host=host, token=token, allowed_hosts=("ticks.example.org",)))
    for host in ("127.0.0.1", "localhost", "::1"):
        check_binding(ServeSettings(host=host))


def test_a_client_has_a_burst_then_a_rate_of_its_own_to_look_takes_nothing_and_the_newest_are_remembered() -> None:
    rates = Rates(2, 3, clock := ManualClock(0))
    assert ([rates.take("a") for _ in range(4)], rates.take("b")) == ([0, 0, 0, 0.5], 0)
    clock.sleep(0.5)
    assert [rates.take("a") for _ in range(2)] == [0, 0.5]
    clock.sleep(3_600)
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    rates = Rates(1, 1, ManualClock(0))
    assert (rates.wait_s("a"), rates.wait_s("a"), rates.take("a"), rates.wait_s("a")) == (0, 0, 0, 1)
    rates = Rates(1, 1, ManualClock(0))
    for i in range(CLIENTS_MAX + 1):
        rates.take(str(i))
    assert (rates.wait_s("0"), rates.wait_s("1")) == (0, 1)
