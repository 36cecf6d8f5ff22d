"""Queries that the web API has run: so many at once, so many waiting (`[sql]`), and each ends with who asked.

They run in the processes of ports.SqlPool. Here is only their turn, and the forwarding of their answers in pieces.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from marketpulse.errors import MarketPulseError, QueryCancelled
from marketpulse.ports import SqlCall, SqlHead, SqlPool, SqlReply
from marketpulse.settings import SqlSettings
from marketpulse.telemetry import SQL_QUERIES, SQL_RUNNING, SQL_SECONDS
from marketpulse.web.forms import MEDIA
from marketpulse.web.problems import problem, problem_of, told
from marketpulse.web.turns import Busy, hung_up

Start = tuple[int, Mapping[str, str], str | None]
"""A response's status, its headers, and the media type of its body."""


@dataclass(slots=True)
class Run:
    """A query that waits for its turn, runs, or is being read."""

    call: SqlCall
    since: float = field(default_factory=time.time)
    started: bool = False
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class SqlRuns:
    """Runs them. The pool is opened with the first."""

    def __init__(self, open_pool: Callable[[], SqlPool], limits: SqlSettings) -> None:
        self.limits = limits
        self.running: dict[str, Run] = {}
        self._open_pool = open_pool
        self._pool: SqlPool | None = None
        self._opening = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # of the server that asks
        self._is_closed = False
        self._turns, self._own_turn = asyncio.Semaphore(limits.at_once), asyncio.Semaphore(1)

    async def answer(self, request: Request, call: SqlCall, end: str, respond: Callable[[SqlHead], Start]) -> Response:
        """The response to a question: `respond` begins it. `end` is its name among the metrics."""
        if call.id in self.running:
            SQL_QUERIES.labels("refused").inc()
            return problem(409, f"a query of the id {call.id} runs already: choose another")
        if len(self.running) >= self.limits.at_once + self.limits.waiting:
            return refused(Busy(f"{self.limits.at_once} queries run and {self.limits.waiting} wait: try again"))
        self._loop = asyncio.get_running_loop()
        run = self.running[call.id] = Run(call)
        SQL_RUNNING.set(len(self.running))
        try:
            reply = await self._while_wanted(request, run)
        except MarketPulseError as error:
            self.finish(run, told(error)[1])
            return problem_of(error, id=call.id)
        except BaseException:
            self.finish(run, "cancelled")
            raise
        return _Forwarded(reply, run, self, end, respond(reply.head))

    async def own(self, call: SqlCall) -> Response:
        """The response to what runs no text of anybody's: it takes no turn, and its JSON is small."""
        try:
            async with self._own_turn:
                reply = await (await self._opened()).ask(call)
                try:
                    body = b"".join([piece async for piece in reply.pieces()])
                finally:
                    reply.close("stopped")
        except MarketPulseError as error:
            return refused(error)
        return Response(body, headers={"cache-control": "no-store"}, media_type=MEDIA["json"])

    def close(self) -> None:
        """End every query, and begin none. To be called from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop_all)
        with self._opening:
            self._is_closed = True
            if self._pool is not None:
                self._pool.close()

    def _stop_all(self) -> None:
        for run in self.running.values():
            run.stopped.set()

    async def _while_wanted(self, request: Request, run: Run) -> SqlReply:
        """Wait for its turn and run it, for as long as somebody wants to know."""
        work = asyncio.create_task(self._in_turn(run))
        ends = [asyncio.create_task(end) for end in (hung_up(request), run.stopped.wait())]
        try:
            await asyncio.wait({work, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise QueryCancelled("the query was cancelled")
        finally:
            for task in (work, *ends):
                task.cancel()

    async def _in_turn(self, run: Run) -> SqlReply:
        await self._turns.acquire()
        run.started = True
        return await (await self._opened()).ask(run.call)

    async def _opened(self) -> SqlPool:
        if self._pool is None:
            return await asyncio.get_running_loop().run_in_executor(None, self._open)
        return self._pool

    def _open(self) -> SqlPool:
        with self._opening:
            if self._is_closed:
                raise QueryCancelled("the server stops")
            if self._pool is None:
                self._pool = self._open_pool()
            return self._pool

    def finish(self, run: Run, end: str) -> None:
        """Give its turn to the next, and count how it ended."""
        del self.running[run.call.id]
        if run.started:
            self._turns.release()
        SQL_RUNNING.set(len(self.running))
        SQL_QUERIES.labels(end).inc()
        SQL_SECONDS.observe(time.monotonic() - run.call.asked_s)


class _Forwarded(Response):
    """An answer, forwarded as fast as its client reads. For that there is the time limit once more."""

    def __init__(self, reply: SqlReply, run: Run, runs: SqlRuns, end: str, start: Start) -> None:
        status, headers, media_type = start
        if status == 200:
            headers = {**headers, "content-length": str(reply.head.size)}
        super().__init__(None, status, headers, media_type)
        self._reply, self._run, self._runs, self._end = reply, run, runs, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole answer; where it ends too early, so does the connection."""
        forwarding = asyncio.create_task(self._forward(send))
        ends = [asyncio.create_task(end) for end in (hung_up(Request(scope, receive)), self._run.stopped.wait())]
        end = "cancelled"
        try:
            await asyncio.wait(
                {forwarding, *ends}, timeout=self._runs.limits.timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not forwarding.done():
                end = "cancelled" if any(one.done() for one in ends) else "unread"
            elif (fault := forwarding.exception()) is None:
                end = self._end
            else:
                end = told(fault)[1] if isinstance(fault, MarketPulseError) else "cancelled"
        finally:
            for task in (forwarding, *ends):
                task.cancel()
            self._reply.close("unread" if end == "unread" else "stopped")
            self._runs.finish(self._run, end)

    async def _forward(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = self._reply.head.size
        if not left:
            await send({"type": "http.response.body"})
        async for piece in self._reply.pieces():
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


def refused(error: MarketPulseError, **more: Any) -> Response:
    """The response to a question that has no answer."""
    SQL_QUERIES.labels(told(error)[1]).inc()
    return problem_of(error, **more)
