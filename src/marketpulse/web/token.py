"""The token of the web server: what proves it, and the cookie that a browser gets for it once.

The cookie is `expiry.signature`, signed with the token: nothing is kept here, a restart loses nobody, and another token
ends every cookie of the old one.
"""

import hashlib
import hmac
import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import Scope

from marketpulse.clock import Clock, SystemClock

COOKIE_S = 30 * 86_400


class Token:
    """Compares in constant time. Never tells the token: not in its repr, nor in an error."""

    def __init__(self, secret: str, clock: Clock | None = None) -> None:
        self._secret = secret.encode()
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return "Token(…)"

    def is_same(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given.encode(errors="replace")), _digest(self._secret))

    def cookie(self, scope: Scope, *, secure: bool) -> str:
        """A Set-Cookie header's value."""
        expiry = str(self._clock.now_ns() // 10**9 + COOKIE_S)
        flags = "; Secure" if secure else ""
        return (
            f"{cookie_name(scope)}={expiry}.{self._signature(expiry)}; Path=/; Max-Age={COOKIE_S}; HttpOnly; "
            f"SameSite=Strict{flags}"
        )

    def has_cookie(self, scope: Scope) -> bool:
        """Whether the request carries a cookie that was signed here and has not expired."""
        for header in Headers(scope=scope).getlist("cookie"):
            try:
                morsel = SimpleCookie(header).get(cookie_name(scope))
            except CookieError:
                continue
            if morsel is not None and self._is_signed(morsel.value):
                return True
        return False

    def _is_signed(self, value: str) -> bool:
        match = re.fullmatch(r"([0-9]{1,12})\.([0-9a-f]{64})", value)
        if match is None or not hmac.compare_digest(match[2], self._signature(match[1])):
            return False
        return int(match[1]) > self._clock.now_ns() // 10**9

    def _signature(self, expiry: str) -> str:
        return hmac.new(self._secret, f"marketpulse page {expiry}".encode(), hashlib.sha256).hexdigest()


def bearer(scope: Scope) -> str | None:
    """What stands behind `Authorization: Bearer`."""
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" and given.strip() else None


def cookie_name(scope: Scope) -> str:
    """Browsers do not tell ports apart, people with two servers on one machine do."""
    return f"marketpulse-{(scope.get('server') or ('', 0))[1]}"


def _digest(value: bytes) -> bytes:
    """Of equal length, whatever was given."""
    return hashlib.sha256(value).digest()
