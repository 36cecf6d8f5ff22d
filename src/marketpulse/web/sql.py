"""/api/sql: one query in, its rows out. It runs in threads of its own, so that every other page stays quick.

    GET, POST /api/sql      the query; its rows as JSON, CSV, Arrow or Parquet
    DELETE /api/sql/{id}    stops it, as does a client that goes away
    GET /api/sql/named      the library
    GET /api/sql/running    what runs and waits

So many run at once, so many wait (`[sql]`), and more are told to come again.
"""

import asyncio
import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from marketpulse.errors import MarketPulseError, ParameterError, QueryCancelled
from marketpulse.ports import SqlAnswer, SqlDesk
from marketpulse.settings import SqlSettings
from marketpulse.telemetry import SQL_QUERIES, SQL_RUNNING, SQL_SECONDS
from marketpulse.web.problems import problem, problem_of, told
from marketpulse.web.rest.answers import tell_fresh
from marketpulse.web.sql_described import (
    DESCRIBED_NAMED,
    DESCRIBED_RUNNING,
    DESCRIBED_STOP,
    described_get,
    described_post,
)
from marketpulse.web.sql_request import MEDIA, Wish, read_wish
from marketpulse.web.turns import Busy, hung_up

_VOLATILE = re.compile(
    r"\b(now|today|random|rand|uuid\w*|gen_random_uuid|current_\w+|local(time\w*)?|get_current_\w+|transaction_timestamp)\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Running:
    wish: Wish
    since: float = field(default_factory=time.time)
    started: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        self.cancelled.set()
        self.stopped.set()


@dataclass(frozen=True, slots=True)
class _Found:
    """`answer` is None where the client has it already."""

    answer: SqlAnswer | None
    body: bytes
    etag: str | None


class SqlApi:
    """The routes, and the threads behind them. The desk is opened with the first question."""

    def __init__(self, open_desk: Callable[[], SqlDesk], limits: SqlSettings) -> None:
        self._open_desk = open_desk
        self._limits = limits
        self._desk: SqlDesk | None = None
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(limits.at_once, thread_name_prefix="sql")
        self._turns = asyncio.Semaphore(limits.at_once)
        self._running: dict[str, _Running] = {}

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api/sql", tags=["sql"])
        for path, method, answer, about in (
            ("/named", "GET", self.named, DESCRIBED_NAMED),
            ("/running", "GET", self.running, DESCRIBED_RUNNING),
            ("/{id}", "DELETE", self.stop, DESCRIBED_STOP),
            ("", "GET", self.ask, described_get(self._limits.rows_max)),
            ("", "POST", self.post, described_post(self._limits.rows_max)),
        ):
            router.add_api_route(path, answer, methods=[method], response_class=Response, **about)
        return router

    async def named(self) -> Response:
        """The library of named queries, with their parameters."""
        try:
            library = await asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._open().library())
        except MarketPulseError as error:
            return _refused(error)
        return tell_fresh({"queries": list(library)})

    async def running(self) -> Response:
        """The queries that run, and those that wait for their turn."""
        queries = [
            {
                "id": name, "sql": one.wish.question.sql, "named": one.wish.question.named,
                "state": "running" if one.started else "waiting", "since_ms": round(one.since * 1_000),
            }
            for name, one in self._running.items()
        ]  # fmt: skip
        return tell_fresh({"queries": queries})

    async def stop(self, request: Request) -> Response:
        """Stop a query; it is then answered with 409."""
        one = self._running.get(request.path_params["id"])
        if one is None:
            return problem(404, "no query of this id runs: see /api/sql/running")
        one.stop()
        return tell_fresh({"stopped": request.path_params["id"]})

    async def post(self, request: Request) -> Response:
        """The rows of one SELECT over what is stored; the query is the body, or a member of it."""
        return await self.ask(request)

    async def ask(self, request: Request) -> Response:
        """The rows of one SELECT over what is stored, or of a named query."""
        try:
            wish = await read_wish(request, self._limits.rows_max)
        except ParameterError as error:
            return _refused(error)
        name = wish.id or uuid.uuid4().hex
        if name in self._running:
            return problem(409, f"a query of the id {name} runs already: choose another")
        if len(self._running) >= self._limits.at_once + self._limits.waiting:
            said = f"{self._limits.at_once} queries run and {self._limits.waiting} wait: try again"
            return _refused(Busy(said))
        one = self._running[name] = _Running(wish)
        SQL_RUNNING.set(len(self._running))
        begun = time.monotonic()
        try:
            found = await self._heard(request, one)
        except MarketPulseError as error:
            return _refused(error, name)
        finally:
            del self._running[name]
            SQL_RUNNING.set(len(self._running))
            SQL_SECONDS.observe(time.monotonic() - begun)
        SQL_QUERIES.labels("answered").inc()
        return _answered(request, wish, found, name, begun)

    def close(self) -> None:
        """Stop every query. To be called from any thread."""
        for one in list(self._running.values()):
            one.cancelled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._desk is not None:
            self._desk.close()

    async def _heard(self, request: Request, one: _Running) -> _Found:
        """Waits its turn and runs, for as long as somebody wants to know. Raises what SqlDesk.answer does."""
        gone = asyncio.create_task(hung_up(request))
        stopped = asyncio.create_task(one.stopped.wait())
        work = asyncio.create_task(self._in_turn(one, request.headers.get("if-none-match")))
        try:
            await asyncio.wait({work, gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                one.stop()
                if not one.started:
                    work.cancel()
            return await work
        except asyncio.CancelledError:
            one.stop()
            raise QueryCancelled("the query was cancelled") from None
        finally:
            gone.cancel()
            stopped.cancel()

    async def _in_turn(self, one: _Running, known: str | None) -> _Found:
        async with self._turns:
            one.started = True
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._found, one, known)

    def _found(self, one: _Running, known: str | None) -> _Found:
        desk = self._open()
        wish = one.wish
        etag = None
        if wish.question.named is not None or not _VOLATILE.search(wish.question.sql):
            etag = _etag(desk.version(), wish)
            if known is not None and etag in known:
                return _Found(None, b"", etag)
        answer = desk.answer(wish.question, one.cancelled)
        return _Found(answer, desk.render(answer.rows, wish.form), etag)

    def _open(self) -> SqlDesk:
        with self._opening:
            if self._desk is None:
                self._desk = self._open_desk()
            return self._desk


def _etag(version: str, wish: Wish) -> str:
    question = wish.question
    about = (
        version, wish.form, question.sql, question.named, sorted(question.parameters.items()), question.dialect,
        question.skip, question.limit,
    )  # fmt: skip
    return f'"{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}"'


def _answered(request: Request, wish: Wish, found: _Found, name: str, begun: float) -> Response:
    headers = {"cache-control": "no-store" if found.etag is None else "private, no-cache", "x-query-id": name}
    headers |= {"vary": "accept"}
    if found.etag is not None:
        headers["etag"] = found.etag
    if found.answer is None:
        return Response(None, 304, headers)
    answer, question = found.answer, wish.question
    headers |= {"x-row-count": str(answer.rows.num_rows), "x-more-rows": str(answer.more).lower()}
    if answer.more and request.method == "GET":
        following = {**request.query_params, "offset": question.skip + (question.limit or 0)}
        headers["link"] = f'<{request.url.path}?{urlencode(following)}>; rel="next"'
    if wish.form != "rows":
        return Response(found.body, 200, headers, media_type=MEDIA[wish.form])
    head = {
        "id": name, "dialect": answer.dialect, "took_ms": round((time.monotonic() - begun) * 1_000, 1),
        "offset": question.skip, "limit": question.limit, "row_count": answer.rows.num_rows, "more": answer.more,
        "columns": [{"name": f.name, "type": str(f.type)} for f in answer.rows.schema],
        "committed_ms": answer.committed_ms, "note": answer.note,
    }  # fmt: skip
    body = orjson.dumps(head)[:-1] + b',"rows":' + found.body + b"}"
    return Response(body, 200, headers, media_type=MEDIA["rows"])


def _refused(error: MarketPulseError, name: str | None = None) -> Response:
    SQL_QUERIES.labels(told(error)[1]).inc()
    return problem_of(error) if name is None else problem_of(error, id=name)
