"""Who may ask, how often, and how much: inside guard.py, around every route.

address too long 414 -> another site's page 403 -> too often 429 -> the token 401 -> body too long 413
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketpulse.clock import Clock
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REQUESTS_REFUSED
from marketpulse.web.guard import CONTENT_SECURITY_POLICY, refuse
from marketpulse.web.problems import problem
from marketpulse.web.rates import Rates, client_of
from marketpulse.web.token import Token, bearer

URL_MAX = 16_384  # bytes; a longer query is posted
BODY_MAX = 1_000_000
LOGIN_BODY_MAX = 4_096
WRONG_AT_ONCE, WRONG_PER_S = 10, 1 / 6
BURST_S = 4  # seconds' worth of requests at once

_LOGIN = Path(__file__).with_name("login")
_LOGIN_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": CONTENT_SECURITY_POLICY.replace("form-action 'none'", "form-action 'self'"),
    "referrer-policy": "same-origin",  # without one, browsers hide the Origin of a form
}
_NEEDED = "a token is needed: send `Authorization: Bearer …` with MARKETPULSE_SERVE__TOKEN, or open the page and log in"
_WRONG = "this token is wrong: MARKETPULSE_SERVE__TOKEN of who started the server holds the right one"
_TOO_MANY_WRONG = "too many wrong tokens from here: wait, then try again"


class Access:
    """Asks for `serve.token` where one is set. Every client may ask the API `serve.requests_per_s` times a second."""

    def __init__(self, app: ASGIApp, serve: ServeSettings, clock: Clock | None = None) -> None:
        self._app = app
        self._token = None if serve.token is None else Token(serve.token.get_secret_value(), clock)
        self._rates = Rates(serve.requests_per_s, BURST_S * serve.requests_per_s, clock)
        self._wrong = Rates(WRONG_PER_S, WRONG_AT_ONCE, clock)
        self._page = (_LOGIN / "login.html").read_text()
        self._open = {
            f"/login/{name}": ((_LOGIN / name).read_bytes(), media)
            for name, media in (("login.css", "text/css"), ("login.js", "text/javascript"))
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(scope)
        if answer is None and self._token is not None:
            answer = await self._admission(self._token, scope, receive)
        if answer is None:
            await self._app(scope, _bounded(scope, receive), send)
        elif scope["type"] == "websocket":
            await refuse(scope, send, answer.status_code, bytes(answer.body), _as_pairs(answer.headers))
        else:
            await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > URL_MAX:
            return _refused(414, "url", f"the address is longer than {URL_MAX:,} bytes: POST it")
        if scope["type"] == "websocket" or not _is_api(scope):
            return None
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _refused(403, "origin", "another site's page may not ask here")
        if wait_s := self._rates.take(client_of(scope)):
            return _refused(429, "rate", "too many requests from here: wait, then ask again", wait_s)
        if (length := headers.get("content-length", "0")).isdigit() and int(length[:20]) > BODY_MAX:
            return _refused(413, "body", f"the body is longer than {BODY_MAX:,} bytes")
        return None

    async def _admission(self, token: Token, scope: Scope, receive: Receive) -> Response | None:
        """None: come in. A cookie was proven once, so wrong tokens of others at its address do not lock it out."""
        path = scope["path"]
        if path == "/login" and scope["type"] == "http":
            return await self._login(token, scope, receive)
        if path in self._open:
            body, media = self._open[path]
            return Response(body, headers={"cache-control": "no-cache"}, media_type=media)
        if token.has_cookie(scope):
            return None
        given = bearer(scope)
        if given is None:
            if scope["type"] == "websocket" or _is_api(scope) or scope["method"] != "GET":
                return _refused(401, "token", _NEEDED)
            return self._form(401)
        if wait_s := self._wrong.wait_s(client_of(scope)):
            return _refused(429, "token", _TOO_MANY_WRONG, wait_s)
        if token.is_same(given):
            return None
        self._wrong.take(client_of(scope))
        return _refused(401, "token", _WRONG)

    async def _login(self, token: Token, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            return self._form(200) if scope["method"] == "GET" else problem(405, "GET or POST /login")
        body = b""
        async for part in Request(scope, receive).stream():
            body += part
            if len(body) > LOGIN_BODY_MAX:
                return _refused(413, "body", f"the form is longer than {LOGIN_BODY_MAX:,} bytes")
        given = parse_qs(body.decode(errors="replace"), max_num_fields=8).get("token", [""])[0]
        if wait_s := self._wrong.wait_s(client_of(scope)):
            REQUESTS_REFUSED.labels("token").inc()
            return self._form(429, f"Too many wrong tokens: wait {math.ceil(wait_s)} s.", wait_s)
        if not token.is_same(given.strip()):
            self._wrong.take(client_of(scope))
            REQUESTS_REFUSED.labels("token").inc()
            return self._form(401, "This token is wrong.")
        secure = urlsplit(Headers(scope=scope).get("origin", "")).scheme == "https"
        cookie = token.cookie(scope, secure=secure)
        return Response(None, 303, {"location": "/", "set-cookie": cookie, "cache-control": "no-store"})

    def _form(self, status: int, said: str = "", wait_s: float = 0) -> Response:
        headers = _LOGIN_HEADERS | ({"retry-after": str(math.ceil(wait_s))} if wait_s else {})
        return Response(self._page.replace("<!-- said -->", said), status, headers, media_type="text/html")


def _is_api(scope: Scope) -> bool:
    path = str(scope["path"])
    return path == "/metrics" or path == "/api" or path.startswith("/api/")


def _refused(status: int, why: str, what: str, wait_s: float = 0) -> Response:
    REQUESTS_REFUSED.labels(why).inc()
    headers = {"retry-after": str(math.ceil(wait_s))} if wait_s else {}
    return problem(status, what, headers | ({"www-authenticate": "Bearer"} if status == 401 else {}))


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """`receive` that ends a body beyond BODY_MAX: not every body says before how long it is."""
    if scope["type"] != "http":
        return receive
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_MAX:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {BODY_MAX:,} bytes")
        return message

    return bounded


def _as_pairs(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
