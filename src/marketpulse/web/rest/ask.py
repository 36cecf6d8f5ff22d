"""What helps to ask /api/sql: the tables, the limits, and how a query was run.

    GET /api/sql/schema       every table with its columns, and what `[sql]` allows
    POST /api/sql/explain     runs a query and tells what it read; hanging up stops it

An explanation takes its turn among the queries.
"""

import time
import uuid
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import MarketPulseError, ParameterError
from marketpulse.ports import SqlCall, SqlQuestion
from marketpulse.web.forms import MEDIA
from marketpulse.web.sql_runs import SqlRuns, Start, refused

BODY_MAX = 250_000  # bytes


class Asked(BaseModel):
    """One query: its text, or a query of the library with its parameters."""

    model_config = ConfigDict(extra="forbid")

    sql: str = ""
    named: str | None = None
    params: dict[str, str | int | float] = Field(default_factory=dict)
    dialect: Literal["auto", "duckdb", "athena"] = "auto"


class AskApi:
    """The routes."""

    def __init__(self, runs: SqlRuns) -> None:
        self._runs = runs

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/sql", tags=["sql"])
        router.add_api_route("/schema", self.schema, methods=["GET"], response_class=Response)
        body = {"content": {"application/json": {"schema": Asked.model_json_schema()}}, "required": True}
        router.add_api_route(
            "/explain", self.explain, methods=["POST"], response_class=Response, openapi_extra={"requestBody": body}
        )  # fmt: skip
        return router

    async def schema(self) -> Response:
        """Every table with its columns, and what the settings allow."""
        return await self._runs.own(SqlCall("schema"))

    async def explain(self, request: Request) -> Response:
        """Run a query; what it read, of how much, and DuckDB's plan."""
        try:
            call = SqlCall("plan", _question(await _body(request)), id=uuid.uuid4().hex, asked_s=time.monotonic())
        except MarketPulseError as error:
            return refused(error)
        start: Start = 200, {"cache-control": "no-store"}, MEDIA["json"]
        return await self._runs.answer(request, call, "explained", lambda _: start)


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
