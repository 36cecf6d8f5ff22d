"""/api/alerts: rules read, checked, tried and changed.

    GET    /api/alerts/rules              the rules that run, and how far the engine has taken each change
    PUT    /api/alerts/rules/{name}       a rule, with If-Match: "version", or If-None-Match: * for a new one
    POST   /api/alerts/rules/{name}/mute  {"muted": true}, with If-Match
    DELETE /api/alerts/rules/{name}       with If-Match
    GET    /api/alerts/language           what a rule may be written with
    POST   /api/alerts/check              the faults of a rule, each at its place
    POST   /api/alerts/try                what a rule would have told; GET …/{id} how far it is, DELETE …/{id} stops it

All of it runs in threads: calls that are quick in some, trials in one of their own, and more than wait are told to
come again. What changes a rule is only taken from this page itself: with its Origin.
"""

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import MarketPulseError, ParameterError
from marketpulse.foreign_json import parse_json
from marketpulse.ports import AlertDesk, AlertTrial
from marketpulse.telemetry import ALERT_REQUESTS
from marketpulse.web.problems import BodyTooLong, Unconditional, described, problem, problem_of, told
from marketpulse.web.rest.answers import tell_fresh
from marketpulse.web.turns import Turns

BODY_MAX = 300_000  # bytes: a rule with 10,000 symbols fits
AT_ONCE, WAITING = 4, 32
TRIALS_WAITING = 4
NAMES_MAX = 100
_MS = 1_000_000
_TIME_MAX_MS = 2**63 // _MS - 1
_VERSION = re.compile(r'"([0-9a-f]{16})"')
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
T = TypeVar("T")

_TEXT = {"type": "string"}
RULE_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("name", "expression", "timeframe", "message", "clear"), _TEXT),
    "severity": {"type": "string", "enum": ["info", "warning", "critical"]},
    **{key: {"type": "number", "minimum": 0} for key in ("for_s", "cooldown_s")},
    "symbols": {"type": "array", "items": _TEXT},
    "muted": {"type": "boolean"},
}
_RULE: dict[str, Any] = {
    "type": "object",
    "required": ["rule"],
    "properties": {
        "rule": {
            "type": "object", "required": ["expression"], "properties": RULE_FIELDS, "additionalProperties": False,
        },
    },
}  # fmt: skip
_TIMES = {name: {"type": "number", "minimum": 0, "maximum": _TIME_MAX_MS} for name in ("from_ms", "to_ms")}
_TRIAL: dict[str, Any] = {
    "type": "object",
    "required": ["rule", *_TIMES],
    "properties": {
        **_RULE["properties"], **_TIMES, "id": {"type": "string", "pattern": f"^{_ID.pattern}$"},
        "symbols": {"type": "array", "maxItems": NAMES_MAX, "items": _TEXT},
    },
}  # fmt: skip
_MUTE = {"type": "object", "required": ["muted"], "properties": {"muted": {"type": "boolean"}}}


@dataclass(slots=True)
class _Trial:
    done: int = 0
    total: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total


class AlertRulesApi:
    """The routes, and the threads behind them. The desk is opened with the first question."""

    def __init__(self, open_desk: Callable[[], AlertDesk]) -> None:
        self._open_desk = open_desk
        self._desk: AlertDesk | None = None
        self._opening = threading.Lock()
        self._quick = Turns("questions about alerts", AT_ONCE, WAITING)
        self._slow = Turns("trials of rules", 1, TRIALS_WAITING)
        self._trials: dict[str, _Trial] = {}

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/alerts")
        for path, answer, method, statuses, body in (
            ("/rules", self.rules, "GET", (503,), None),
            ("/rules/{name}", self.put, "PUT", (412, 413, 422, 428, 503), _RULE),
            ("/rules/{name}/mute", self.mute, "POST", (404, 412, 413, 428, 503), _MUTE),
            ("/rules/{name}", self.remove, "DELETE", (404, 412, 428, 503), None),
            ("/language", self.language, "GET", (503,), None),
            ("/check", self.check, "POST", (413,), _RULE),
            ("/try", self.attempt, "POST", (413, 422, 503), _TRIAL),
            ("/try/{id}", self.progress, "GET", (), None),
            ("/try/{id}", self.stop, "DELETE", (404,), None),
        ):
            router.add_api_route(
                path, answer, methods=[method], response_class=Response, responses=described(*statuses),
                openapi_extra=_asked(path, body, versioned=428 in statuses),
            )  # fmt: skip
        return router

    async def rules(self, request: Request) -> Response:
        return await self._answered(request, lambda: self._ran(request, lambda desk: desk.rules()))

    async def language(self, request: Request) -> Response:
        return await self._answered(request, lambda: self._ran(request, lambda desk: desk.language()))

    async def check(self, request: Request) -> Response:
        async def ask() -> Any:
            fields = _rule(await _body(request))
            return await self._ran(request, lambda desk: desk.check(fields))

        return await self._answered(request, ask)

    async def put(self, request: Request) -> Response:
        async def ask() -> Any:
            name, fields = request.path_params["name"], _rule(await _body(request))
            if fields.setdefault("name", name) != name:
                raise ParameterError(
                    f"the body's rule is named {fields['name']!r}, the address {name!r}: write one name"
                )
            version = _version(request, new=True)
            return await self._ran(request, lambda desk: desk.put(fields, version))

        return await self._answered(request, ask, writes=True)

    async def mute(self, request: Request) -> Response:
        async def ask() -> Any:
            muted = (await _body(request)).get("muted")
            if not isinstance(muted, bool):
                raise ParameterError('send {"muted": true} or {"muted": false}')
            name, version = request.path_params["name"], _version(request)
            return await self._ran(request, lambda desk: desk.mute(name, muted, version))

        return await self._answered(request, ask, writes=True)

    async def remove(self, request: Request) -> Response:
        async def ask() -> Any:
            name, version = request.path_params["name"], _version(request)
            return await self._ran(request, lambda desk: desk.remove(name, version))

        return await self._answered(request, ask, writes=True)

    async def attempt(self, request: Request) -> Response:
        async def ask() -> Any:
            body = await _body(request)
            trial, name = _trial(body), body.get("id", uuid.uuid4().hex)
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise ParameterError("id has 1 to 64 letters, digits, _ and -")
            if name in self._trials:
                raise ParameterError(f"a trial of the id {name} runs already: choose another")
            one = self._trials[name] = _Trial()

            try:
                found = await self._slow.take(
                    request, lambda stop: self._open().attempt(trial, stop, one.progress), one.cancelled
                )
            finally:
                del self._trials[name]
            return {"id": name, **found}

        return await self._answered(request, ask)

    async def progress(self, request: Request) -> Response:
        one = self._trials.get(request.path_params["id"])
        return tell_fresh(
            {"running": False} if one is None else {"running": True, "done": one.done, "total": one.total}
        )

    async def stop(self, request: Request) -> Response:
        if (one := self._trials.get(request.path_params["id"])) is None:
            return problem(404, "no trial of this id runs: it has ended, or was never begun")
        one.cancelled.set()
        return tell_fresh({"stopped": request.path_params["id"]})

    def close(self) -> None:
        """Stop every trial. To be called from any thread."""
        self._slow.close()
        self._quick.close()
        if self._desk is not None:
            self._desk.close()

    async def _ran(self, request: Request, work: Callable[[AlertDesk], T]) -> T:
        return await self._quick.take(request, lambda _: work(self._open()))

    async def _answered(self, request: Request, ask: Callable[[], Any], *, writes: bool = False) -> Response:
        if writes and (refusal := _without_origin(request)) is not None:
            return refusal
        kind = "change" if writes else request.url.path.split("/")[3]
        try:
            found = await ask()
        except MarketPulseError as error:
            ALERT_REQUESTS.labels(kind, told(error)[1]).inc()
            return problem_of(error)
        ALERT_REQUESTS.labels(kind, "answered").inc()
        return tell_fresh(found)

    def _open(self) -> AlertDesk:
        with self._opening:
            if self._desk is None:
                self._desk = self._open_desk()
            return self._desk


def _asked(path: str, body: dict[str, Any] | None, *, versioned: bool) -> dict[str, Any]:
    """The description of what a route takes: the names in its path, its versions and its body."""
    given = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in re.findall(r"\{(\w+)\}", path)]
    if versioned:
        about = 'the version that is changed, as /api/alerts/rules gives it: "0123456789abcdef"'
        given.append({"name": "If-Match", "in": "header", "required": False, "schema": _TEXT, "description": about})
        if body is _RULE:
            about = "* for a new rule, in place of If-Match"
            given.append(
                {"name": "If-None-Match", "in": "header", "required": False, "schema": _TEXT, "description": about}
            )
    content = {"application/json": {"schema": body}}
    return {"parameters": given} | ({"requestBody": {"required": True, "content": content}} if body else {})


def _without_origin(request: Request) -> Response | None:
    """The guard has let in no Origin but our own; here there must be one."""
    if "origin" in request.headers:
        return None
    said = "changes are taken from the page alone: send its address as Origin, or use `marketpulse alerts`"
    return problem(403, said)


def _version(request: Request, *, new: bool = False) -> str:
    """Of the rule that is to be changed; empty: there must be none."""
    if new and request.headers.get("if-none-match") == "*":
        return ""
    match = _VERSION.fullmatch(request.headers.get("if-match", ""))
    if match is None:
        also = ", or If-None-Match: * for a new rule" if new else ""
        raise Unconditional(f'say which version is changed: If-Match: "…", as /api/alerts/rules gives it{also}')
    return match[1]


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ParameterError("send a JSON object, as content-type application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise BodyTooLong(f"the body is longer than {BODY_MAX:,} bytes")
    try:
        found = parse_json(body)
    except orjson.JSONDecodeError as error:
        raise ParameterError(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ParameterError(
            'the body is a JSON object such as {"rule": {"name": "high", "expression": "close > 100"}}'
        )
    return found


def _rule(body: dict[str, Any]) -> dict[str, Any]:
    fields = body.get("rule")
    if not isinstance(fields, dict):
        raise ParameterError('say which rule: {"rule": {"name": "high", "expression": "close > 100"}}')
    return fields


def _trial(body: dict[str, Any]) -> AlertTrial:
    symbols = body.get("symbols", [])
    if not isinstance(symbols, list) or len(symbols) > NAMES_MAX or not all(isinstance(s, str) for s in symbols):
        raise ParameterError(f"symbols is a list of at most {NAMES_MAX} names")
    return AlertTrial(_rule(body), _time_ns(body, "from_ms"), _time_ns(body, "to_ms"), tuple(symbols))


def _time_ns(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _TIME_MAX_MS:
        raise ParameterError(f"{name} is a time in milliseconds since 1970")
    return round(value * _MS)
