"""What a query reads: the files, row groups and rows of each table that its conditions leave, of how many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from marketpulse.catalog.visible import StoredFile, path_on
from marketpulse.ports import SqlScan
from marketpulse.query.plan import FileScan, Plan


@dataclass(frozen=True, slots=True)
class Scan(SqlScan):
    """One reading of a table, which can say itself in a line."""

    def line(self) -> str:
        asked = f" where {self.condition}" if self.condition else ""
        rows = "" if self.rows is None else f", {self.rows:,} of {self.rows_in_all:,} rows"
        return (
            f"{self.table}: {self.files:,} of {self.files_in_all:,} files, {self.row_groups:,} of "
            f"{self.row_groups_in_all:,} row groups{rows}, {self.columns} columns{asked}"
        )


@dataclass(slots=True)
class Reading:
    """Collects what one query reads: of files that DuckDB opens by its plan, of others by data sets that tell."""

    scans: list[Scan] = field(default_factory=list)
    _tables: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # by path: table, files, rows
    _left_out: dict[str, tuple[int, int]] = field(default_factory=dict)  # tables of which no file is read

    def chosen(self, table: str, files: Sequence[StoredFile], in_all: Sequence[StoredFile]) -> None:
        """These files of a table are given to DuckDB, of so many."""
        rows = sum(file.rows for file in in_all)
        self._tables |= {path_on(file.path): (table, len(in_all), rows) for file in files}
        if in_all and not files:
            self._left_out[table] = len(in_all), rows

    def watched(self, table: str, rows: Any) -> Any:
        """A data set that tells of its scans; a table in memory stays as it is."""
        return _Watched(table, rows, self.scans) if isinstance(rows, ds.Dataset) else rows

    def lines(self, plan: Plan) -> list[str]:
        return [scan.line() for scan in self.all(plan)] or ["no file was read"]

    def all(self, plan: Plan) -> list[Scan]:
        """Each reading of a table, those of which no file was read too."""
        scans = [found for scan in plan.scans() if (found := self._scan(scan)) is not None]
        read = {scan.table for scan in scans}
        scans += [
            Scan(table, 0, "", 0, files, 0, 0, 0, rows)
            for table, (files, rows) in self._left_out.items()
            if table not in read
        ]
        return [*scans, *self.scans]

    def _scan(self, scan: FileScan) -> Scan | None:
        known = next((self._tables[path] for path in self._tables if scan.first.startswith(path)), None)
        if known is None:
            return None
        table, files, rows = known
        return Scan(
            table, scan.columns, scan.condition, scan.files, files, scan.row_groups, scan.row_groups_in_all, scan.rows, rows
        )  # fmt: skip


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
    """Of each file: whether it is read, how many of its row groups are, of how many (0 of one that is not read)."""
    kept = {fragment.path for fragment in rows.get_fragments(filter=condition)} if condition is not None else None
    for fragment in rows.get_fragments():
        if kept is not None and fragment.path not in kept:
            yield False, 0, 0
            continue
        in_all = len(fragment.row_groups)
        read = in_all if condition is None else len(fragment.subset(filter=condition).row_groups)
        yield read > 0, read, in_all
