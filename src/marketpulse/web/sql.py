"""/api/sql: one query in, its rows out.

    GET, POST /api/sql      the query; its rows as JSON, CSV, Arrow or Parquet
    DELETE /api/sql/{id}    stops it, as does a client that goes away
    GET /api/sql/named      the library
    GET /api/sql/running    what runs and waits

So many run at once, so many wait (`[sql]`), and more are told to come again (sql_runs.py).
"""

import time
import uuid
from functools import partial
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import ParameterError
from marketpulse.ports import SqlCall, SqlHead
from marketpulse.web.problems import problem
from marketpulse.web.rest.answers import tell_fresh
from marketpulse.web.sql_described import (
    DESCRIBED_NAMED,
    DESCRIBED_RUNNING,
    DESCRIBED_STOP,
    described_get,
    described_post,
)
from marketpulse.web.sql_request import MEDIA, Wish, read_wish
from marketpulse.web.sql_runs import SqlRuns, Start, refused


class SqlApi:
    """The routes."""

    def __init__(self, runs: SqlRuns) -> None:
        self._runs = runs

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/sql", tags=["sql"])
        rows_max = self._runs.limits.rows_max
        for path, method, answer, about in (
            ("/named", "GET", self.named, DESCRIBED_NAMED),
            ("/running", "GET", self.running, DESCRIBED_RUNNING),
            ("/{id}", "DELETE", self.stop, DESCRIBED_STOP),
            ("", "GET", self.ask, described_get(rows_max)),
            ("", "POST", self.post, described_post(rows_max)),
        ):
            router.add_api_route(path, answer, methods=[method], response_class=Response, **about)
        return router

    async def named(self) -> Response:
        """The library of named queries, with their parameters."""
        return await self._runs.own(SqlCall("library"))

    async def running(self) -> Response:
        """The queries that run, and those that wait for their turn."""
        queries = [
            {
                "id": name, "sql": run.call.question.sql, "named": run.call.question.named,
                "state": "running" if run.started else "waiting", "since_ms": round(run.since * 1_000),
            }
            for name, run in self._runs.running.items()
        ]  # fmt: skip
        return tell_fresh({"queries": queries})

    async def stop(self, request: Request) -> Response:
        """Stop a query; it is then answered with 409."""
        run = self._runs.running.get(request.path_params["id"])
        if run is None:
            return problem(404, "no query of this id runs: see /api/sql/running")
        run.stopped.set()
        return tell_fresh({"stopped": run.call.id})

    async def post(self, request: Request) -> Response:
        """The rows of one SELECT over what is stored; the query is the body, or a member of it."""
        return await self.ask(request)

    async def ask(self, request: Request) -> Response:
        """The rows of one SELECT over what is stored, or of a named query."""
        begun = time.monotonic()
        try:
            wish = await read_wish(request, self._runs.limits.rows_max)
        except ParameterError as error:
            return refused(error)
        cached = request.headers.get("if-none-match", "")
        call = SqlCall("rows", wish.question, wish.form, cached, wish.id or uuid.uuid4().hex, begun)
        return await self._runs.answer(request, call, "answered", partial(_start, request, wish, call.id))


def _start(request: Request, wish: Wish, name: str, head: SqlHead) -> Start:
    headers = {"cache-control": "no-store" if head.etag is None else "private, no-cache", "x-query-id": name}
    headers |= {"vary": "accept"}
    if head.etag is not None:
        headers["etag"] = head.etag
    if head.is_cached:
        return 304, headers, None
    headers |= {"x-row-count": str(head.rows), "x-more-rows": str(head.more).lower()}
    if head.more and request.method == "GET":
        following = {**request.query_params, "offset": wish.question.skip + (wish.question.limit or 0)}
        headers["link"] = f'<{request.url.path}?{urlencode(following)}>; rel="next"'
    return 200, headers, MEDIA[wish.form]
