"""ports.SqlPool: the page's queries run in child processes, and the page's own process only forwards their answers.

    page ── fork, kill ──> fork server ── fork ──> child, child …      (fork_server.py, child.py)
      └─────── a socket to each child: calls, heads, bodies ────────────┘

Nothing runs before the first call. From then on a child waits for the next one, warm; one that is killed is replaced at
once; and when nothing was asked for a while, all of them end.

| what ends a query | who meets it | its caller gets |
| --- | --- | --- |
| `sql.timeout_s` | `ask` | QueryLimit |
| the caller is cancelled, or closes the reply | `ask`, `_Reply.close` | nothing more |
| a limit of the kernel's, a fault of DuckDB's, the machine's lack of memory | the end of the child's socket | QueryLimit |
| `close`, or the fork server is killed | the same; after the latter the next call starts another | QueryCancelled, QueryLimit |
"""

import asyncio
import contextlib
import itertools
import pickle
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import orjson

from marketpulse.errors import EnvironmentProblem, MarketPulseError, QueryCancelled
from marketpulse.ports import SqlCall, SqlHead
from marketpulse.query.processes import (
    ENDED,
    HEAD_BYTES_MAX,
    LENGTH,
    ORDER,
    ended_by_itself,
    error_of,
    start_process,
    took_too_long,
)
from marketpulse.settings import Settings
from marketpulse.telemetry import SQL_KILLED

PIECE_BYTES = 256 * 1_024
IDLE_S = 300.0
_START_S = 60.0  # however busy the machine is
_END_S = 5.0


class ChildPool:
    """As many children as queries run, and one ahead."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._limits = settings, settings.sql
        self._starting = asyncio.Lock()
        self._server: _ForkServer | None = None
        self._idle: list[_Child] = []
        self._busy = 0
        self._ahead: asyncio.Task[None] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, call: SqlCall) -> "_Reply":
        """As ports.SqlPool says."""
        child = await self._take()
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                head = await child.ask(call)
        except TimeoutError:
            self._lose(child, "time")
            raise took_too_long(self._limits) from None
        except (EOFError, ConnectionError):
            raise await self._ended(child) from None
        except BaseException:
            self._lose(child, "stopped")
            raise
        is_last, fault = head.pop("is_last"), head.pop("error", None)
        if fault is not None:
            self._give_back(child, is_last)
            raise error_of(fault)
        return _Reply(self, child, SqlHead(**head), is_last)

    def close(self) -> None:
        """As ports.SqlPool says."""
        self._closed = True
        if self._server is not None:
            self._server.close()

    async def _take(self) -> "_Child":
        """A child that is ready."""
        self._busy += 1
        if self._rest is not None:
            self._rest.cancel()
        self._idle = [one for one in self._idle if not one.ended.done()]
        child = None
        try:
            child = self._idle.pop() if self._idle else await self._fork()
            self._settle()
            async with asyncio.timeout(_START_S):
                await child.ready()
        except (OSError, EOFError, TimeoutError) as error:
            self._lose(child, "start")
            if self._closed:
                raise QueryCancelled("the server stops") from None
            raise EnvironmentProblem(
                f"the process for queries has not started ({error!r}): see the log, try again"
            ) from None
        except BaseException as error:
            self._lose(child, "start" if isinstance(error, MarketPulseError) else "stopped")
            raise
        return child

    async def _fork(self) -> "_Child":
        async with self._starting:
            if self._closed:
                raise QueryCancelled("the server stops")
            if self._server is None or self._server.is_gone:
                loop = asyncio.get_running_loop()
                self._server = await loop.run_in_executor(None, _ForkServer, self._settings)
                loop.add_reader(self._server.control, self._server.read_ends)
        return await self._server.fork()

    def _give_back(self, child: "_Child", is_last: bool) -> None:
        """Have it wait for the next call."""
        self._busy -= 1
        if is_last or child.ended.done() or len(self._idle) > self._limits.at_once:
            child.close()
        else:
            self._idle.append(child)
        self._settle()

    def _lose(self, child: "_Child | None", why: str) -> None:
        """Kill it."""
        self._busy -= 1
        if child is not None:
            child.kill()
            SQL_KILLED.labels(why).inc()
        self._settle()

    async def _ended(self, child: "_Child") -> MarketPulseError:
        """What to say of a child that ended by itself."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(child.ended), _END_S)
        code = child.ended.result() if child.ended.done() else None
        self._lose(child, "exit" if code is None or code >= 0 else signal.Signals(-code).name)
        if self._closed:
            return QueryCancelled("the server stops")
        return took_too_long(self._limits) if code == -signal.SIGXCPU else ended_by_itself(self._limits)

    def _settle(self) -> None:
        """See that one waits ahead, and that none does for ever."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        is_coming = self._ahead is not None and not self._ahead.done()
        if not self._idle and not is_coming and self._server is not None and not self._server.is_gone:
            self._ahead = loop.create_task(self._fork_ahead())
        if self._rest is not None:
            self._rest.cancel()
        if self._busy == 0:
            self._rest = loop.call_later(IDLE_S, self._stop_idle)

    async def _fork_ahead(self) -> None:
        with contextlib.suppress(OSError, MarketPulseError):  # the next call forks its own, and says what is wrong
            child = await self._fork()
            self._idle.append(child)

    def _stop_idle(self) -> None:
        server, self._server, self._idle = self._server, None, []
        if server is not None:
            asyncio.get_running_loop().run_in_executor(None, server.close)


class _Reply:
    """ports.SqlReply."""

    def __init__(self, pool: ChildPool, child: "_Child", head: SqlHead, is_last: bool) -> None:
        self.head = head
        self._pool, self._child, self._is_last = pool, child, is_last
        self._left, self._is_over = head.size, False

    async def pieces(self) -> AsyncIterator[bytes]:
        while self._left:
            piece = await self._child.reader.read(min(self._left, PIECE_BYTES))
            if not piece:
                self._is_over = True
                raise await self._pool._ended(self._child)
            self._left -= len(piece)
            yield piece

    def close(self, why: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._left:
            self._pool._lose(self._child, why)
        else:
            self._pool._give_back(self._child, self._is_last)


class _Child:
    """One child, by its socket. `ended` has its exit code, None where the fork server is gone."""

    def __init__(
        self, server: "_ForkServer", number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.reader, self._writer = reader, writer
        self._server, self._number = server, number
        self._is_ready = False

    async def ready(self) -> None:
        if not self._is_ready:
            if (fault := (await self._head()).get("error")) is not None:
                raise error_of(fault)
            self._is_ready = True

    async def ask(self, call: SqlCall) -> dict[str, Any]:
        data = pickle.dumps(call)
        self._writer.write(LENGTH.pack(len(data)) + data)
        return await self._head()

    def kill(self) -> None:
        self._server.kill(self._number)
        self.close()

    def close(self) -> None:
        self._writer.transport.abort()

    async def _head(self) -> dict[str, Any]:
        (size,) = LENGTH.unpack(await self.reader.readexactly(LENGTH.size))
        if size > HEAD_BYTES_MAX:
            raise EOFError(f"a head of {size:,} bytes")
        head: dict[str, Any] = orjson.loads(await self.reader.readexactly(size))
        return head


class _ForkServer:
    """The fork server's other end."""

    def __init__(self, settings: Settings) -> None:
        self._process, self.control = start_process("fork_server", settings)
        self.control.setblocking(False)
        self.is_gone = False
        self._children: dict[int, _Child] = {}
        self._numbers = itertools.count()

    async def fork(self) -> _Child:
        ours, theirs = socket.socketpair()
        number = next(self._numbers)
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=PIECE_BYTES)
            child = self._children[number] = _Child(self, number, reader, writer)
            socket.send_fds(self.control, [ORDER.pack(b"F", number)], [theirs.fileno()])
        return child

    def kill(self, number: int) -> None:
        if number in self._children:
            with contextlib.suppress(OSError):  # it is gone, and its children with it
                self.control.send(ORDER.pack(b"K", number))

    def read_ends(self) -> None:
        """Read which children have ended."""
        data = self.control.recv(ENDED.size * 64)
        for number, code in ENDED.iter_unpack(data):
            self._children.pop(number).ended.set_result(code)
        if not data:
            self.is_gone = True
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.control)
            loop.run_in_executor(None, self.close)
            for child in self._children.values():
                child.ended.set_result(None)
                child.close()  # who waits for it is answered now, and not once the machine has found the time to end it
            self._children.clear()

    def close(self) -> None:
        """End it and its children. May be called from any thread."""
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
