"""A lake in a directory of its own, as its own library reads it: pyiceberg, on a catalogue that it opens itself."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

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
