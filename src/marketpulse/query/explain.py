"""What a query reads: the files and row groups of each table that its conditions leave, of how many."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from marketpulse.ports import SqlScan


@dataclass(frozen=True, slots=True)
class Scan(SqlScan):
    """One reading of a table, which can say itself in a line."""

    def line(self) -> str:
        asked = f" where {self.condition}" if self.condition else ""
        return (
            f"{self.table}: {self.files:,} of {self.files_in_all:,} files, {self.row_groups:,} of "
            f"{self.row_groups_in_all:,} row groups, {self.columns} columns{asked}"
        )


@dataclass(slots=True)
class Reading:
    """Collects the scans of one query."""

    scans: list[Scan] = field(default_factory=list)

    def watched(self, table: str, rows: Any) -> Any:
        """A data set that tells of its scans; a table in memory stays as it is."""
        return _Watched(table, rows, self.scans) if isinstance(rows, ds.Dataset) else rows

    def lines(self) -> list[str]:
        return [scan.line() for scan in self.scans] or ["no file was read"]


class _Watched(ds.Dataset):  # type: ignore[misc]
    """DuckDB takes any data set, asks its schema, and calls `scanner` with the columns and the condition."""

    def __init__(self, table: str, inner: Any, scans: list[Scan]) -> None:
        self._table, self._inner, self._scans = table, inner, scans

    @property
    def schema(self) -> pa.Schema:
        return self._inner.schema

    def scanner(self, *arguments: Any, **options: Any) -> Any:
        condition = options.get("filter")
        files = groups = all_files = all_groups = 0
        for fragment, read, in_all in _fragments(self._inner, condition):
            all_files += 1
            files += fragment
            groups += read
            all_groups += in_all
        columns = options.get("columns")
        self._scans.append(
            Scan(
                self._table,
                len(self._inner.schema if columns is None else columns),
                "" if condition is None else str(condition),
                files,
                all_files,
                groups,
                all_groups,
            )
        )
        return self._inner.scanner(*arguments, **options)


def _fragments(rows: Any, condition: Any) -> Iterator[tuple[bool, int, int]]:
    """Of each file: whether it is read, how many of its row groups are, of how many."""
    kept = (
        {fragment.path for fragment in rows.get_fragments(filter=condition)}
        if condition is not None
        else None
    )
    for fragment in rows.get_fragments():
        in_all = len(fragment.row_groups)
        if kept is not None and fragment.path not in kept:
            yield False, 0, in_all
            continue
        read = in_all if condition is None else len(fragment.subset(filter=condition).row_groups)
        yield read > 0, read, in_all
