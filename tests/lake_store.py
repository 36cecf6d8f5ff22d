"""A lake in a directory of its own: filled row by row through the sink, and read by pyiceberg on its own catalogue."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from marketpulse.catalog import open_lake, open_visible
from marketpulse.clock import ManualClock
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks import open_sink
from marketpulse.sinks.lake_chores import Chores
from sink_stores import Row, Store

_BAR = ("symbol", "timeframe", "open_time_ns")
_KEYS = {"bars": _BAR, "indicators": _BAR, "alerts": ("symbol", "rule", "event_time_ns")}
_TIMES = {"event_time", "open_time", "close_time"}


class LakeStore(Store):
    """The place of one lake."""

    name = "lake"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._away = directory.with_name(directory.name + ".away")

    def section(self) -> Mapping[str, Any]:
        return {"url": str(self.directory)}

    def history(self, table: str) -> list[Row]:
        """Every row of the table, as a reader that knows nothing of us sees it."""
        return iceberg_rows(SqlCatalog("marketpulse", uri=f"sqlite:///{self.directory}/catalog.db"), table)

    def rows(self, table: str) -> list[Row]:
        return current(table, self.history(table))

    def stop(self) -> None:
        """Something else stands where the directory was, as when a disk is not mounted."""
        self.directory.rename(self._away)
        self.directory.write_text("")

    def start(self) -> None:
        self.directory.unlink()
        self._away.rename(self.directory)


def iceberg_rows(catalog: Any, table: str, namespace: str = "marketpulse") -> list[Row]:
    """The table's rows by pyiceberg's own scan, under the contract's names."""
    try:
        found = catalog.load_table((namespace, table)).scan().to_arrow()
    except (NoSuchTableError, NoSuchNamespaceError):
        return []
    times = [name for name in found.column_names if name in _TIMES]
    for row in found.to_pylist():
        for name in times:
            assert row[name] is None or round(row[name].timestamp() * 1e6) == row[f"{name}_ns"] // 1_000
    rows: list[Row] = found.drop_columns(times).to_pylist()
    return rows


def current(table: str, rows: list[Row]) -> list[Row]:
    """The last revision of each, without those that are withdrawn."""
    if table not in _KEYS:
        return rows
    newest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row["revision"] or 0):
        newest[tuple(row[name] for name in _KEYS[table])] = row
    return [row for row in newest.values() if row.get("close", 1) is not None and row.get("state") != "withdrawn"]


@pytest.fixture
def lake_store(tmp_path: Path) -> Iterator[LakeStore]:
    store = LakeStore(tmp_path / "a lake")
    yield store
    shutil.rmtree(store.directory, ignore_errors=True)


NOW_NS = 1_715_000_000 * 10**9
_LATER_NS = 10**18  # behind every file's time on the disk


class LakeRows:
    """One lake, and the end of its one partition."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.end = 0

    def add(self, table: str, rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> list[str]:
        """Store rows of a table, with these indicators; the paths of the files that hold them."""
        schema = indicators_schema(list(columns)) if table == "indicators" else TABLES[table][1]
        sink = open_sink(self.settings, "lake", ManualClock(NOW_NS + self.end * 10**9))
        before = set(self.files(table))
        batch = pa.RecordBatch.from_pylist(list(rows), schema=schema)
        sink.write(SinkBatch(table, TABLES[table][0], 0, self.end, self.end + 1, batch))
        sink.flush()
        sink.close()
        self.end += 1
        return [path for path in self.files(table) if path not in before]

    def files(self, table: str) -> list[str]:
        """The visible files, oldest first."""
        return [file.path for file in open_visible(self.settings).read([table])[table].files]

    def chores(self, now_ns: int = 0) -> Chores:
        """As a process does them that has just started, now or at this time."""
        import time

        return Chores(open_lake(self.settings), self.settings, ManualClock(now_ns or time.time_ns()))

    def merge(self, table: str) -> None:
        """Make one file of a table's, and remove the others from the disk."""
        self.chores().compact(table)
        self.chores(_LATER_NS * 2).expire(table)

    @property
    def root(self) -> Path:
        return Path(self.settings.lake_url())
