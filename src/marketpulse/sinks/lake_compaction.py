"""Many small files of a partition value become one sorted file: the same rows, and the offsets stay.

Files are merged with their like in size, so a row is written again about once for each factor of eight that its
partition grows. Files whose rows have different indicators stay apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.catalog.faults import explained
from marketpulse.catalog.layout import plain
from marketpulse.catalog.offsets import Offsets
from marketpulse.catalog.visible import CHORE, StoredFile, filesystem, path_on
from marketpulse.errors import Fatal
from marketpulse.sinks.lake_commits import Change, Moved, commit
from marketpulse.sinks.lake_files import discard, write_file
from marketpulse.telemetry import get_logger

if TYPE_CHECKING:
    from pyiceberg.table import Table

FILES_MAX = 8  # of one size in a partition
_SMALLEST = 64 * 1024  # bytes; below, all are of one size
_VALUES_MAX = 6_000_000  # of one merge, rows times columns: they are held in memory, twice while they are sorted

_NAMES = ("type", "symbol", "source", "venue", "topic", "timeframe")


@dataclass(frozen=True, slots=True)
class Merge:
    """These files become one."""

    sources: tuple[StoredFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.sources)


def due(files: Iterable[StoredFile], bytes_max: int, columns: int) -> Iterator[Merge]:
    """The merges that are worth it by now, smallest files first. `columns`: how many the table has."""
    for group in _groups(files, bytes_max):
        by_size: dict[int, list[StoredFile]] = defaultdict(list)
        for file in group:
            by_size[_size_class(file)].append(file)
        for size in sorted(by_size):
            if len(by_size[size]) >= FILES_MAX:
                yield from _filled(by_size[size], bytes_max, columns)


def everything(files: Iterable[StoredFile], bytes_max: int, columns: int) -> Iterator[Merge]:
    """All merges that leave fewer files."""
    for group in _groups(files, bytes_max):
        yield from _filled(group, bytes_max, columns)


def _groups(files: Iterable[StoredFile], bytes_max: int) -> Iterator[list[StoredFile]]:
    """Small files that may stand in one, oldest first."""
    groups: dict[tuple[object, ...], list[StoredFile]] = defaultdict(list)
    for file in files:
        if file.size_bytes < bytes_max / 2:
            groups[file.partition, file.columns].append(file)
    for group in groups.values():
        yield sorted(group, key=lambda f: (f.first_ms, f.last_ms, f.path))


def _filled(files: Sequence[StoredFile], bytes_max: int, columns: int) -> Iterator[Merge]:
    """Runs of these files of about `bytes_max` together."""
    run: list[StoredFile] = []
    for file in files:
        rows, size = sum(f.rows for f in run), sum(f.size_bytes for f in run)
        if run and (size + file.size_bytes > bytes_max or (rows + file.rows) * columns > _VALUES_MAX):
            if len(run) > 1:
                yield Merge(tuple(run))
            run = []
        run.append(file)
    if len(run) > 1:
        yield Merge(tuple(run))


def _size_class(file: StoredFile) -> int:
    return max(0, (file.size_bytes // _SMALLEST).bit_length() + 1) // 2


def merge(table: "Table", name: str, planned: Merge, where: str) -> bool:
    """Do it, in one commit. False, and nothing has changed, when the table has moved on; raises Fatal when a file does
    not hold the rows that the table says."""
    sources = planned.sources
    try:
        rows = read_rows(table, sources, where)
    except FileNotFoundError as error:
        # A person removed old files. The table follows, so that the rest goes on being merged.
        get_logger().warning("stored_file_is_gone", sink="lake", table=name, fault=str(error))
        return forget_missing(table, sources, where)
    if rows.num_rows != planned.rows:
        raise Fatal(
            f"{where}: the files of {name} {sources[0].partition} hold {rows.num_rows} rows, the table says "
            f"{planned.rows}: a file was changed; nothing was merged"
        )
    flushed = (min(f.first_ms for f in sources), max(f.last_ms for f in sources))
    file = write_file(table, name, rows, sources[0].partition, flushed, where, merged=True)
    removed = [f.data_file for f in sources if f.data_file is not None]
    try:
        commit(
            table, Change([file], removed, {CHORE: "compact"}), Offsets.of(table.metadata, where), where,
            lambda _: None,
        )  # fmt: skip
    except Moved:
        discard(table, [file])
        return False
    return True


def read_rows(table: "Table", files: Iterable[StoredFile], where: str) -> pa.Table:
    """The rows of files that have the same columns. Raises FileNotFoundError."""
    with explained(where):
        fs = filesystem(table)
        parts = [_read(path_on(f.path), fs) for f in files]
    return pa.concat_tables([plain(part) for part in parts], promote_options="default")


def _read(path: str, fs: Any) -> pa.Table:
    """One file, names as dictionaries: a text for each row takes twice the memory of all else."""
    with pq.ParquetFile(path, filesystem=fs) as file:
        names = [name for name in _NAMES if name in file.schema_arrow.names]
    return pq.read_table(path, filesystem=fs, partitioning=None, read_dictionary=names)


def forget_missing(table: "Table", files: Sequence[StoredFile], where: str) -> bool:
    """Take those of the files from the table that are not there any more. False when it has moved on."""
    with explained(where):
        there = filesystem(table).get_file_info([path_on(f.path) for f in files])
    gone = [f.data_file for f, info in zip(files, there, strict=True) if info.type.name == "NotFound"]
    try:
        commit(
            table, Change((), [f for f in gone if f is not None], {CHORE: "forget"}),
            Offsets.of(table.metadata, where), where, lambda _: None,
        )  # fmt: skip
    except Moved:
        return False
    return True
