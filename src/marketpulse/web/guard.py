"""Who may talk to the page's server, and what browsers are told: the outermost layer.

A page on another site can make a browser send requests here (DNS rebinding, cross-site WebSocket),
so the Host must be ours, the Origin must be the very host that was asked, and nothing allows CORS.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketpulse.errors import SettingsError
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REQUESTS_REFUSED

CONTENT_SECURITY_POLICY = "; ".join([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
])  # fmt: skip
_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_PLAIN = [(b"content-type", b"text/plain; charset=utf-8")]


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_binding(serve: ServeSettings) -> None:
    """Raises SettingsError when others could reach the page without a token, or without a list of Host names."""
    if is_loopback(serve.host):
        return
    if serve.token is None:
        raise SettingsError(
            f"serve.host {serve.host} lets other machines reach the page: set MARKETPULSE_SERVE__TOKEN in the environment or "
            'in .env (`python3 -c "import secrets; print(secrets.token_urlsafe(32))"` makes one), or leave serve.host at 127.0.0.1'
        )
    if not serve.allowed_hosts:
        raise SettingsError(
            f"serve.host {serve.host} lets other machines reach the page: name the hosts that browsers will ask for "
            'in serve.allowed_hosts, such as ["ticks.example.org"], or leave serve.host at 127.0.0.1'
        )


def host_name(host: str) -> str | None:
    """The name in a Host header, without the port, in lower case; None when it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises when it is not a number
    except ValueError:
        return None
    if parts.hostname is None or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


class Guard:
    """Refuses foreign Hosts (421), malformed ones (400) and foreign Origins (403); adds the headers."""

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...] = ()) -> None:
        self._app = app
        self._allowed = {host_name(name) or name.lower() for name in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                own = message.get("headers", [])
                told = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(pair for pair in _HEADERS if pair[0] not in told)]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            status, why, text = refusal
            REQUESTS_REFUSED.labels(why).inc()
            await refuse(scope, send_with_headers, status, text.encode(), _PLAIN)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        hosts = [v.decode("latin-1") for k, v in scope["headers"] if k == b"host"]
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return 400, "host", "one valid Host header is needed\n"
        if not is_loopback(name) and name not in self._allowed:
            return 421, "host", "this Host is not served here: add it to serve.allowed_hosts\n"
        for key, value in scope["headers"]:
            if key == b"origin" and not _same_origin(value.decode("latin-1"), hosts[0]):
                return 403, "origin", "this Origin may not ask here\n"
        return None


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


async def refuse(scope: Scope, send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Answer a request, or the handshake of a WebSocket, with this."""
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http.response"
    told = [pair for pair in headers if pair[0] != b"content-length"]
    length = (b"content-length", str(len(body)).encode())
    await send({"type": f"{kind}.start", "status": status, "headers": [*told, length]})
    await send({"type": f"{kind}.body", "body": body})
