"""The small protocols between the rooms. What a room needs from another it gets through one of these.

Source -> MarketLog -> (the engine) -> Sink, LiveFeed;  Query reads what the sinks stored.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from marketpulse.model.adjusting import Adjustments


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

    created: str  # a sentence, when the topic was missing and has been created

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

    @property
    def sender(self) -> str:
        """The id that its hellos carry: what the engine counts of a source begins anew with another one."""
        ...

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
    `todo`: what it could not do and the command by which a person does it, after `resume`; both empty: nothing.
    """

    name: str
    where: str
    todo: tuple[str, str]

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
    `committed_ms` is when the newest of what it has seen was stored (None: unknown, or there was nothing).
    `note` says of a named query which days it covers and, where there are no rows, why and what to try."""

    rows: pa.Table
    more: bool
    sql: str
    dialect: Literal["duckdb", "athena"]
    committed_ms: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class SqlMistake:
    """What is wrong with a query, and where in it: line and column count from 1, None is unknown."""

    message: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class SqlCall:
    """What a process that runs queries is asked for.

    `rows` of a question in a form (`csv`, `json`: an object per row, `rows`: JSON with a head and an array per row,
    `parquet`, `arrow`: a stream, `table`: text for the eye) unless the client has them as `cached` says; how it was run as
    JSON (`plan`) or text (`explanation`); the tables and limits (`schema`) and the named queries (`library`) as JSON.
    `id` and `asked_s` (of the monotonic clock) are the request's.
    """

    what: Literal["rows", "plan", "explanation", "schema", "library"]
    question: SqlQuestion = SqlQuestion()
    form: str = "rows"
    cached: str = ""
    id: str = ""
    asked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SqlHead:
    """What is known of an answer before its body of `size` bytes. Of rows: how many, whether there are `more` behind them,
    and what SqlAnswer says. `is_cached`: the client has them."""

    size: int
    etag: str | None = None
    is_cached: bool = False
    rows: int = 0
    more: bool = False
    committed_ms: int | None = None
    note: str = ""


class SqlReply(Protocol):
    """An answer that is being read."""

    @property
    def head(self) -> SqlHead: ...
    def pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces, each when it is asked for. Raises QueryLimit when there will be no rest."""
        ...

    def close(self, why: str) -> None:
        """To be called once: what is not read by then is given up, for the metrics with a reason."""
        ...


class SqlPool(Protocol):
    """Where the queries of pages run. All but `close` is called in one event loop."""

    async def ask(self, call: SqlCall) -> SqlReply:
        """Raises QueryRefused (with its `mistake`), QueryLimit among them, QueryCancelled when the pool is closed,
        ParameterError for a parameter, Retryable while the store is away. Cancelling it ends the query."""
        ...

    def close(self) -> None:
        """End every query. May be called from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class BarSpan:
    """Which stored bars: those of a series that open in [from_ms, before_ms), the newest `limit` of them.

    Milliseconds, fractions included. None is no bound."""

    symbol: str
    timeframe: str
    from_ms: float | None = None
    before_ms: float | None = None
    limit: int = 500


AlertKey = tuple[int, str, str]
"""Event time in ns, symbol, rule: of the rows with one key the highest revision is the truth."""


@dataclass(frozen=True, slots=True)
class AlertSpan:
    """Which stored alerts: those in [from_ns, to_ns) whose key is below `below`, the newest `limit` of them.

    None is no bound. `withdrawn`: those too that a revision made untrue."""

    symbol: str | None = None
    rule: str | None = None
    severity: str | None = None
    state: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    below: AlertKey | None = None
    limit: int = 200
    withdrawn: bool = False


class History(Protocol):
    """What is stored, for who pages back. Calls may overlap in threads.

    They raise Retryable while the store is away, QueryLimit for what takes too long.
    """

    def bars(self, span: BarSpan) -> pa.Table:
        """The newest revision of each bar, oldest first, none that was withdrawn: `open_time_ns` (of tick bars that
        open at one time a microsecond apart), `close_time_ns`, prices, `revision`, then a column per indicator, the session's
        vwap as `session_vwap`."""
        ...

    def alerts(self, span: AlertSpan) -> pa.Table:
        """The newest revision of each alert, in order of their keys: the columns of model.rows.ALERT, of the receipt
        only `partition` and `last_offset`."""
        ...

    def adjustments(self, symbol: str, timeframe: str) -> Adjustments:
        """What is known of the series' splits and dividends, and by what its bars are multiplied for them."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LiveBars:
    """Of one series what the page's board holds: its rows as web.series.BAR_COLUMNS begin, by open time in ms, and
    by open time the revisions of bars that were withdrawn."""

    rows: Mapping[float, Sequence[float]] = field(default_factory=dict)
    gone: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReceiptAsk:
    """Whose receipt: the bar of a series that opens then, or one of its values by name. `bar` is all of it. `as_shown`:
    a bar cut by count, which a page shows at this time."""

    symbol: str
    timeframe: str
    open_ns: int
    name: str = "bar"
    as_shown: bool = False


class ChartDesk(Protocol):
    """What a chart shows beside its bars. Calls may overlap in threads.

    They raise ParameterError for what there cannot be, Retryable while a store is away, QueryLimit for what takes
    too long.
    """

    def catalogue(self) -> Sequence[Mapping[str, Any]]:
        """Every indicator: name, title, group, parameters, outputs, pane, formula, and `needs_the_engine`: why the
        bars are not enough for it (None: they are)."""
        ...

    def values(self, stems: Sequence[str], span: BarSpan, live: LiveBars) -> tuple[list[str], list[list[float]]]:
        """The columns of the indicators (`rsi_21`), and `[open time in ms, a value of each column]` of the bars in
        the span, oldest first; NaN where there is none. A forming bar's are provisional."""
        ...

    def sessions(self, venue: str | None, from_ms: float, to_ms: float) -> Mapping[str, Any]:
        """The calendar that a venue trades by, and its sessions that touch the span, in ms."""
        ...

    def receipt(self, ask: ReceiptAsk, cancelled: threading.Event) -> Mapping[str, Any]:
        """What `explain` tells: plain values that JSON can hold, and the same in words as `lines`. Raises Fatal when
        there is no such row or its inputs are gone, QueryCancelled once `cancelled` is set."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class AlertTrial:
    """A rule to be tried on stored history: its fields, and what closed in (from_ns, to_ns] of these symbols (none
    named: of all that the rule takes)."""

    rule: Mapping[str, Any]
    from_ns: int
    to_ns: int
    symbols: Sequence[str] = ()


class AlertDesk(Protocol):
    """Alert rules and their history, for pages: read, checked, tried and changed. Calls may overlap in threads.

    What is given is for JSON; times are milliseconds.
    """

    def rules(self) -> Mapping[str, Any]:
        """`rules` (each with its `version`, where it is `from` and where it `begins`), and the newest `changes` with
        in how many `partitions` the engine has `taken` each. Raises Retryable or EnvironmentProblem without a broker."""
        ...

    def language(self) -> Mapping[str, Any]:
        """What a rule may be written with."""
        ...

    def check(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The faults of a rule as it is being written, each at its place."""
        ...

    def put(self, fields: Mapping[str, Any], version: str) -> Mapping[str, Any]:
        """Have a rule run. `version`: of the rule that it takes the place of; empty: there is none.

        Gives `said` and `offsets`, the change's place in each partition. Raises ChangedMeanwhile, ParameterError, and
        as `rules`."""
        ...

    def mute(self, name: str, muted: bool, version: str) -> Mapping[str, Any]: ...  # as `put`
    def remove(self, name: str, version: str) -> Mapping[str, Any]: ...  # as `put`

    def attempt(
        self, trial: AlertTrial, cancelled: threading.Event, progress: Callable[[int, int], None]
    ) -> Mapping[str, Any]:
        """What the rule would have told. `progress` is given the rows that are done, and all. Raises ParameterError,
        QueryCancelled, QueryLimit, Retryable."""
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
    """One reading of a table. `condition` is what was handed to the reader of the files: "" is nothing.

    `row_groups_in_all` counts those of the files that are read; `rows` is None where the reader does not tell.
    """

    table: str
    columns: int
    condition: str
    files: int
    files_in_all: int
    row_groups: int
    row_groups_in_all: int
    rows: int | None = None
    rows_in_all: int | None = None


@dataclass(frozen=True, slots=True)
class SqlPlan:
    """How a query was run: the SQL that ran, what it read, and DuckDB's plan with its figures, as text."""

    sql: str
    dialect: Literal["duckdb", "athena"]
    scans: Sequence[SqlScan]
    plan: str


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
    """What the log itself says about the pipeline. Counts are since the topics began; dead letters are those that the
    topic holds. `stalled`: for each partition of `market` with records that the engine has not taken in, for how many
    seconds it has committed none of them."""

    market_records: int
    engine_lag_records: int
    dead_letters: int
    bars: int
    broker_reachable: bool
    stalled: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogView:
    """What the page's server knows of the log at `now_ms` (`stats`: None before the first answer), and when the newest record
    that it has read was appended, by the broker's clock."""

    now_ms: int
    stats: PipelineStats | None = None
    newest_row_ms: int | None = None


class PipelineWatch(Protocol):
    """What the whole pipeline says of itself."""

    def picture(self) -> Mapping[str, Any] | None:
        """Processes, sources, engine, sinks, hops and `findings` (what is wrong, in words), for JSON. It takes no
        time: the processes are asked in the background. None: they have not been asked yet."""
        ...

    def health(self) -> Mapping[str, Any]:
        """`status` (starting, ok, degraded or down) and `reasons`: of the findings those that hold now."""
        ...


class SourceWatch(Protocol):
    """How good each source is, for JSON. Calls may come from any thread. None: the log has not been read yet."""

    def sources(self) -> Mapping[str, Any] | None:
        """`hours`, `log_time_ms`, `catching_up`, and `sources` with a row for each (docs/page.md#source-scorecard)."""
        ...

    def symbols(self, source: str, limit: int) -> Mapping[str, Any] | None:
        """Of one source: its `symbols`, the worst covered first, its `gaps` and `disagreements`."""
        ...


class DeadLetterDesk(Protocol):
    """Reads what was set aside, and sends it again. Calls may come from any thread."""

    def newest(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest dead letters, the last one first: the fields of DEAD_LETTER, and their own place and time as
        `letter_partition`, `letter_offset` and `appended_ms`; `sent_to` says where one went that was sent again.
        Raises Retryable while the broker is away."""
        ...

    def send_again(self, partition: int, offset: int, value: bytes) -> Mapping[str, Any]:
        """Write `value`, the mended record of the letter at that place, into `market`; where it stands now. Raises
        RejectedRecord when it is no market data still, ParameterError when no letter stands there, Retryable."""
        ...

    def close(self) -> None: ...


class LiveFeed(Protocol):
    """The reading end for pages: recent rows first, then rows as they come."""

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        """What has come within `timeout_s`; ends when there is nothing more at the moment.

        While the broker is away it yields nothing and goes on by itself when it is back.
        """
        ...

    def stats(self) -> PipelineStats: ...
    def close(self) -> None: ...
