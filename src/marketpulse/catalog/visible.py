"""Which files of the lake are visible now, and what their manifests say of what is in them."""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs

from marketpulse.catalog.faults import explained
from marketpulse.catalog.lake import Lake, open_lake
from marketpulse.catalog.layout import arrow_schema, beyond
from marketpulse.catalog.offsets import Key, Offsets, held_up_to, positions
from marketpulse.errors import Retryable
from marketpulse.model.tables import TABLES
from marketpulse.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.types import NestedField

ALWAYS = 2**62
CHORE = "marketpulse.chore"
"""In the summary of a snapshot that brings no rows: which chore made it."""
DELETED = "marketpulse.deleted-before."
"""With a timeframe (nothing: of all) a property of a table: retention has deleted rows before that time (ns)."""
_NAME = re.compile(r"(\d{13})-(\d{13})-(rows|merged)-[0-9a-f]{32}\.parquet")
_ATTEMPTS = 4

Bounds = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One visible file. `columns` are those beyond the table's own; a column of them that it lacks was not computed then.
    `lacks` are those of the table's own that it has not. `nulls` counts the rows without a value, where it is known.

    Its rows were flushed between `first_ms` and `last_ms`, by the writer's clock; `merged` says that other files
    had them before. A file of another program tells nothing of this.
    """

    path: str
    table: str
    partition: tuple[Any, ...]
    rows: int
    size_bytes: int
    columns: tuple[str, ...]
    bounds: Bounds = field(repr=False)  # lowest and highest value by column; text is cut to 16 characters, outwards
    first_ms: int = 0
    last_ms: int = ALWAYS
    merged: bool = True
    lacks: tuple[str, ...] = ()
    nulls: Mapping[str, int] = field(default_factory=dict, repr=False)
    data_file: "DataFile | None" = field(default=None, repr=False, compare=False)

    @property
    def revised(self) -> bool:
        """Whether it may hold rows that replace earlier ones."""
        low_high = self.bounds.get("revision")
        return low_high is None or low_high[1] > 0

    def may_hold(self, column: str, low: Any, high: Any) -> bool:
        """Whether a value between these, both ends included, may stand in the column."""
        there = self.bounds.get(column)
        if there is None:
            return True
        return bool(low <= there[1] and high >= there[0])


@dataclass(frozen=True, slots=True)
class Picture:
    """One table at one moment. `deleted`: by timeframe ("": of all), before which time retention has deleted rows."""

    table: str
    files: Sequence[StoredFile]  # oldest flush first
    offsets: Offsets
    snapshot_id: int | None
    committed_ms: int | None  # None: nothing yet
    columns: Sequence[str]  # in the table's order
    ids: Mapping[str, int]  # column -> its id in the files
    fs: Any = field(default=None, repr=False)
    deleted: Mapping[str, int] = field(default_factory=dict)

    def schema(self) -> pa.Schema:
        """Of the rows that the files hold together."""
        return arrow_schema(self.table, beyond(self.table, self.columns))


class VisibleFiles:
    """The reading end. Remembers the manifests that it has read: they never change.

    May be used by several threads.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._pictures: dict[str, Picture] = {}
        self._manifests: dict[str, list[StoredFile]] = {}
        self._lock = threading.Lock()

    def read(self, tables: Iterable[str] = tuple(TABLES)) -> dict[str, Picture]:
        """The tables as they stand now; a missing one has no files. Raises as Lake.table does."""
        with self._lock:
            found = {name: self._picture(name) for name in tables}
            self._pictures |= found
            return found

    def positions(self) -> dict[Key, int]:
        """As last read: by (topic, partition), the next offset that no table fed by it holds."""
        return {key: min(own.values()) for key, own in self._positions().items()}

    def held_up_to(self, topic: str, partition: int) -> int:
        """As last read: before which offset of a partition every row of every table is here."""
        return held_up_to(self._positions().get((topic, partition), {}))

    def _positions(self) -> dict[Key, dict[str, int]]:
        return positions({name: picture.offsets for name, picture in self._pictures.items()})

    def _picture(self, name: str) -> Picture:
        for _ in range(_ATTEMPTS):
            table = self.lake.table(name)
            if table is None:
                columns = arrow_schema(name).names
                return Picture(name, (), Offsets(), None, None, columns, {})
            known = self._pictures.get(name)
            snapshot = table.current_snapshot()
            if (
                known is not None
                and snapshot is not None
                and known.snapshot_id == snapshot.snapshot_id
                and known.columns == [column.name for column in table.schema().fields]
            ):
                return known
            try:
                return self._read(name, table)
            except FileNotFoundError:
                continue  # expired meanwhile
        raise Retryable(f"{self.lake.where}: the files of {name} change faster than they can be read: try again")

    def _read(self, name: str, table: "Table") -> Picture:
        snapshot, schema = table.current_snapshot(), table.schema()
        ids = {column.name: column.field_id for column in schema.fields}
        files: list[StoredFile] = []
        with explained(self.lake.where):
            manifests = [] if snapshot is None else snapshot.manifests(table.io)
            for manifest in manifests:
                files += self._files_of(name, table, manifest)
            fs = filesystem(table)
        return Picture(
            name, sorted(files, key=lambda f: (f.first_ms, f.last_ms, f.path)),
            Offsets.of(table.metadata, f"{self.lake.where}, table {name}"),
            snapshot.snapshot_id if snapshot else None, _committed_ms(table), list(ids), ids, fs,
            {key.removeprefix(DELETED): int(end) for key, end in table.properties.items() if key.startswith(DELETED)},
        )  # fmt: skip

    def _files_of(self, name: str, table: "Table", manifest: "ManifestFile") -> list[StoredFile]:
        key = f"{table.metadata.current_schema_id} {manifest.manifest_path}"
        if key not in self._manifests:
            if len(self._manifests) > 4_096:
                self._manifests.clear()
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            self._manifests[key] = [stored_file(name, table.schema(), e.data_file) for e in entries]
        return self._manifests[key]


def open_visible(settings: Settings) -> VisibleFiles:
    return VisibleFiles(open_lake(settings))


def _committed_ms(table: "Table") -> int | None:
    """When the table's rows were last told of: a chore tells nothing new."""
    newest = snapshot = table.current_snapshot()
    while snapshot is not None and snapshot.summary is not None and snapshot.summary.get(CHORE) is not None:
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.metadata.snapshot_by_id(parent)
    found = snapshot or newest
    return None if found is None else found.timestamp_ms


def file_name(first_ms: int, last_ms: int, unique: str, *, merged: bool) -> str:
    """What a data file is called: when its rows were flushed, and whether it was merged from others."""
    return f"{first_ms:013d}-{last_ms:013d}-{'merged' if merged else 'rows'}-{unique}.parquet"


def stored_file(name: str, schema: "Schema", data_file: "DataFile") -> StoredFile:
    """What the manifest says of a file."""
    from pyiceberg.conversions import from_bytes
    from pyiceberg.types import PrimitiveType

    lower, upper = data_file.lower_bounds or {}, data_file.upper_bounds or {}
    there = data_file.column_sizes or data_file.value_counts
    counted = data_file.null_value_counts or {}
    names, bounds, nulls = [], {}, {}
    for column in schema.fields:
        number = column.field_id
        if not there or any(leaf in there for leaf in _leaves(column)):
            names.append(column.name)
        if number in counted:
            nulls[column.name] = counted[number]
        if isinstance(column.field_type, PrimitiveType) and number in lower and number in upper:
            kind = column.field_type
            bounds[column.name] = (from_bytes(kind, lower[number]), from_bytes(kind, upper[number]))
    match = _NAME.fullmatch(data_file.file_path.rpartition("/")[2])
    told = (int(match[1]), int(match[2]), match[3] == "merged") if match else (0, ALWAYS, True)
    partition = tuple(data_file.partition[i] for i in range(len(data_file.partition)))
    return StoredFile(
        data_file.file_path, name, partition, data_file.record_count, data_file.file_size_in_bytes,
        beyond(name, names), bounds, *told, data_file=data_file, nulls=nulls,
        lacks=tuple(column for column in arrow_schema(name).names if column not in names),
    )  # fmt: skip


def _leaves(column: "NestedField") -> Iterator[int]:
    """The ids of the columns that a file has for it: of what is nested, the innermost."""
    from pyiceberg.types import ListType, StructType

    kind = column.field_type
    if isinstance(kind, StructType):
        for child in kind.fields:
            yield from _leaves(child)
    elif isinstance(kind, ListType):
        yield from _leaves(kind.element_field)
    else:
        yield column.field_id


def filesystem(table: "Table") -> pyarrow.fs.FileSystem:
    """What opens the table's files, by what `path_on` makes of their paths."""
    from pyiceberg.io.pyarrow import PyArrowFileIO

    io = table.io
    if not isinstance(io, PyArrowFileIO):  # a REST catalogue may name another
        io = PyArrowFileIO(io.properties)
    scheme, netloc, _ = PyArrowFileIO.parse_location(table.metadata.location)
    found: pyarrow.fs.FileSystem = io.fs_by_scheme(scheme, netloc)
    return found


def path_on(path: str) -> str:
    """A file's path for its file system."""
    return path.partition("://")[2] if "://" in path else path
