"""Which small files become one. Pure: files in, merges out.

A flush every ten seconds leaves thousands of small files a day. FILES_MAX files of one size class
are merged, so a partition's day keeps fewer than that of a class, what is rewritten again and again
is small, and a file that has grown beyond the last class is never touched again.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from marketpulse.model.commit_log import StoredFile
from marketpulse.sinks.filing import rows_by_day, sparse_days

FILES_MAX = 16
CLASS_BYTES = (256 * 1024, 4 * 1024 * 1024)  # upper ends; a file above the last has a sensible size
MERGES_MAX = 8  # of one flush, so that it stays short; the next one goes on


@dataclass(frozen=True, slots=True)
class Merge:
    """Files, oldest first, whose rows move into one file of `period`."""

    table: str
    period: str
    sources: tuple[StoredFile, ...]

    @property
    def span(self) -> tuple[int, int]:
        return min(f.first_offset for f in self.sources), max(f.next_offset for f in self.sources)


def plan(files: Iterable[StoredFile]) -> list[Merge]:
    """The merges that are due among one partition's files; at most MERGES_MAX, none on most calls."""
    by_table: dict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        by_table[file.table].append(file)
    merges: list[Merge] = []
    for table, own in sorted(by_table.items()):
        yearly = _into_years(table, own)
        taken = {f.path for merge in yearly for f in merge.sources}
        merges += yearly + _by_size(table, [f for f in own if f.path not in taken])
    return merges[:MERGES_MAX]


def _into_years(table: str, files: list[StoredFile]) -> list[Merge]:
    """Days with few rows that have gathered move into their year's file."""
    days = sparse_days(rows_by_day(files))
    merges = []
    for year in sorted({day[:4] for day in days}):
        small_years = [f for f in files if f.period == year and f.size_bytes < CLASS_BYTES[0]]
        sources = [f for f in files if f.period in days and f.period[:4] == year] + small_years
        merges.append(Merge(table, year, _oldest_first(sources)))
    return merges


def _by_size(table: str, files: list[StoredFile]) -> list[Merge]:
    groups: dict[tuple[str, int], list[StoredFile]] = defaultdict(list)
    for file in files:
        size_class = sum(file.size_bytes >= end for end in CLASS_BYTES)
        if size_class < len(CLASS_BYTES):
            groups[file.period, size_class].append(file)
    return [
        Merge(table, period, _oldest_first(group))
        for (period, _), group in sorted(groups.items())
        if len(group) >= FILES_MAX
    ]


def _oldest_first(files: list[StoredFile]) -> tuple[StoredFile, ...]:
    return tuple(sorted(files, key=lambda f: f.first_offset))
