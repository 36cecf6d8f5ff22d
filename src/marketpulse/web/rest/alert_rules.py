"""/api/alerts: rules read, checked, tried and changed, and the alerts that are stored.

    GET    /api/alerts/feed               stored alerts, from the newest back
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

import asyncio
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import (
    ChangedMeanwhile,
    EnvironmentProblem,
    MarketPulseError,
    ParameterError,
    QueryCancelled,
    QueryLimit,
    Retryable,
)
from marketpulse.ports import AlertDesk, AlertTrial, PastAlerts
from marketpulse.telemetry import ALERT_REQUESTS
from marketpulse.web.alerts_feed import alert_rows

BODY_MAX = 300_000  # bytes: a rule with 10,000 symbols fits
AT_ONCE, WAITING = 4, 32
TRIALS_WAITING = 4
PAGE_MAX = 500
NAMES_MAX = 100
_MS = 1_000_000
_TIME_MAX_MS = 2**63 // _MS - 1
_VERSION = re.compile(r'"([0-9a-f]{16})"')
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
T = TypeVar("T")


class _Busy(Exception):
    """Too much waits already."""


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
        self._quick = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="alerts")
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="alert-trial")
        self._waiting = 0
        self._trials: dict[str, _Trial] = {}

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/alerts")
        for path, answer, method in (
            ("/feed", self.feed, "GET"),
            ("/rules", self.rules, "GET"),
            ("/rules/{name}", self.put, "PUT"),
            ("/rules/{name}/mute", self.mute, "POST"),
            ("/rules/{name}", self.remove, "DELETE"),
            ("/language", self.language, "GET"),
            ("/check", self.check, "POST"),
            ("/try", self.attempt, "POST"),
            ("/try/{id}", self.progress, "GET"),
            ("/try/{id}", self.stop, "DELETE"),
        ):
            router.add_api_route(path, answer, methods=[method], response_class=Response)
        return router

    async def feed(self, request: Request) -> Response:
        async def ask() -> dict[str, Any]:
            wanted = _past(request)
            cancelled = threading.Event()
            rows = [row for _, row in alert_rows(await self._ran(lambda desk: desk.past(wanted, cancelled)))]
            last = rows[-1] if len(rows) == wanted.limit else None
            return {"rows": rows, "before": None if last is None else [last[2], last[0], last[1]]}

        return await self._answered(request, ask)

    async def rules(self, request: Request) -> Response:
        return await self._answered(request, lambda: self._ran(lambda desk: desk.rules()))

    async def language(self, request: Request) -> Response:
        return await self._answered(request, lambda: self._ran(lambda desk: desk.language()))

    async def check(self, request: Request) -> Response:
        async def ask() -> Any:
            fields = _rule(await _body(request))
            return await self._ran(lambda desk: desk.check(fields))

        return await self._answered(request, ask)

    async def put(self, request: Request) -> Response:
        async def ask() -> Any:
            fields = {**_rule(await _body(request)), "name": request.path_params["name"]}
            version = _version(request, new=True)
            return await self._ran(lambda desk: desk.put(fields, version))

        return await self._answered(request, ask, writes=True)

    async def mute(self, request: Request) -> Response:
        async def ask() -> Any:
            muted = (await _body(request)).get("muted")
            if not isinstance(muted, bool):
                raise ParameterError('send {"muted": true} or {"muted": false}')
            name, version = request.path_params["name"], _version(request)
            return await self._ran(lambda desk: desk.mute(name, muted, version))

        return await self._answered(request, ask, writes=True)

    async def remove(self, request: Request) -> Response:
        async def ask() -> Any:
            name, version = request.path_params["name"], _version(request)
            return await self._ran(lambda desk: desk.remove(name, version))

        return await self._answered(request, ask, writes=True)

    async def attempt(self, request: Request) -> Response:
        async def ask() -> Any:
            body = await _body(request)
            trial, name = _trial(body), body.get("id", uuid.uuid4().hex)
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise ParameterError("id has 1 to 64 letters, digits, _ and -")
            if name in self._trials:
                raise ParameterError(f"a trial of the id {name} runs already: choose another")
            if len(self._trials) > TRIALS_WAITING:
                raise _Busy
            one = self._trials[name] = _Trial()
            gone = asyncio.create_task(_gone(request))
            gone.add_done_callback(lambda task: None if task.cancelled() else one.cancelled.set())
            try:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(
                    self._slow, lambda: self._open().attempt(trial, one.cancelled, one.progress)
                )
            except asyncio.CancelledError:
                one.cancelled.set()
                raise QueryCancelled("the trial was stopped") from None
            finally:
                gone.cancel()
                del self._trials[name]
            return {"id": name, **found}

        return await self._answered(request, ask)

    async def progress(self, request: Request) -> Response:
        one = self._trials.get(request.path_params["id"])
        return _json(
            {"running": False} if one is None else {"running": True, "done": one.done, "total": one.total}
        )

    async def stop(self, request: Request) -> Response:
        if (refusal := _from_elsewhere(request)) is not None:
            return refusal
        if (one := self._trials.get(request.path_params["id"])) is None:
            return _json({"error": "no trial of this id runs: it has ended, or was never begun"}, 404)
        one.cancelled.set()
        return _json({"stopped": request.path_params["id"]})

    def close(self) -> None:
        """Stop every trial. To be called from any thread."""
        for one in list(self._trials.values()):
            one.cancelled.set()
        for pool in (self._slow, self._quick):
            pool.shutdown(wait=True, cancel_futures=True)
        if self._desk is not None:
            self._desk.close()

    async def _ran(self, work: Callable[[AlertDesk], T]) -> T:
        if self._waiting >= AT_ONCE + WAITING:
            raise _Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._quick, lambda: work(self._open()))
        finally:
            self._waiting -= 1

    async def _answered(self, request: Request, ask: Callable[[], Any], *, writes: bool = False) -> Response:
        if (
            refusal := _from_elsewhere(request) or (_without_origin(request) if writes else None)
        ) is not None:
            return refusal
        kind = "change" if writes else request.url.path.split("/")[3]
        try:
            found = await ask()
        except _Busy:
            ALERT_REQUESTS.labels(kind, "busy").inc()
            return _json(
                {"error": "too many questions at once: try again in a second"}, 429, {"retry-after": "1"}
            )
        except MarketPulseError as error:
            status, end = _status(error)
            ALERT_REQUESTS.labels(kind, end).inc()
            return _json(
                {"error": str(error), "kind": end}, status, {"retry-after": "1"} if status == 503 else None
            )
        ALERT_REQUESTS.labels(kind, "answered").inc()
        return _json(found)

    def _open(self) -> AlertDesk:
        with self._opening:
            if self._desk is None:
                self._desk = self._open_desk()
            return self._desk


class _TooLarge(ParameterError):
    """The body is too long."""


class _NoCondition(ParameterError):
    """A change without the version that it is a change of."""


def _status(error: MarketPulseError) -> tuple[int, str]:
    for kind, status, end in (
        (_TooLarge, 413, "refused"), (_NoCondition, 428, "refused"), (ChangedMeanwhile, 412, "changed"),
        (QueryCancelled, 409, "cancelled"), (QueryLimit, 422, "limit"), (ParameterError, 400, "refused"),
        (Retryable, 503, "away"), (EnvironmentProblem, 503, "away"),
    ):  # fmt: skip
        if isinstance(error, kind):
            return status, end
    return 500, "failed"


def _from_elsewhere(request: Request) -> Response | None:
    """A page of another site may make a browser ask here; it must not make this machine work."""
    if request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return None
    return _json({"error": "another site's page may not ask here"}, 403)


def _without_origin(request: Request) -> Response | None:
    """The guard has let in no Origin but our own; here there must be one."""
    if "origin" in request.headers:
        return None
    said = "changes are taken from the page alone: send its address as Origin, or use `marketpulse alerts`"
    return _json({"error": said}, 403)


def _version(request: Request, *, new: bool = False) -> str:
    """Of the rule that is to be changed; empty: there must be none."""
    if new and request.headers.get("if-none-match") == "*":
        return ""
    match = _VERSION.fullmatch(request.headers.get("if-match", ""))
    if match is None:
        also = ", or If-None-Match: * for a new rule" if new else ""
        raise _NoCondition(
            f'say which version is changed: If-Match: "…", as /api/alerts/rules gives it{also}'
        )
    return match[1]


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ParameterError("send a JSON object, as content-type application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise _TooLarge(f"the body is longer than {BODY_MAX:,} bytes")
    try:
        found = orjson.loads(body)
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
    if (
        not isinstance(symbols, list)
        or len(symbols) > NAMES_MAX
        or not all(isinstance(s, str) for s in symbols)
    ):
        raise ParameterError(f"symbols is a list of at most {NAMES_MAX} names")
    return AlertTrial(_rule(body), _time_ns(body, "from_ms"), _time_ns(body, "to_ms"), tuple(symbols))


def _time_ns(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _TIME_MAX_MS:
        raise ParameterError(f"{name} is a time in milliseconds since 1970")
    return round(value * _MS)


def _past(request: Request) -> PastAlerts:
    asked = request.query_params
    limit = asked.get("limit", "100")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:6]) <= PAGE_MAX:
        raise ParameterError(f"limit must be a whole number from 1 to {PAGE_MAX}")
    before = None
    if (text := asked.get("before")) is not None:
        try:
            time, symbol, rule = orjson.loads(text)
            before = int(time), str(symbol), str(rule)
        except (ValueError, TypeError):
            raise ParameterError("before is the `before` of the last answer, as JSON") from None
        if not -(2**63) <= before[0] < 2**63:
            raise ParameterError("before begins with a time in nanoseconds")
    chosen = [asked.getlist(name) for name in ("state", "severity", "symbol", "rule")]
    if any(len(names) > NAMES_MAX for names in chosen):
        raise ParameterError(f"at most {NAMES_MAX} of each: state, severity, symbol, rule")
    return PastAlerts(int(limit[:6]), before, *map(tuple, chosen))


async def _gone(request: Request) -> None:
    """Returns when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    every = {"cache-control": "no-store", **(headers or {})}
    return Response(orjson.dumps(value), status, every, media_type="application/json")
