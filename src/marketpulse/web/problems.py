"""Errors of the web API, in one shape: {"error": what is wrong and what to do next, "kind": …}."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import (
    ChangedMeanwhile,
    EnvironmentProblem,
    MarketPulseError,
    ParameterError,
    QueryCancelled,
    QueryLimit,
    QueryRefused,
    Retryable,
)
from marketpulse.ports import SqlMistake
from marketpulse.telemetry import API_ERRORS, get_logger
from marketpulse.web.turns import Busy

_NEXT = {
    404: "there is nothing here: the routes are in /api/openapi.json",
    405: "this method is not known here: the routes are in /api/openapi.json",
}


class Problem(BaseModel):
    """What went wrong, and what to do next."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="for people", examples=["limit: Input should be less than or equal to 10000"])
    kind: Literal["refused", "changed", "busy", "limit", "cancelled", "away", "failed"] = Field(
        "refused", description="for programs"
    )
    line: int | None = Field(None, description="of a mistake in SQL, from 1")
    column: int | None = Field(None, description="of a mistake in SQL, from 1")


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside its rows, for its description."""
    return {status: {"model": Problem, "description": _MEANING[status]} for status in statuses}


_MEANING = {
    304: "The client has this answer already (If-None-Match).",
    400: "A parameter is missing, unknown or outside its bounds.",
    401: "A token is needed, or this one is wrong: `Authorization: Bearer …`.",
    403: "Another site's page may not ask here.",
    404: "There is nothing of this name.",
    405: "The method is not known here.",
    409: "The query was cancelled, or its id is taken.",
    412: "It was changed meanwhile: read it again.",
    413: "The body is too long.",
    414: "The address is too long.",
    421: "This Host is not served here.",
    428: "Say which version is changed: If-Match.",
    422: "More time or memory is needed than the settings allow.",
    429: "Too many requests: come again after Retry-After seconds.",
    500: "A mistake of ours: see the log.",
    503: "The store is away: come again after Retry-After seconds.",
}


def problem(status: int, what: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """`more` stands beside `error` and `kind`."""
    API_ERRORS.labels(str(status)).inc()
    every = {"cache-control": "no-store", **(headers or {})}
    kind = _KIND.get(status, "refused" if status < 500 else "failed")
    body = {"error": what, "kind": kind, **more}
    return Response(orjson.dumps(body), status, every, media_type="application/json")


_KIND = {429: "busy", 503: "away"}


class BodyTooLong(ParameterError):
    """More was sent than is read."""


class Unconditional(ParameterError):
    """A change without the version that it is a change of."""


_TOLD: Sequence[tuple[type[MarketPulseError], int, str]] = (  # the first that fits
    (BodyTooLong, 413, "refused"), (Unconditional, 428, "refused"), (ChangedMeanwhile, 412, "changed"),
    (Busy, 429, "busy"), (QueryLimit, 422, "limit"), (QueryCancelled, 409, "cancelled"),
    (QueryRefused, 400, "refused"), (ParameterError, 400, "refused"), (Retryable, 503, "away"),
    (EnvironmentProblem, 503, "away"), (MarketPulseError, 500, "failed"),
)  # fmt: skip


def told(error: MarketPulseError) -> tuple[int, str]:
    """The HTTP status of what was raised on purpose, and its kind."""
    return next((status, kind) for of, status, kind in _TOLD if isinstance(error, of))


def problem_of(error: MarketPulseError, **more: Any) -> Response:
    """The answer to what was raised on purpose; where in SQL it lies is told too. `more` stands beside it."""
    status, kind = told(error)
    mistake = getattr(error, "mistake", None)
    if isinstance(mistake, SqlMistake):
        more = {"line": mistake.line, "column": mistake.column, **more}
    again = {"retry-after": "1"} if status in (429, 503) else None
    return problem(status, str(error), again, kind=kind, **more)


def tell_problems(app: FastAPI) -> None:
    """Let the application answer everything that is raised in its routes in this shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(MarketPulseError, _ours)
    app.add_exception_handler(Exception, _unforeseen)


async def unknown() -> Response:
    """Of every address below /api that is none."""
    return problem(404, _NEXT[404])


async def _invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    return problem(400, "; ".join(_sentence(fault) for fault in error.errors()[:5]))


def _sentence(fault: Mapping[str, Any]) -> str:
    """`limit: Input should be …`, without the value: it may be long, or no text."""
    place: Sequence[Any] = fault["loc"]
    name = ".".join(str(part) for part in place[1:]) or str(place[0])
    if fault["type"] == "missing":
        return f"{name[:80]} is missing: see /api/openapi.json"
    if fault["type"] == "extra_forbidden":
        return f"there is no parameter {name[:80]!r}: see /api/openapi.json"
    return f"{name[:80]}: {fault['msg']}"


async def _http(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return problem(error.status_code, _NEXT.get(error.status_code, str(error.detail)), error.headers)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, MarketPulseError)  # noqa: S101 - registered for it
    status, _ = told(error)
    if status >= 500:
        get_logger().warning("request_failed", path=request.url.path, status=status, fault=str(error))
    return problem_of(error)


async def _unforeseen(request: Request, error: Exception) -> Response:
    get_logger().error("request_failed", path=request.url.path, fault=repr(error))
    return problem(500, "this should not happen: see the log of `serve`, and report it")
