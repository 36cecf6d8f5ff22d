"""Which small files become one. Pure: files in, merges out.

A flush every ten seconds leaves thousands of small files a day. FILES_MAX files of one size class
are merged, so a partition's day keeps fewer than that of a class, what is rewritten again and again
is small, and a file that has grown beyond the last class is never touched again. Where each symbol has
directories of its own, a symbol's day that is over becomes one file, however few it had.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from marketpulse.model.commit_log import StoredFile
from marketpulse.sinks.filing import SETTLED_DAYS, rows_by_day, series_of, sparse_days

FILES_MAX = 16
CLASS_BYTES = (256 * 1024, 4 * 1024 * 1024)  # upper ends; a file above the last has a sensible size
MERGES_MAX = 8  # of one flush, so that it stays short; the next one goes on …
SERIES_PER_MERGE = 8  # … but of many series more are due at a time: with fewer than this it would fall behind


@dataclass(frozen=True, slots=True)
class Merge:
    """Files, oldest first, whose rows move into one file of `period`."""

    table: str
    period: str
    sources: tuple[StoredFile, ...]
    series: str = ""  # filing.Place's

    @property
    def span(self) -> tuple[int, int]:
        return min(f.first_offset for f in self.sources), max(f.next_offset for f in self.sources)


def plan(files: Iterable[StoredFile]) -> list[Merge]:
    """The merges that are due among one partition's files; at most MERGES_MAX of few series, none on most calls."""
    by_series: dict[tuple[str, str], list[StoredFile]] = defaultdict(list)
    for file in files:
        by_series[file.table, series_of(file.path)].append(file)
    merges: list[Merge] = []
    for (table, series), own in sorted(by_series.items()):
        due = _into_years(table, own)
        due += _by_size(table, _without(own, due))
        if series:
            due += _days_over(table, _without(own, due))
        merges += [replace(merge, series=series) for merge in due]
    return merges[: max(MERGES_MAX, len(by_series) // SERIES_PER_MERGE)]


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


def _days_over(table: str, files: list[StoredFile]) -> list[Merge]:
    """Days that lie behind the newest, so that hardly anything joins them, and that have several files."""
    days: dict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        if len(file.period) > len("2024") and file.size_bytes < CLASS_BYTES[-1]:
            days[file.period].append(file)
    if not days:
        return []
    settled = np.datetime64(max(days), "D") - SETTLED_DAYS
    return [
        Merge(table, day, _oldest_first(group))
        for day, group in sorted(days.items())
        if len(group) > 1 and np.datetime64(day, "D") <= settled
    ]


def _without(files: list[StoredFile], merges: list[Merge]) -> list[StoredFile]:
    taken = {file.path for merge in merges for file in merge.sources}
    return [file for file in files if file.path not in taken]


def _oldest_first(files: list[StoredFile]) -> tuple[StoredFile, ...]:
    return tuple(sorted(files, key=lambda f: f.first_offset))
