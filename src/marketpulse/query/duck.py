"""SQL over the lake, through a DuckDB that can reach nothing but the rows of one snapshot of each table.

Two walls. guard.py lets in one SELECT over the views and functions that only compute. Behind it, the
database has external access off and its configuration locked: of all files it may open those that the
snapshots name, no other; no socket and no extension. A lake on S3 comes to it as Arrow data sets that this
process opens.
"""

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs

from marketpulse.catalog.layout import TIME, TIMES
from marketpulse.catalog.visible import Picture, StoredFile, VisibleFiles, open_visible, path_on
from marketpulse.errors import QueryLimit, QueryRefused, Retryable
from marketpulse.model.tables import TABLES
from marketpulse.query.guard import Guard
from marketpulse.query.how import AS_IT_IS, How, Watched, stopping
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

REVISED = ("bars", "indicators", "alerts")
"""The tables whose rows come again, corrected: the highest revision of a key is the truth."""

# Nearly every row stands alone, so only those are looked up that replace others, in the files that the
# manifests say have some: a window over all rows makes a whole scan about twice as slow. A withdrawn row
# (no close) is below itself. Tick bars that share an open time are never revised, so they all stay.
_CURRENT = """
    SELECT own.* FROM {table}_rows AS own ANTI JOIN (
        SELECT symbol, timeframe, open_time_ns, revision + (close IS NULL)::BIGINT AS below
        FROM {table}_revised WHERE revision > 0
    ) AS later ON own.symbol = later.symbol AND own.timeframe = later.timeframe
              AND own.open_time_ns = later.open_time_ns AND own.revision < later.below"""
_RENAMED = "SELECT event_time AS timestamp, * EXCLUDE (event_time) FROM {table}_rows"

VIEWS = {
    "trades": _RENAMED.format(table="trades"),
    "quotes": _RENAMED.format(table="quotes"),
    "events": _RENAMED.format(table="events"),
    "bars": _CURRENT.format(table="bars"),
    "bars_history": "SELECT * FROM bars_rows",
    "indicators": _CURRENT.format(table="indicators"),
    "indicators_history": "SELECT * FROM indicators_rows",
    # The last revision of each, as above: a withdrawn one is below itself.
    "alerts": """
    SELECT own.* FROM alerts_rows AS own ANTI JOIN (
        SELECT symbol, rule, event_time_ns, revision + (state = 'withdrawn')::BIGINT AS below
        FROM alerts_revised WHERE revision > 0
    ) AS later ON own.symbol = later.symbol AND own.rule = later.rule
              AND own.event_time_ns = later.event_time_ns AND own.revision < later.below""",
    "alerts_history": "SELECT * FROM alerts_rows",
    "dead_letters": "SELECT * FROM dead_letters_rows",
    "stock_data": "SELECT symbol, event_time AS timestamp, price, size AS volume FROM trades_rows",
}
"""The views, by name. Times stand as UTC wall time (microseconds) before the exact `…_ns` columns."""

_TABLE_OF = {"stock_data": "trades"} | {
    view: next(table for table in TABLES if view.startswith(table)) for view in VIEWS if view != "stock_data"
}
_WORD = re.compile(r"[a-z_]+")
_PATTERN = re.compile(r"[*?\[]")  # DuckDB takes such a path for many
_MEGABYTE = 1_000_000
_SNAPSHOTS = 4  # a compaction may take files away while they are read: begin again on the new ones


class LakeQuery:
    """ports.Query over the lake. Each run sees one snapshot of each table; runs may overlap in threads."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.sql
        self._files: VisibleFiles = open_visible(settings)
        self._guard = Guard(frozenset(VIEWS))
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._spill = Path(tempfile.mkdtemp(prefix="sql-", dir=settings.data_dir))
        self.committed_ms: int | None = None
        """When the newest commit was made that the last run has seen; None: there was none."""

    def run(self, sql: str, how: How = AS_IT_IS) -> pa.Table:
        """The rows of one SELECT.

        Raises QueryRefused for anything else, for SQL that DuckDB rejects (with its caret), and, as QueryLimit, for
        a query that needs more time or memory than `[sql]` allows; QueryCancelled; Retryable while the lake is away.
        """
        query = self._guard.check(sql)
        views = views_in(query)
        for attempt in range(1, _SNAPSHOTS + 1):
            pictures = self._files.read({_TABLE_OF[view] for view in views})
            files = {table: picture.files for table, picture in pictures.items()}
            if attempt == _SNAPSHOTS:
                files = self._without_missing(pictures)
            try:
                rows = self._answer(how.prefix + query, views, pictures, files, how)
            except FileNotFoundError:
                continue
            self.committed_ms = max(
                (p.committed_ms for p in pictures.values() if p.committed_ms), default=None
            )
            return rows
        raise Retryable("the lake's files change faster than they can be read: try again")

    def close(self) -> None:
        shutil.rmtree(self._spill, ignore_errors=True)

    def version(self, tables: Iterable[str] = tuple(TABLES)) -> str:
        """Of what is stored: another one as soon as a query of these tables might see other rows."""
        pictures = self._files.read(tables)
        told = "\n".join(f"{table} {picture.snapshot_id}" for table, picture in sorted(pictures.items()))
        return hashlib.sha256(told.encode()).hexdigest()

    def _answer(
        self,
        query: str,
        views: Iterable[str],
        pictures: Mapping[str, Picture],
        files: Mapping[str, Sequence[StoredFile]],
        how: How,
    ) -> pa.Table:
        try:
            with (
                self._connection(views, pictures, files, how) as connection,
                stopping(connection, self._limits.timeout_s, how.cancelled),
            ):
                return self._fetch(_bound(connection, query), how)
        except duckdb.OutOfMemoryException:
            raise QueryLimit(
                f"the query needs more than {self._limits.memory_limit_mb} MB: narrow it, or raise "
                "sql.memory_limit_mb"
            ) from None
        except (duckdb.Error, OSError) as error:
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
    def _connection(
        self,
        views: Iterable[str],
        pictures: Mapping[str, Picture],
        files: Mapping[str, Sequence[StoredFile]],
        how: How,
    ) -> Iterator[Any]:
        """A database that holds the views and is then locked."""
        with duckdb.connect(":memory:", config=self._config()) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            # In a notebook without ipywidgets it is off, and to set it is an error.
            if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
                connection.execute("SET enable_progress_bar = false")
            paths = [path_on(file.path) for own in files.values() for file in own]
            connection.execute(f"SET allowed_paths = {_list(paths)}")
            for table, picture in pictures.items():
                _register(connection, f"{table}_rows", picture, files[table], how.watched)
                if table in REVISED:
                    later = [file for file in files[table] if file.revised]
                    _register(connection, f"{table}_revised", picture, later)
            for view in views:
                connection.execute(f"CREATE VIEW {view} AS {VIEWS[view]}")
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

    def _without_missing(self, pictures: Mapping[str, Picture]) -> dict[str, Sequence[StoredFile]]:
        """Without the files that a person has removed by hand: the others still answer."""
        kept: dict[str, Sequence[StoredFile]] = {}
        gone = 0
        for table, picture in pictures.items():
            paths = [path_on(file.path) for file in picture.files]
            there = picture.fs.get_file_info(paths) if paths else []
            kept[table] = [f for f, info in zip(picture.files, there, strict=True) if info.is_file]
            gone += len(picture.files) - len(kept[table])
        if gone:
            get_logger().warning("stored_files_are_gone", files=gone, lake=self._files.lake.where)
        return kept


def views_in(query: str) -> list[str]:
    """The views that the query may name: it holds the word."""
    words = set(_WORD.findall(query.lower()))
    return [view for view in VIEWS if view in words]


def _register(
    connection: Any,
    name: str,
    picture: Picture,
    files: Sequence[StoredFile],
    watched: Watched | None = None,
) -> None:
    """Make the rows of these files a view; a column that a file does not have is null in its rows. Times stand first.

    `watched` is given the table's name and its rows as a data set, and gives what is read instead."""
    table, schema = picture.table, picture.schema()
    columns = [*TIMES[table], *(n for n in schema.names if n not in TIMES[table])]
    if "receipt" in columns:
        columns.append(columns.pop(columns.index("receipt")))
    paths = [path_on(file.path) for file in files]
    local = isinstance(picture.fs, pyarrow.fs.LocalFileSystem)
    if files and local and watched is None and not any(_PATTERN.search(path) for path in paths):
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {', '.join(map(_name, columns))} "  # noqa: S608  (our own names, quoted)
            f"FROM read_parquet({_list(paths)}, schema = {_mapped(schema, picture.ids)})"
        )
        return
    rows: Any = schema.empty_table()
    if files:
        rows = ds.FileSystemDataset.from_paths(
            paths, schema=schema, format=ds.ParquetFileFormat(), filesystem=picture.fs
        )
        if watched is not None:
            rows = watched(table, rows)
    connection.register(f"{name}_arrow", rows)
    times = [f"{_name(n)}::TIMESTAMP AS {_name(n)}" if n in TIMES[table] else _name(n) for n in columns]
    connection.execute(f"CREATE VIEW {name} AS SELECT {', '.join(times)} FROM {name}_arrow")  # noqa: S608


def _mapped(schema: pa.Schema, ids: Mapping[str, int]) -> str:
    """The columns for DuckDB, by the ids that they have in the files: none is opened to learn its schema."""
    columns = (
        f"{ids[f.name]}: {{name: {_text(f.name)}, type: {_text(_type(f.type))}, default_value: NULL}}"
        for f in schema
    )
    return f"MAP {{{', '.join(columns)}}}"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{_name(child.name)} {_type(child.type)}' for child in kind)})"
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    return _TYPES[kind]


_TYPES = {
    pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN", pa.date32(): "DATE", TIME: "TIMESTAMP",
}  # fmt: skip


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bound(connection: Any, query: str) -> Any:
    """The query, bound but not run: its rows then stream."""
    try:
        return connection.sql(query)
    except duckdb.Error:
        connection.execute(query)  # fails alike, and its message carries the caret
        raise


def _file_is_gone(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or any(
        words in str(error) for words in ("No such file or directory", "No files found that match")
    )
