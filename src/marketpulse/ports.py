"""The small protocols between the rooms. What a room needs from another it gets through one of these.

Source -> MarketLog -> (the engine) -> Sink, LiveFeed;  Query reads what the sinks stored.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Hello:
    """How a source introduces itself to the log, once per run."""

    source: str  # the name that its rows carry, such as "replay" or "simulate"
    mode: Literal["live", "historical"]
    run_id: str
    lateness_ns: int
    calendar: str | None = None  # a MIC such as XNYS, or 24x7; None: follows each row's venue
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Polled:
    """What a source has for the log now.

    `batches` hold rows of the schemas TRADE, QUOTE, BAR_IN or EVENT, to be written in this order.
    `position` is where to resume after them (None: this source cannot resume); it is committed
    together with the rows. `hello` is set when a new run begins with these rows (a loop's next
    round). `goodbye_watermark_ns` is set when the run ends after these rows. `ended` says that no
    poll will ever bring more.
    """

    batches: Sequence[pa.RecordBatch] = ()
    position: str | None = None
    hello: Hello | None = None
    goodbye_watermark_ns: int | None = None
    ended: bool = False
    rejected: Sequence["RejectedInput"] = ()


@dataclass(frozen=True, slots=True)
class RejectedInput:
    """One row of a source's input that is not market data: it goes to the dead letters whole."""

    reason: str  # a key of model.market.REASONS
    detail: str
    origin: str  # file name, URL or topic
    row: int  # line or row number in it, from 1
    value: bytes


class Source(Protocol):
    """Where market data comes from. One thread polls it; pacing happens inside."""

    def start(self, position: str | None) -> Hello:
        """Begin, or resume after the rows that were committed with `position`."""
        ...

    def poll(self, timeout_s: float) -> Polled:
        """Rows that are due, waiting at most `timeout_s`; empty when nothing is due yet.

        Raises Retryable when the far end is away (call again later), Fatal when a person must look.
        """
        ...

    def watermark_ns(self) -> int | None:
        """The event time that the next heartbeat may promise: no older row will come. None: no promise yet."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ForeignRecords:
    """Records of one partition of a topic that others write, in order."""

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    values: Sequence[bytes | None]


class ForeignTopic(Protocol):
    """The reading end of a topic with foreign records, for the `kafka` source."""

    def seek(self, offsets: dict[int, int]) -> None:
        """Go on at these offsets by partition; a partition that is not named starts at its beginning."""
        ...

    def poll(self, timeout_s: float) -> Sequence[ForeignRecords]: ...  # raises Retryable

    def at_end(self) -> bool:
        """Whether everything that stood in the topic has been polled."""
        ...

    def close(self) -> None: ...


class MarketLog(Protocol):
    """The writing end of `market`. With a position it is exactly once: rows and position commit together."""

    def last_position(self) -> str | None: ...
    def write(self, polled: Polled) -> None: ...  # raises Retryable while the broker is away
    def heartbeat(self, source: str, event_time_ns: int) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SinkBatch:
    """Rows of one table from one stretch of one partition.

    It covers the offsets `[first_offset, next_offset)` of `topic`/`partition`, whole records only;
    `rows` may be empty (a stretch without rows for this table still moves the position). Market
    tables carry the columns `topic`, `partition`, `offset`, `row` behind their contract fields.
    """

    table: str  # one of model.tables.TABLES
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    rows: pa.RecordBatch


class Sink(Protocol):
    """Where batches come to rest. Writing the same batch twice changes nothing.

    `name` is its section in the settings, `where` its place, for people to read (never a secret), `tables`
    those of model.tables.TABLES that it stores. `waiting_rows` and `waiting_bytes` tell what `flush` would store.
    """

    name: str
    where: str

    @property
    def tables(self) -> Sequence[str]: ...
    @property
    def waiting_rows(self) -> int: ...
    @property
    def waiting_bytes(self) -> int: ...

    def resume(self) -> Mapping[tuple[str, int], int] | None:
        """The next offset wanted, by (topic, partition), as stored with the data. Missing: from the start.

        None: this store keeps no offsets, so reading goes on where the reader has told Kafka that it is. Rows may
        then come twice, and the store must be one in which that changes nothing. Forgets what was not flushed.
        Raises Retryable while the store is away, Fatal when a person must look.
        """
        ...

    def write(self, batch: SinkBatch) -> None:
        """Take rows in; they are durable after `flush`. Raises Retryable or RejectedRecord."""
        ...

    def flush(self) -> None:
        """Make all that was written durable, data and offsets together."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SqlQuestion:
    """One query: its text, or the name and the parameters of a query of the library.

    Of its rows `skip` are left out, then at most `limit` given (None: all)."""

    sql: str = ""
    named: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    dialect: Literal["auto", "duckdb", "athena"] = "auto"
    skip: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """Its rows. `more`: there are others behind them. `sql` is what was run, in the dialect that ran it.
    `committed_ms` is when the newest of what it has seen was stored (None: unknown, or there was nothing)."""

    rows: pa.Table
    more: bool
    sql: str
    dialect: Literal["duckdb", "athena"]
    committed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SqlMistake:
    """What is wrong with a query, and where in it: line and column count from 1, None is unknown."""

    message: str
    line: int | None = None
    column: int | None = None


class SqlDesk(Protocol):
    """Where SQL is asked, by people and pages. Calls may overlap in threads."""

    def answer(self, question: SqlQuestion, cancelled: threading.Event) -> SqlAnswer:
        """Raises QueryRefused (with its `mistake`), QueryLimit among them, QueryCancelled once `cancelled` is
        set, ParameterError for a parameter, Retryable while the store is away."""
        ...

    def version(self) -> str:
        """Of what is stored: another one as soon as an answer might differ."""
        ...

    def library(self) -> Sequence[Mapping[str, Any]]:
        """The named queries: name, title, meaning, sql, parameters (name, kind, default, meaning)."""
        ...

    def render(self, rows: pa.Table, form: str) -> bytes:
        """`csv`, `json` (one object per row), `rows` (one JSON array per row), `parquet` or `arrow` (a stream)."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SqlTable:
    """What may stand in FROM: what one of its rows is, and its columns, each with its type in Arrow's words."""

    name: str
    meaning: str
    columns: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SqlScan:
    """One reading of a table. `condition` is what was handed to the reader of the files: "" is nothing."""

    table: str
    columns: int
    condition: str
    files: int
    files_in_all: int
    row_groups: int
    row_groups_in_all: int


@dataclass(frozen=True, slots=True)
class SqlPlan:
    """How a query was run: the SQL that ran, what it read, and DuckDB's plan with its figures, as text."""

    sql: str
    dialect: Literal["duckdb", "athena"]
    scans: Sequence[SqlScan]
    plan: str


class SqlGuide(Protocol):
    """What helps to ask. Calls may overlap in threads, and raise what those of SqlDesk do."""

    def tables(self) -> Sequence[SqlTable]: ...
    def plan(self, question: SqlQuestion, cancelled: threading.Event) -> SqlPlan:
        """Runs it, and tells how."""
        ...

    def close(self) -> None: ...


class Query(Protocol):
    """SQL over what is stored."""

    def run(self, sql: str) -> pa.Table:
        """The rows of one SELECT. Raises QueryRefused for anything else."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Decoded rows of one output topic, with when the broker appended the newest of them."""

    topic: Literal["bars", "indicators", "live", "alerts", "dead-letters"]
    rows: pa.RecordBatch
    append_time_ms: int


@dataclass(frozen=True, slots=True)
class PipelineStats:
    """What the log itself says about the pipeline. Counts are since the topics began."""

    market_records: int
    engine_lag_records: int
    dead_letters: int
    bars: int
    broker_reachable: bool


class LiveFeed(Protocol):
    """The reading end for pages: recent rows first, then rows as they come."""

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        """What has come within `timeout_s`; ends when there is nothing more at the moment.

        While the broker is away it yields nothing and goes on by itself when it is back.
        """
        ...

    def stats(self) -> PipelineStats: ...
    def close(self) -> None: ...
