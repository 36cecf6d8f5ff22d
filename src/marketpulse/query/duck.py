"""SQL over the lake, through a DuckDB that can reach nothing but the rows of one snapshot of each table.

Two walls. guard.py lets in one SELECT over the views and functions that only compute. Behind it, the
database has external access off and its configuration locked (databases.py): of all files it may open those
that the snapshots name, no other; no socket and no extension. A lake on S3 comes to it as Arrow data sets that
this process opens.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs

from marketpulse.catalog.visible import Picture, StoredFile, VisibleFiles, open_visible, path_on
from marketpulse.errors import QueryLimit, QueryRefused, Retryable
from marketpulse.model.tables import TABLES
from marketpulse.query.databases import Database, Databases
from marketpulse.query.guard import Checked, Guard
from marketpulse.query.how import AS_IT_IS, How, stopping
from marketpulse.query.pruning import at_the_end, needed, requested_symbols
from marketpulse.query.scan import no_rows, opens, rows_of, shown
from marketpulse.query.stock_data import (
    distinct_symbols,
    in_search_order,
    of_timeframes,
    possible_symbols,
    smallest_timeframes,
)
from marketpulse.query.views import (
    ACTION_KEYS,
    ADJUSTED,
    BARS_AS_STOCK_DATA,
    REVISED,
    TABLE_OF,
    VIEWS,
    adjusted_sql,
    tables_of,
    view_sql,
    views_in,
)
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_MEGABYTE = 1_000_000
_SNAPSHOTS = 4  # a compaction may take files away while they are read: begin again on the new ones


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of one run. `committed_ms` is when the newest commit was made that it has seen; None: there was none."""

    rows: pa.Table
    committed_ms: int | None


class LakeQuery:
    """ports.Query over the lake. Each run sees one snapshot of each table; runs may overlap in threads."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.sql
        self._files: VisibleFiles = open_visible(settings)
        self._guard = Guard(frozenset(VIEWS))
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._spill = Path(tempfile.mkdtemp(prefix=f"sql-{os.getpid()}-", dir=settings.data_dir))
        self._databases = Databases(settings.sql, self._spill)

    def run(self, sql: str, how: How = AS_IT_IS) -> pa.Table:
        """The rows of one SELECT.

        Raises QueryRefused for anything else, for SQL that DuckDB rejects (with its caret), and, as QueryLimit, for
        a query that needs more time or memory than `[sql]` allows; QueryCancelled; Retryable while the lake is away.
        """
        return self.answer(sql, how).rows

    def answer(self, sql: str, how: How = AS_IT_IS) -> Answered:
        """The same, and how old its picture is."""
        query = self._guard.check(sql)
        tables = {table for view in views_in(query.text) for table in tables_of(view)}
        by_id = False
        for attempt in range(1, _SNAPSHOTS + 1):
            pictures = self._files.read(tables)
            files = {table: picture.files for table, picture in pictures.items()}
            if attempt == _SNAPSHOTS:
                files = self._without_missing(pictures)
            try:
                rows = self._answer(_Run(query, pictures, files, how, by_id))
            except FileNotFoundError:
                continue
            except _OtherColumns:
                by_id = True
                continue
            return Answered(rows, max((p.committed_ms for p in pictures.values() if p.committed_ms), default=None))
        raise Retryable("the lake's files change faster than they can be read: try again")

    def close(self) -> None:
        self._databases.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def version(self, tables: Iterable[str] = tuple(TABLES)) -> str:
        """Of what is stored: another one as soon as a query of these tables might see other rows."""
        pictures = self._files.read(tables)
        told = "\n".join(f"{table} {picture.snapshot_id}" for table, picture in sorted(pictures.items()))
        return hashlib.sha256(told.encode()).hexdigest()

    def _answer(self, run: "_Run") -> pa.Table:
        how = run.how
        try:
            with (
                self._databases.lent(run.snapshots(), run.paths()) as (database, connection),
                stopping(connection, self._limits.timeout_s, how.cancelled),
            ):
                run.make_views(database, connection)
                connection.execute("BEGIN TRANSACTION READ ONLY")
                return self._fetch(_bound(connection, how.prefix + run.query.text), how)
        except duckdb.OutOfMemoryException:
            raise QueryLimit(
                f"the query needs more than {self._limits.memory_limit_mb} MB: narrow it, or raise sql.memory_limit_mb"
            ) from None
        except (duckdb.Error, OSError) as error:
            if _file_is_gone(error):
                raise FileNotFoundError(str(error)) from None
            if _has_other_columns(error) and not run.by_id:
                raise _OtherColumns from None
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


@dataclass(frozen=True, slots=True)
class _Run:
    """One query over one snapshot of each table. With `by_id` a file's columns are found by their ids."""

    query: Checked
    pictures: Mapping[str, Picture]
    files: Mapping[str, Sequence[StoredFile]]
    how: How
    by_id: bool

    def snapshots(self) -> Hashable:
        """Another one as soon as other files may be read."""
        whole = all(self.files[name] is picture.files for name, picture in self.pictures.items())
        return (
            tuple((name, picture.snapshot_id) for name, picture in sorted(self.pictures.items())),
            () if whole else tuple(self.paths()),
        )

    def paths(self) -> list[str]:
        return [path_on(file.path) for own in self.files.values() for file in own]

    def make_views(self, database: Database, connection: Any) -> None:
        """The views that the query names, over the files that it can need."""
        for view in views_in(self.query.text):
            if view == "stock_data":
                self._make_stock_data(database, connection)
                continue
            if view in ACTION_KEYS:
                self._make_adjusted(database, connection, view)
                continue
            whole, sql = self._view(connection, view, view)
            self._show(database, connection, view, sql, whole)

    def _view(
        self, connection: Any, view: str, asked: str, columns: Sequence[str] | None = None, name: str = ""
    ) -> tuple[bool, str]:
        """(whether DuckDB opens all its files itself, the SELECT of a view) over the files that the query can need, which
        asks for it as `asked`; conditions on other `columns` leave out none."""
        table, tree = TABLE_OF[view], self.query.tree
        in_all = self.files[table]
        revised = [file for file in in_all if file.revised] if view in REVISED else []
        files = needed(tree, asked, table, in_all, columns)
        if not revised and view == asked:
            files = at_the_end(tree, view, files)
        # What replaces a row has its key; all else in it may be another.
        keys = REVISED.get(view) if columns is None else columns
        later = needed(tree, asked, table, revised, keys)
        own, replacing = (
            self._rows(connection, f"{asked}{name}_{part}", table, some)
            for part, some in (("rows", files), ("later", later))
        )
        if self.how.reading is not None:
            self.how.reading.chosen(table, files, in_all)
        return _opened_by_duckdb(self.pictures[table], in_all), view_sql(view, own, replacing if later else None)

    def _make_stock_data(self, database: Database, connection: Any) -> None:
        """Trades, and the smallest bars of those symbols among the requested that have no trade."""
        whole, sql = self._view(connection, "stock_data", "stock_data")
        in_all = self.files["bars"]
        if symbols := self._symbols_without_trades(connection):
            # Which timeframes a symbol has does not depend on the time that the query asks for.
            _, bars = self._view(connection, "bars", "stock_data", ("symbol",), "_timeframes")
            timeframes = connection.execute(smallest_timeframes(bars, symbols)).fetchall()
            if timeframes:
                _, bars = self._view(connection, "bars", "stock_data", ("symbol", "timestamp"), "_bars")
                sql += BARS_AS_STOCK_DATA.format(bars=bars, smallest=of_timeframes(timeframes))
        elif self.how.reading is not None:
            self.how.reading.chosen("bars", [], in_all)
        self._show(database, connection, "stock_data", sql, whole and _opened_by_duckdb(self.pictures["bars"], in_all))

    def _symbols_without_trades(self, connection: Any) -> set[str]:
        """Of the symbols that the query may ask for those that have bars and no trade, whatever the time of either."""

        def stored_symbols(table: str, files: Sequence[StoredFile], symbols: set[str] | None, name: str) -> set[str]:
            rows = self._rows(connection, f"stock_data_{name}", table, files)
            return {symbol for (symbol,) in connection.execute(distinct_symbols(rows, symbols)).fetchall()}

        tree = self.query.tree
        bars = needed(tree, "stock_data", "bars", self.files["bars"])
        symbols = requested_symbols(tree, "stock_data", "bars")
        if symbols is None:
            symbols = stored_symbols("bars", bars, None, "symbols") if bars else set()
        remaining = possible_symbols(bars, symbols)
        for number, files in enumerate(in_search_order(tree, self.files["trades"])):
            if not remaining:
                break
            if chosen := [file for file in files if possible_symbols([file], remaining)]:
                remaining -= stored_symbols("trades", chosen, remaining, f"trades_{number}")
        return remaining

    def _make_adjusted(self, database: Database, connection: Any, view: str) -> None:
        """A view that reads what was told of splits and dividends."""
        told = [
            file
            for file in needed(self.query.tree, view, "events", self.files["events"], ACTION_KEYS[view])
            if any(file.may_hold("type", kind, kind) for kind in ("split", "dividend"))
        ]
        whole = _opened_by_duckdb(self.pictures["events"], self.files["events"])
        if self.how.reading is not None:
            self.how.reading.chosen("events", told, self.files["events"])
        events = self._rows(connection, f"{view}_events", "events", told)
        if view not in ADJUSTED:
            self._show(database, connection, view, VIEWS[view].format(events=events), whole)
            return
        own_whole, bars = self._view(connection, "bars", view)
        if told:
            closes = (
                self._view(connection, "bars", view, ("symbol", "timeframe"), "_closes")[1]
                if view == "bars_total_return"
                else bars
            )
            bars = adjusted_sql(view, bars, events, closes)
        self._show(database, connection, view, bars, whole and own_whole)

    def _show(self, database: Database, connection: Any, view: str, sql: str, whole: bool) -> None:
        if whole:
            database.show(connection, view, sql)
        else:
            connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")

    def _rows(self, connection: Any, name: str, table: str, files: Sequence[StoredFile]) -> str:
        """A SELECT of these files' rows."""
        picture = self.pictures[table]
        if _opened_by_duckdb(picture, self.files[table]):
            return rows_of(picture, files, by_id=self.by_id)
        return self._registered(connection, name, picture, files)

    def _registered(self, connection: Any, name: str, picture: Picture, files: Sequence[StoredFile]) -> str:
        """A SELECT of these files' rows as a data set."""
        if not files:
            return no_rows(picture)
        rows: Any = ds.FileSystemDataset.from_paths(
            [path_on(file.path) for file in files],
            schema=picture.schema(),
            format=ds.ParquetFileFormat(),
            filesystem=picture.fs,
        )
        if self.how.reading is not None:
            rows = self.how.reading.watched(picture.table, rows)
        connection.register(name, rows)
        return f"SELECT {shown(picture)} FROM {name}"  # noqa: S608  (our own names, quoted)


def _opened_by_duckdb(picture: Picture, files: Sequence[StoredFile]) -> bool:
    """Whether DuckDB opens the files itself: those on a disk, if it can be told their paths."""
    local = picture.fs is None or isinstance(picture.fs, pyarrow.fs.LocalFileSystem)
    return local and opens(path_on(file.path) for file in files)


class _OtherColumns(Exception):
    """A file has not the columns that its manifest tells of."""


def _bound(connection: Any, query: str) -> Any:
    """The query, bound but not run: its rows then stream."""
    try:
        return connection.sql(query)
    except duckdb.Error:
        connection.execute(query)  # fails alike, and its message carries the caret
        raise


def _file_is_gone(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or any(
        words in str(error)
        for words in ("No such file or directory", "No files found that match", '.parquet/**/*.parquet"')
    )


def _has_other_columns(error: Exception) -> bool:
    return "schema mismatch in glob" in str(error)
