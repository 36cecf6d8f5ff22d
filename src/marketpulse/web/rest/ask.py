"""What helps to ask /api/sql: the tables, the limits, and how a query was run.

    GET /api/sql/schema       every table with its columns, and what `[sql]` allows
    POST /api/sql/explain     runs a query and tells what it read; hanging up stops it

One explanation runs at a time and one waits, beside the queries.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import MarketPulseError, ParameterError
from marketpulse.ports import SqlGuide, SqlQuestion
from marketpulse.settings import SqlSettings
from marketpulse.telemetry import SQL_QUERIES
from marketpulse.web.problems import problem_of, told
from marketpulse.web.rest.answers import tell_fresh
from marketpulse.web.turns import Turns

BODY_MAX = 250_000  # bytes


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
        self._plans = Turns("queries to explain", 1, 1)
        self._tables = Turns("questions about tables", 1, 32)

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
            tables = await self._tables.take(request, lambda _: self._opened().tables())
        except MarketPulseError as error:
            return _refused(error)
        return tell_fresh({
            "tables": [
                {"name": t.name, "meaning": t.meaning, "columns": [{"name": n, "type": kind} for n, kind in t.columns]}
                for t in tables
            ],
            "limits": {name: getattr(self._limits, name) for name in names},
        })  # fmt: skip

    async def explain(self, request: Request) -> Response:
        """Run a query; what it read, of how much, and DuckDB's plan."""
        try:
            question = _question(await _body(request))
            plan = await self._plans.take(request, lambda stop: self._opened().plan(question, stop))
        except MarketPulseError as error:
            return _refused(error)
        SQL_QUERIES.labels("explained").inc()
        return tell_fresh({
            "sql": plan.sql, "dialect": plan.dialect, "scans": [asdict(scan) for scan in plan.scans], "plan": plan.plan,
        })  # fmt: skip

    def close(self) -> None:
        """Stop what runs. To be called from any thread."""
        self._plans.close()
        self._tables.close()
        if self._guide is not None:
            self._guide.close()

    def _opened(self) -> SqlGuide:
        with self._opening:
            if self._guide is None:
                self._guide = self._open_guide()
            return self._guide


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
        raise ParameterError('give one query: {"sql": "SELECT …"}, or {"named": "gainers", "params": {"days": 5}}')
    values = {name: str(value) for name, value in asked.params.items()}
    return SqlQuestion(asked.sql, asked.named, values, asked.dialect)


def _refused(error: MarketPulseError) -> Response:
    SQL_QUERIES.labels(told(error)[1]).inc()
    return problem_of(error)
