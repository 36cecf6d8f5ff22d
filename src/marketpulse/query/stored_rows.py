"""The lake's own rows, file by file and unchanged, for who checks them: every revision, with its receipt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from marketpulse.errors import Retryable
from marketpulse.model.commit_log import StoredFile, partition_name
from marketpulse.model.tables import EVENT_TIME_COLUMN
from marketpulse.query.committed import CommittedFiles, open_committed
from marketpulse.settings import Settings

SHAPE = "file_shape"
"""The column that says which of `Stored.shapes` a row's file had."""

_SNAPSHOTS = 4  # a compaction may take files away while they are read: begin again on the new ones
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of one table in the order of the log, with the column SHAPE behind theirs. `shapes[i]` names the
    columns beyond the table's schema that the row's file has: what it lacks was not computed then."""

    rows: pa.Table
    shapes: Sequence[tuple[str, ...]]


ALWAYS = (-(2**62), 2**62)
"""Nanoseconds that every bar opens between."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: those whose time lies in [from_ns, to_ns), of these symbols (None: of all)."""

    from_ns: int
    to_ns: int
    symbols: frozenset[str] | None = None

    def covers(self, period: str) -> bool:
        """Whether a file of this period (a UTC day or a year) may hold such rows."""
        begin = np.datetime64(period)
        span = (
            begin.astype("datetime64[ns]").astype(np.int64),
            (begin + 1).astype("datetime64[ns]").astype(np.int64),
        )
        return bool(span[0] < self.to_ns and span[1] > self.from_ns)

    def among(self, rows: pa.Table, time: str) -> pa.Table:
        """Those of the rows."""
        times = rows.column(time)
        mask = pc.and_(pc.greater_equal(times, self.from_ns), pc.less(times, self.to_ns))
        if self.symbols is not None:
            mask = pc.and_(mask, pc.is_in(rows.column("symbol"), pa.array(sorted(self.symbols), pa.string())))
        return rows.filter(mask)


class StoredRows:
    """Reads the lake by file. Its calls raise what CommittedFiles.read does."""

    def __init__(self, settings: Settings) -> None:
        self._files: CommittedFiles = open_committed(settings.lake_url())

    def files(self) -> dict[str, list[StoredFile]]:
        """The visible files by table, oldest first."""
        return self._files.read()

    def files_of(self, topic: str, partition: int) -> list[StoredFile]:
        """As last listed: the files of one partition of a topic, oldest first."""
        return sorted(self._files.of(partition_name(topic, partition)), key=lambda f: f.next_offset)

    def held_up_to(self, topic: str, partition: int) -> int:
        """As last listed: before which offset of a topic's partition all rows are stored."""
        return self._files.held_up_to(partition_name(topic, partition))

    def table(self, table: str, wanted: Wanted) -> Stored:
        """The rows of a table whose rows have a time (model.tables.EVENT_TIME_COLUMN) and a symbol."""
        time = str(EVENT_TIME_COLUMN[table])

        def collect() -> Stored:
            chosen = [f for f in self.files().get(table, []) if wanted.covers(f.period)]
            return united([(f.columns, wanted.among(self.read(f), time)) for f in chosen])

        return self._whatever_moves(collect)

    def of_partition(self, table: str, topic: str, partition: int) -> pa.Table:
        """All rows of one partition of `market`: trades, or events."""

        def collect() -> pa.Table:
            self.files()
            own = self._files.of(partition_name(topic, partition))
            return united([(f.columns, self.read(f)) for f in own if f.table == table]).rows

        return self._whatever_moves(collect)

    def whole(self, table: str) -> pa.Table:
        """All rows of a table."""

        def collect() -> pa.Table:
            return united([(f.columns, self.read(f)) for f in self.files().get(table, [])]).rows

        return self._whatever_moves(collect)

    def read(self, file: StoredFile) -> pa.Table:
        """One file's rows. Raises FileNotFoundError when a compaction has taken it away."""
        return pq.read_table(self._files.at(file.path), filesystem=self._filesystem(), partitioning=None)

    def _whatever_moves(self, collect: Callable[[], T]) -> T:
        for _ in range(_SNAPSHOTS):
            try:
                return collect()
            except FileNotFoundError as error:
                missing = error
        raise Retryable(
            f"the lake names a file that is not there ({missing}): restore it; while `sink lake` runs, try again"
        )

    def _filesystem(self) -> pa.fs.FileSystem:
        if self._files.local:
            return pa.fs.LocalFileSystem()
        return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(self._files.fs))


def united(parts: Sequence[tuple[tuple[str, ...], pa.Table]]) -> Stored:
    """(columns beyond the schema, rows) of files, as one table; a column that a file lacks is null in its rows."""
    shapes = list(dict.fromkeys(columns for columns, _ in parts))
    tables = [
        rows.append_column(SHAPE, pa.array(np.full(rows.num_rows, shapes.index(columns), np.int32)))
        for columns, rows in parts
    ]
    whole = pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
    return Stored(whole, shapes)
