from http.cookies import SimpleCookie
from typing import Any

import pytest

from marketpulse.clock import ManualClock
from marketpulse.web.token import COOKIE_S, Token, bearer, cookie_name

RIGHT = "a-token-of-24-characters"
NOW_NS = 1_700_000_000 * 10**9


def scope(**headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "server": ("127.0.0.1", 8080),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def given(token: Token) -> str:
    morsel = next(iter(SimpleCookie(token.cookie(scope(), secure=False)).values()))
    return f"{morsel.key}={morsel.value}"


def test_only_the_same_text_is_the_same() -> None:
    token = Token(RIGHT)
    assert token.is_same(RIGHT)
    for other in ("", RIGHT[:-1], RIGHT + " ", RIGHT.upper(), "é" * 24, "\ud800"):
        assert not token.is_same(other)


def test_it_never_tells_itself() -> None:
    assert RIGHT not in repr(Token(RIGHT))
    assert RIGHT not in Token(RIGHT).cookie(scope(), secure=True)


def test_a_cookie_is_taken_until_it_expires_and_only_of_the_same_token_and_port() -> None:
    clock = ManualClock(NOW_NS)
    token = Token(RIGHT, clock)
    cookie = given(token)
    assert token.has_cookie(scope(cookie=f"other=1; {cookie}"))
    assert not Token(RIGHT + "!", clock).has_cookie(scope(cookie=cookie))
    assert not token.has_cookie({**scope(cookie=cookie), "server": ("127.0.0.1", 8081)})
    clock.sleep(COOKIE_S)
    assert not token.has_cookie(scope(cookie=cookie))


@pytest.mark.parametrize("value", ["", "x", "9999999999.", "9999999999." + "0" * 64, "9" * 400 + "." + "a" * 64])
def test_a_cookie_of_somebody_elses_making_is_none(value: str) -> None:
    assert not Token(RIGHT).has_cookie(scope(cookie=f"{cookie_name(scope())}={value}"))


def test_a_cookie_whose_expiry_was_changed_is_none() -> None:
    token = Token(RIGHT, ManualClock(NOW_NS))
    name, _, value = given(token).partition("=")
    later = f"{int(value.partition('.')[0]) + 1}.{value.partition('.')[2]}"
    assert not token.has_cookie(scope(cookie=f"{name}={later}"))


def test_the_cookie_is_kept_from_scripts_and_other_sites() -> None:
    token = Token(RIGHT)
    assert "; HttpOnly; SameSite=Strict" in token.cookie(scope(), secure=False)
    assert token.cookie(scope(), secure=True).endswith("; Secure")


def test_a_bearer_is_read_whatever_the_case_of_its_name() -> None:
    assert bearer(scope(authorization="bearer abc")) == "abc"
    assert bearer(scope(authorization="Basic abc")) is None
    assert bearer(scope(authorization="Bearer ")) is None
    assert bearer(scope()) is None
