"""Everything that goes wrong in a route is told in one shape."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException

from marketpulse.errors import (
    ChangedMeanwhile,
    EnvironmentProblem,
    Fatal,
    MarketPulseError,
    ParameterError,
    QueryCancelled,
    QueryLimit,
    QueryRefused,
    Retryable,
)
from marketpulse.ports import SqlMistake
from marketpulse.telemetry import REGISTRY
from marketpulse.web.problems import BodyTooLong, Unconditional, tell_problems, told
from marketpulse.web.turns import Busy


def answered(error: Exception | None, path: str = "/x", method: str = "GET") -> httpx.Response:
    app = FastAPI()
    tell_problems(app)

    @app.get("/x")
    async def raises(limit: int = Query(5, ge=1)) -> Any:
        if error is not None:
            raise error

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ParameterError("say what"), 400), (BodyTooLong("say what"), 413), (Unconditional("say what"), 428),
        (QueryRefused("say what"), 400), (QueryLimit("say what"), 422), (QueryCancelled("say what"), 409),
        (ChangedMeanwhile("say what"), 412), (Busy("say what"), 429), (Retryable("say what"), 503),
        (EnvironmentProblem("say what"), 503), (Fatal("say what"), 500),
    ],
)  # fmt: skip
def test_an_error_of_ours_says_what_to_do(error: MarketPulseError, status: int) -> None:
    answer = answered(error)
    assert (answer.status_code, answer.json(), answer.headers["cache-control"]) == (
        status,
        {"error": "say what", "kind": told(error)[1]},
        "no-store",
    )
    assert ("retry-after" in answer.headers) == (status in (429, 503))


def test_a_mistake_in_sql_is_told_with_its_place() -> None:
    error = QueryRefused("there is no column x")
    error.mistake = SqlMistake("no column x", 2, 7)
    assert answered(error).json() == {
        "error": "there is no column x", "kind": "refused", "line": 2, "column": 7,
    }  # fmt: skip


def test_a_mistake_of_ours_tells_nothing_of_itself() -> None:
    before = REGISTRY.get_sample_value("marketpulse_api_errors_total", {"status": "500"}) or 0
    answer = answered(ZeroDivisionError("a secret in an argument"))
    assert (answer.status_code, "see the log" in answer.json()["error"]) == (500, True)
    assert "secret" not in answer.text
    assert REGISTRY.get_sample_value("marketpulse_api_errors_total", {"status": "500"}) == before + 1


def test_parameters_unknown_places_and_methods_alike() -> None:
    assert answered(None, "/x?limit=0").json() == {
        "error": "limit: Input should be greater than or equal to 1",
        "kind": "refused",
    }
    assert answered(None, "/y").status_code == 404
    wrong = answered(None, "/x", "PUT")
    assert (wrong.status_code, wrong.headers["allow"], list(json.loads(wrong.content))) == (
        405,
        "GET",
        ["error", "kind"],
    )
    teapot = answered(HTTPException(418, "short and stout"))
    assert teapot.json() == {"error": "short and stout", "kind": "refused"}
