"""Who is served: the names of hosts, the origin, the binding, and how often a client may ask."""

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

import served_app
from marketpulse.clock import ManualClock
from marketpulse.errors import SettingsError
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web.guard import Guard, check_binding, host_name
from marketpulse.web.rates import CLIENTS_MAX, Rates, client_of


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(headers: dict[str, str] | list[tuple[str, str]], allowed: tuple[str, ...] = ()) -> httpx.Response:
    return served_app.ask(Guard(behind, allowed), "http://127.0.0.1:8080/", headers=headers)


def test_loopback_and_allowed_names_are_served_and_every_answer_carries_the_policy_that_allows_no_other_sites() -> None:
    for host in ("127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080", "127.0.0.53", "Ticks.Example.org:443"):
        assert ask({"host": host}, ("ticks.example.org",)).text == "inside", host
    for answer in (ask({"host": "localhost"}), ask({"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert ("frame-ancestors 'none'" in policy, answer.headers["x-content-type-options"]) == (True, "nosniff")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "192.168.1.4",
])  # fmt: skip
def test_foreign_hosts_are_misdirected(host: str) -> None:
    refused = ("marketpulse_requests_refused_total", {"why": "host"})
    before = REGISTRY.get_sample_value(*refused) or 0
    assert (ask({"host": host}).status_code, REGISTRY.get_sample_value(*refused)) == (421, before + 1)


def test_malformed_hosts_and_two_are_refused_and_only_the_very_same_origin_may_ask() -> None:
    for malformed in ("", "localhost/evil", "user@localhost", "localhost:port", "local host"):
        assert ask({"host": malformed}).status_code in {400, 421}, malformed
    assert ask([("host", "localhost"), ("host", "localhost")]).status_code == 400
    host = {"host": "localhost:8080"}
    assert ask(host | {"origin": "http://localhost:8080"}).status_code == 200
    others = ("http://localhost:8081", "http://127.0.0.1:8080", "null", "http://evil.example", "file://", "http://[")
    assert [ask(host | {"origin": origin}).status_code for origin in others] == [403] * len(others)


def test_a_binding_that_others_reach_needs_a_token_and_a_list_of_names() -> None:
    token = SecretStr("a-token-of-24-characters")
    for host in ("::", "0.0.0.0", "10.0.0.1", "192.168.1.4"):  # noqa: S104
        with pytest.raises(SettingsError, match=r"MARKETPULSE_SERVE__TOKEN .*secrets.token_urlsafe"):
            check_binding(ServeSettings(host=host, allowed_hosts=("ticks.example.org",)))
        with pytest.raises(SettingsError, match="allowed_hosts"):
            check_binding(ServeSettings(host=host, token=token))
        check_binding(ServeSettings(host=host, token=token, allowed_hosts=("ticks.example.org",)))
    for host in ("127.0.0.1", "localhost", "::1"):
        check_binding(ServeSettings(host=host))


def test_a_hosts_name_is_read_without_its_port_and_an_ipv6_client_is_its_network() -> None:
    assert (host_name("Example.org:80"), host_name("[::1]:80")) == ("example.org", "::1")
    assert host_name("example.org:x") is None

    def client(host: str) -> str:
        return client_of({"type": "http", "client": (host, 1)})

    assert client("2001:db8:1:2::9") == client("2001:db8:1:2:ffff::1") != client("2001:db8:1:3::9")
    assert client("::ffff:10.0.0.1") == client("10.0.0.1") == "10.0.0.1"
    assert client_of({"type": "http", "client": None}) == ""


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
