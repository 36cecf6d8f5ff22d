"""One connection to PostgreSQL: its statements, their time-outs, and what its faults mean for the reader.

Every statement runs in a thread of the connection's own. The server ends one that takes too long; a server
that does not even do that is given up a little later, and the thread with it, so that the sink never hangs.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi

from marketpulse.errors import Retryable
from marketpulse.sinks.postgres_faults import CONNECT_S, Address, explained

_GRACE_S = 5.0  # beyond the server's own time-out
_LOCK_S = 15  # waiting for another session's lock, such as a long query while a column is added

_FAULTS = (Error, ValueError, TypeError, RuntimeError, pa.ArrowException)  # the client's, and of wrong arguments

T = TypeVar("T")
Parameters = Sequence[tuple[Sequence[Any], pa.DataType]]


class Session(Protocol):
    """Statements of one connection. A transaction begins by itself with the first of them."""

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement gives. `parameters` are arrays, each a $1, $2 … with the type of its elements."""
        ...

    def run(self, sql: str) -> None:
        """A statement without rows."""
        ...

    def copy(self, table: str, rows: pa.Table, schema: str | None) -> None:
        """COPY rows into the columns of these names; `schema` None: a temporary table."""
        ...


class Client:
    """Transactions on one database. It connects when it must; a fault ends the connection."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commits at its end; a fault takes everything back.

        Raises Retryable while the server is away, full or busy, Fatal when a person must look.
        """
        connection = self._connected()
        try:
            yield connection
            connection.call(connection.commit)
        except BaseException:
            self._connection = None  # whatever state it is in: the next one begins anew
            connection.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "_Connection":
        if self._connection is None:
            self._connection = _Connection(self.address, self._timeout_s)
        return self._connection


class _Connection:
    """A Session in its own thread."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = queue.SimpleQueue()
        self._dbapi: Any = None
        self._cursor: Any = None
        threading.Thread(target=self._turn, name="postgres", daemon=True).start()
        try:
            self.call(self._open, CONNECT_S)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        return self.call(partial(self._rows, sql, parameters))

    def run(self, sql: str) -> None:
        self.call(partial(self._cursor.execute, sql))

    def copy(self, table: str, rows: pa.Table, schema: str | None) -> None:
        kind = {"temporary": True} if schema is None else {"db_schema_name": schema}
        self.call(partial(self._cursor.adbc_ingest, table, rows, mode="append", **kind))

    def commit(self) -> None:
        self._dbapi.commit()

    def call(self, work: Callable[[], T], limit_s: float | None = None) -> T:
        """Its result. Raises Retryable when there is none in time: the thread is left to itself then."""
        wait_s = (self._timeout_s if limit_s is None else limit_s) + _GRACE_S
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._work.put((work, answer))
        try:
            result, fault = answer.get(timeout=wait_s)
        except queue.Empty:
            raise Retryable(
                f"{self._address.where} has not answered for {wait_s:g} s: trying again, nothing is lost"
            ) from None
        if fault is not None and not isinstance(fault, Error):
            raise fault
        if fault is not None:
            raise explained(fault, self._address, connected=self._cursor is not None) from None
        value: T = result
        return value

    def close(self) -> None:
        """Soon, by the thread; what was not committed is taken back."""
        self._work.put(None)

    def _turn(self) -> None:
        while (item := self._work.get()) is not None:
            work, answer = item
            try:
                answer.put((work(), None))
            except _FAULTS as fault:
                answer.put((None, fault))
        with contextlib.suppress(Error):
            if self._cursor is not None:
                self._cursor.close()
            if self._dbapi is not None:
                self._dbapi.close()

    def _open(self) -> None:
        self._dbapi = dbapi.connect(self._address.uri)
        cursor = self._dbapi.cursor()
        limits = {
            "statement_timeout": self._timeout_s,
            "lock_timeout": min(_LOCK_S, self._timeout_s),
            "idle_in_transaction_session_timeout": self._timeout_s + 2 * _GRACE_S,
        }
        for name, seconds in limits.items():
            cursor.execute(f"SET {name} = {max(1, round(seconds * 1000))}")
        cursor.execute("SET timezone = 'UTC'")
        self._dbapi.commit()
        self._cursor = cursor

    def _rows(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        if not parameters:
            return list(self._cursor.execute(sql).fetchall())
        columns = [pa.array([list(values)], pa.list_(kind)) for values, kind in parameters]
        row = pa.record_batch(columns, names=[f"p{i}" for i in range(len(columns))])
        return list(self._cursor.execute(sql, row).fetchall())
