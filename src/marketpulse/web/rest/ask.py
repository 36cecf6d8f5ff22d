"""What helps to ask /api/sql: the tables, the limits, and how a query was run.

    GET /api/sql/schema       every table with its columns, and what `[sql]` allows
    POST /api/sql/explain     runs a query and tells what it read; hanging up stops it

One explanation runs at a time and one waits, beside the queries, in a thread of their own.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Literal, TypeVar

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import (
    MarketPulseError,
    ParameterError,
    QueryCancelled,
    QueryLimit,
    QueryRefused,
    Retryable,
)
from marketpulse.ports import SqlGuide, SqlMistake, SqlQuestion
from marketpulse.settings import SqlSettings
from marketpulse.telemetry import SQL_QUERIES

T = TypeVar("T")
BODY_MAX = 250_000  # bytes
_AT_ONCE = 2  # of which one waits


class Asked(BaseModel):
    """One query: its text, or a query of the library with its parameters."""

    model_config = ConfigDict(extra="forbid")

    sql: str = ""
    named: str | None = None
    params: dict[str, str | int | float] = Field(default_factory=dict)
    dialect: Literal["auto", "duckdb", "athena"] = "auto"


class AskApi:
    """The routes. The guide is opened with the first question."""

    def __init__(self, open_guide: Callable[[], SqlGuide], limits: SqlSettings) -> None:
        self._open_guide = open_guide
        self._limits = limits
        self._guide: SqlGuide | None = None
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ask-plan")
        self._tables_pool = ThreadPoolExecutor(1, thread_name_prefix="ask-tables")
        self._running: set[threading.Event] = set()

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/sql", tags=["sql"])
        router.add_api_route("/schema", self.schema, methods=["GET"], response_class=Response)
        body = {"content": {"application/json": {"schema": Asked.model_json_schema()}}, "required": True}
        router.add_api_route(
            "/explain", self.explain, methods=["POST"], response_class=Response, openapi_extra={"requestBody": body}
        )  # fmt: skip
        return router

    async def schema(self, request: Request) -> Response:
        """Every table with its columns, and what the settings allow."""
        names = ("timeout_s", "memory_limit_mb", "rows_max", "at_once", "waiting")
        try:
            _check_site(request)
            tables = await asyncio.get_running_loop().run_in_executor(
                self._tables_pool, lambda: self._opened().tables()
            )
        except MarketPulseError as error:
            return _refused(error)
        return _json({
            "tables": [
                {"name": t.name, "meaning": t.meaning, "columns": [{"name": n, "type": kind} for n, kind in t.columns]}
                for t in tables
            ],
            "limits": {name: getattr(self._limits, name) for name in names},
        })  # fmt: skip

    async def explain(self, request: Request) -> Response:
        """Run a query; what it read, of how much, and DuckDB's plan."""
        try:
            _check_site(request)
            question = _question(await _body(request))
            if len(self._running) >= _AT_ONCE:
                SQL_QUERIES.labels("busy").inc()
                said = "another query is being explained and one waits: try again"
                return _json({"error": said, "kind": "busy"}, 429, {"retry-after": "1"})
            plan = await self._until_gone(request, lambda stop: self._opened().plan(question, stop))
        except MarketPulseError as error:
            return _refused(error)
        SQL_QUERIES.labels("explained").inc()
        return _json({
            "sql": plan.sql, "dialect": plan.dialect, "scans": [asdict(scan) for scan in plan.scans], "plan": plan.plan,
        })  # fmt: skip

    def close(self) -> None:
        """Stop what runs. To be called from any thread."""
        for cancelled in list(self._running):
            cancelled.set()
        for pool in (self._pool, self._tables_pool):
            pool.shutdown(wait=True, cancel_futures=True)
        if self._guide is not None:
            self._guide.close()

    async def _until_gone(self, request: Request, work: Callable[[threading.Event], T]) -> T:
        """What `work` gives; it is told to stop when nobody waits for it any more."""
        cancelled = threading.Event()
        self._running.add(cancelled)
        gone = asyncio.create_task(_gone(request))
        running = asyncio.get_running_loop().run_in_executor(self._pool, work, cancelled)
        either: set[asyncio.Future[Any]] = {running, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                cancelled.set()
            return await running
        except asyncio.CancelledError:
            raise QueryCancelled("the query was cancelled") from None
        finally:
            cancelled.set()
            gone.cancel()
            self._running.discard(cancelled)

    def _opened(self) -> SqlGuide:
        with self._opening:
            if self._guide is None:
                self._guide = self._open_guide()
            return self._guide


class _FromElsewhere(ParameterError):
    """A page of another site may make a browser ask here; it must not make this machine work."""


def _check_site(request: Request) -> None:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise _FromElsewhere("another site's page may not ask here")


async def _gone(request: Request) -> None:
    """Returns when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise ParameterError(f"the body is longer than {BODY_MAX:,} bytes")
    return body


def _question(body: bytes) -> SqlQuestion:
    try:
        asked = Asked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ParameterError(
            f'the body is a JSON object such as {{"sql": "SELECT 1"}}: {place[:80]}{": " if place else ""}{first["msg"]}'
        ) from None
    if bool(asked.sql.strip()) == (asked.named is not None):
        raise ParameterError(
            'give one query: {"sql": "SELECT …"}, or {"named": "gainers", "params": {"days": 5}}'
        )
    values = {name: str(value) for name, value in asked.params.items()}
    return SqlQuestion(asked.sql, asked.named, values, asked.dialect)


def _refused(error: MarketPulseError) -> Response:
    status, end = _status(error)
    SQL_QUERIES.labels(end).inc()
    body: dict[str, Any] = {"error": str(error), "kind": end}
    mistake = getattr(error, "mistake", None)
    if isinstance(mistake, SqlMistake):
        body |= {"line": mistake.line, "column": mistake.column}
    return _json(body, status, {"retry-after": "1"} if status == 503 else {})


def _status(error: MarketPulseError) -> tuple[int, str]:
    if isinstance(error, _FromElsewhere):
        return 403, "refused"
    if isinstance(error, QueryLimit):
        return 422, "limit"
    if isinstance(error, QueryRefused | ParameterError):
        return 400, "refused"
    if isinstance(error, QueryCancelled):
        return 409, "cancelled"
    return (503, "away") if isinstance(error, Retryable) else (500, "failed")


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    every = {"cache-control": "no-store", **(headers or {})}
    return Response(orjson.dumps(value), status, every, media_type="application/json")
