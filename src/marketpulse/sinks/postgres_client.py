"""One connection to PostgreSQL: its statements, their time-outs, and what its faults mean for the reader.

Every statement runs in a thread of the connection's own. The server ends one that takes too long; a server
that does not even do that is given up a little later, and the thread with it, so that the sink never hangs.
"""

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import pyarrow as pa
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.telemetry import get_logger

_GRACE_S = 5.0  # beyond the server's own time-out
_CONNECT_S = 10
_LOCK_S = 15  # waiting for another session's lock, such as a long query while a column is added

UNIQUE, NUL_IN_TEXT = "23505", "22021"
_FAULTS = (
    Error,
    ValueError,
    TypeError,
    RuntimeError,
    pa.ArrowException,
)  # the client's, and of wrong arguments

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


class Conflict(Retryable):
    """A row that was to be new is there already."""


class NotText(Retryable):
    """A text holds the character NUL, which PostgreSQL cannot keep."""


class TablesChanged(Retryable):
    """Our tables are not as we left them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, for the client and for people to read."""

    uri: str  # with the password, for the client alone
    where: str
    user: str
    database: str
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Address({self.where})"

    @classmethod
    def of(cls, url: str, password: str | None) -> "Address":
        """Raises ParameterError for anything but a postgresql:// URL with a database."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise ParameterError(
                "sinks.postgres.url must be like postgresql://marketpulse@127.0.0.1:5432/marketpulse: "
                "a user, a host and a database"
            )
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        given = password or (parts.password and unquote(parts.password)) or query.get("password")
        query.pop("password", None)
        place = parts.netloc.rpartition("@")[2]
        shown = urlunsplit(("postgresql", place, parts.path, "", ""))
        if parts.username is None:
            raise ParameterError(
                f"sinks.postgres.url names no user: write postgresql://USER@{place}{parts.path}"
            )
        login = parts.username if given is None else f"{parts.username}:{quote(given, safe='')}"
        query = {"application_name": "marketpulse", "connect_timeout": str(_CONNECT_S), **query}
        uri = urlunsplit(
            ("postgresql", f"{login}@{place}", parts.path, urlencode(query, quote_via=quote), "")
        )
        secrets = (given, quote(given, safe="")) if given else ()
        user, database = unquote(parts.username), unquote(parts.path.strip("/"))
        return cls(uri, shown.replace("//", f"//{parts.username}@", 1), user, database, secrets)

    def without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text


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
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._dbapi: Any = None
        self._cursor: Any = None
        threading.Thread(target=self._turn, name="postgres", daemon=True).start()
        try:
            self.call(self._open)
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

    def call(self, work: Callable[[], T]) -> T:
        """Its result. Raises Retryable when there is none in time: the thread is left to itself then."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._work.put((work, answer))
        try:
            result, fault = answer.get(timeout=max(self._timeout_s, _CONNECT_S) + _GRACE_S)
        except queue.Empty:
            raise Retryable(
                f"{self._address.where} has not answered for {self._timeout_s + _GRACE_S:g} s: trying again, nothing is lost"
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


# What a fault means.

_PASSING_LOGIN = re.compile(
    "starting up|shutting down|not yet accepting|recovery|too many|remaining connection slots|terminating connection"
)
_REFUSED_LOGIN = re.compile(
    r"FATAL:|no password supplied|does not support SSL|certificate|invalid (sslmode|URI|port|integer|connection option)"
)
_PASSING = re.compile("08...|40...|53...|55P03|57...|58030|25006|XX000")  # SQLSTATE


def explained(fault: Error, address: Address, *, connected: bool) -> Retryable | Fatal:
    """What the reader does next, with the client's words and no secret."""
    words = address.without_secrets(str(fault)).strip()
    words = " ".join(re.sub(r"^[A-Z_]+: (\[libpq\] )?|\. SQLSTATE: \w+$", "", words).split())
    if not connected:
        return _explained_login(words, address)
    where, state = address.where, fault.sqlstate
    own = {
        UNIQUE: Conflict,
        NUL_IN_TEXT: NotText,
        "42P01": TablesChanged,
        "3F000": TablesChanged,
        "42703": TablesChanged,
    }
    if state == "53100":
        return Retryable(
            f"{where} is full ({words}): free some space there; nothing is lost, storing goes on by itself"
        )
    if state in own:
        return own[state](f"{where}: {words}; trying again, nothing is lost")
    if state == "42501":
        return Fatal(
            f"{where} forbids it ({words}); nothing is lost, the rows are still in the topics. {_grants(address)}"
        )
    if state is None and "does not exist" in words:  # COPY looks its table up first, and tells no state
        return TablesChanged(f"{where}: {words}; trying again, nothing is lost")
    if state is None or _PASSING.fullmatch(state):
        get_logger().info("postgres_fault", sqlstate=state, fault=words)
        return Retryable(f"{where} does not answer ({words}): trying again, nothing is lost")
    return Fatal(
        f"{where} refuses the rows ({words}, SQLSTATE {state}): nothing is lost, they are still in the topics"
    )


def _explained_login(words: str, address: Address) -> Retryable | Fatal:
    """Of a login the client tells no SQLSTATE, so the server's English words must do. Unknown ones are waited on."""
    user, database = identifier(address.user), identifier(address.database)
    if _PASSING_LOGIN.search(words) or not _REFUSED_LOGIN.search(words):
        return Retryable(f"{address.where} does not answer ({words}): trying again, nothing is lost")
    if "database" in words and "does not exist" in words:
        do = f"As its administrator: CREATE DATABASE {database} OWNER {user};"
    elif "does not exist" in words:
        do = f"As its administrator: CREATE ROLE {user} LOGIN PASSWORD '…';"
    elif "permission denied for database" in words:
        do = f"As its administrator: GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {user};"
    elif "not permitted to log in" in words:
        do = f"As its administrator: ALTER ROLE {user} LOGIN;"
    elif "password" in words:
        do = (
            "Set MARKETPULSE_SINKS__POSTGRES__PASSWORD in the environment or in .env, or as its administrator: "
            f"ALTER ROLE {user} PASSWORD '…';"
        )
    else:
        do = "Check sinks.postgres.url, and the server's pg_hba.conf."
    return Fatal(
        f"{address.where} refuses the login ({words}); nothing is lost, the rows are still in the topics. {do}"
    )


def _grants(address: Address) -> str:
    user, database = identifier(address.user), identifier(address.database)
    return (
        f"As its administrator: GRANT CREATE, TEMPORARY ON DATABASE {database} TO {user}; and, where the schema or its tables "
        f"belong to another role: ALTER SCHEMA … OWNER TO {user}; ALTER TABLE … OWNER TO {user};"
    )


def identifier(name: str) -> str:
    """The name as SQL writes it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """The text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"
