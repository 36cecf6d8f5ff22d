"""SQL over the lake, through a DuckDB that can reach nothing but the committed rows.

Two walls. guard.py lets in one SELECT over the views and functions that only compute. Behind it, the
database has external access off and its configuration locked: it opens no file, no socket and no
extension. The rows come to it as Arrow data sets that this process made from the commit logs.
"""

import contextlib
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs

from marketpulse.errors import QueryLimit, QueryRefused, Retryable
from marketpulse.model.commit_log import StoredFile
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.query.committed import CommittedFiles, open_committed
from marketpulse.query.guard import Guard
from marketpulse.query.how import AS_IT_IS, How, stopping, was_interrupted
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

REVISED = ("bars", "indicators", "alerts")
"""The tables whose rows come again, corrected: the highest revision of a key is the truth."""

_EVERY_REVISION = """
    SELECT make_timestamp(open_time_ns // 1000) AS open_time,
           make_timestamp(close_time_ns // 1000) AS close_time, * FROM {table}_rows"""
# Nearly every row stands alone, so only those are looked up that replace others, in the files that the
# commits say have some: a window over all rows makes a whole scan about twice as slow. A withdrawn row
# (no close) is below itself. Tick bars that share an open time are never revised, so they all stay.
_CURRENT = (
    _EVERY_REVISION  # noqa: S608  (the names of REVISED)
    + """ AS own ANTI JOIN (
        SELECT symbol, timeframe, open_time_ns, revision + (close IS NULL)::BIGINT AS below
        FROM {table}_revised WHERE revision > 0
    ) AS later ON own.symbol = later.symbol AND own.timeframe = later.timeframe
              AND own.open_time_ns = later.open_time_ns AND own.revision < later.below"""
)

_EVERY_ALERT = "SELECT make_timestamp(event_time_ns // 1000) AS event_time, * FROM alerts_rows"

VIEWS = {
    "trades": "SELECT make_timestamp(event_time_ns // 1000) AS timestamp, * FROM trades_rows",
    "quotes": "SELECT make_timestamp(event_time_ns // 1000) AS timestamp, * FROM quotes_rows",
    "events": "SELECT make_timestamp(event_time_ns // 1000) AS timestamp, * FROM events_rows",
    "bars": _CURRENT.format(table="bars"),
    "bars_history": _EVERY_REVISION.format(table="bars"),
    "indicators": _CURRENT.format(table="indicators"),
    "indicators_history": _EVERY_REVISION.format(table="indicators"),
    "alerts": _EVERY_ALERT  # noqa: S608  (the last revision of each, as above: a withdrawn one is below itself)
    + """ AS own ANTI JOIN (
        SELECT symbol, rule, event_time_ns, revision + (state = 'withdrawn')::BIGINT AS below
        FROM alerts_revised WHERE revision > 0
    ) AS later ON own.symbol = later.symbol AND own.rule = later.rule
              AND own.event_time_ns = later.event_time_ns AND own.revision < later.below""",
    "alerts_history": _EVERY_ALERT,
    "dead_letters": "SELECT * FROM dead_letters_rows",
    "stock_data": """
        SELECT symbol, make_timestamp(event_time_ns // 1000) AS timestamp, price, size AS volume
        FROM trades_rows""",
}
"""The views, by name. Times stand as UTC wall time (microseconds) before the exact `…_ns` columns."""

_MEGABYTE = 1_000_000
_SNAPSHOTS = 4  # a compaction may take files away while they are read: begin again on the new ones


class LakeQuery:
    """ports.Query over the lake. Each run sees one snapshot of it; runs may overlap in threads."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.sql
        self._files: CommittedFiles = open_committed(settings.sinks.lake.url or settings.data_dir / "lake")
        self._guard = Guard(frozenset(VIEWS))
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._spill = Path(tempfile.mkdtemp(prefix="sql-", dir=settings.data_dir))
        self._lock = threading.Lock()

    def run(self, sql: str, how: How = AS_IT_IS) -> pa.Table:
        """The rows of one SELECT.

        Raises QueryRefused for anything else, for SQL that DuckDB rejects (with its caret), and, as QueryLimit, for
        a query that needs more time or memory than `[sql]` allows; QueryCancelled; Retryable while the lake is away.
        """
        query = self._guard.check(sql)
        for attempt in range(1, _SNAPSHOTS + 1):
            with self._lock:
                files = self._files.read()
            if attempt == _SNAPSHOTS:
                files = self._without_missing(files)
            try:
                return self._answer(how.prefix + query, files, how)
            except FileNotFoundError:
                continue
        raise Retryable("the lake's files change faster than they can be read: try again")

    def close(self) -> None:
        shutil.rmtree(self._spill, ignore_errors=True)

    def version(self) -> str:
        """Of what is stored: another one as soon as a query might see other rows."""
        with self._lock:
            files = self._files.read()
        names = sorted(file.path for each in files.values() for file in each)
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def _answer(self, query: str, files: dict[str, list[StoredFile]], how: How) -> pa.Table:
        with (
            self._connection(files, how) as connection,
            stopping(connection, self._limits.timeout_s, how.cancelled),
        ):
            try:
                return self._fetch(_bound(connection, query), how)
            except duckdb.OutOfMemoryException:
                raise QueryLimit(
                    f"the query needs more than {self._limits.memory_limit_mb} MB: narrow it, or raise "
                    "sql.memory_limit_mb"
                ) from None
            except (duckdb.Error, OSError) as error:
                if was_interrupted(error):
                    raise
                if _file_is_gone(error):
                    raise FileNotFoundError(str(error)) from None
                raise QueryRefused(str(error).strip()) from None

    def _fetch(self, relation: Any, how: How) -> pa.Table:
        """The wanted rows, as long as they fit."""
        reader = relation.to_arrow_reader(100_000)
        batches, size = [], 0
        for batch in how.wanted(reader):
            batches.append(batch)
            size += batch.nbytes
            if size > self._limits.memory_limit_mb * _MEGABYTE:
                raise QueryLimit(
                    f"the result is larger than {self._limits.memory_limit_mb} MB: add LIMIT, or raise "
                    "sql.memory_limit_mb"
                )
        return pa.Table.from_batches(batches, schema=reader.schema)

    @contextlib.contextmanager
    def _connection(self, files: dict[str, list[StoredFile]], how: How) -> Iterator[Any]:
        """A database that holds the views and is then locked."""
        with duckdb.connect(":memory:", config=self._config()) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for table in TABLES:
                connection.register(
                    f"{table}_rows", how.watched(table, self._rows(table, files.get(table, [])))
                )
            for table in REVISED:
                later = [file for file in files.get(table, []) if file.revised]
                connection.register(f"{table}_revised", self._rows(table, later))
            for name, select in VIEWS.items():
                connection.execute(f"CREATE VIEW {name} AS {select}")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection

    def _config(self) -> dict[str, Any]:
        return {
            "memory_limit": f"{self._limits.memory_limit_mb}MB",
            "temp_directory": str(self._spill),
            "max_temp_directory_size": f"{8 * self._limits.memory_limit_mb}MB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",  # a Python variable is no table
        }

    def _rows(self, table: str, files: list[StoredFile]) -> Any:
        """A table's committed rows. A column that a file does not have is null in its rows."""
        schema = _schema(table, files)
        if not files:
            return schema.empty_table()
        return ds.FileSystemDataset.from_paths(
            [self._files.at(file.path) for file in files],
            schema=schema,
            format=ds.ParquetFileFormat(),
            filesystem=self._filesystem(),
        )

    def _filesystem(self) -> pa.fs.FileSystem:
        if self._files.local:
            return pa.fs.LocalFileSystem()
        return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(self._files.fs))

    def _without_missing(self, files: dict[str, list[StoredFile]]) -> dict[str, list[StoredFile]]:
        """Without the files that a person has removed by hand: the others still answer."""
        kept, gone = {}, 0
        for table, own in files.items():
            kept[table] = [file for file in own if self._files.fs.exists(self._files.at(file.path))]
            gone += len(own) - len(kept[table])
        if gone:
            get_logger().warning("stored_files_are_gone", files=gone, lake=self._files.url)
        return kept


def _schema(table: str, files: list[StoredFile]) -> pa.Schema:
    """The table's columns; for indicators, with every name that a file has."""
    if table != "indicators":
        return TABLES[table][1]
    return indicators_schema(list(dict.fromkeys(name for file in files for name in file.columns)))


def _bound(connection: Any, query: str) -> Any:
    """The query, bound but not run: its rows then stream."""
    try:
        return connection.sql(query)
    except duckdb.Error:
        connection.execute(query)  # fails alike, and its message carries the caret
        raise


def _file_is_gone(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or "No such file or directory" in str(error)
