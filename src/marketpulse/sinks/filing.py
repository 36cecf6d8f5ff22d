"""Where a row is filed: `table=trades/date=2024-05-01/market-03-000000001200-000000003400.parquet`.

The name of a flushed file follows from topic, partition and offsets alone; one that was merged from
several names the commit that did it, so that no visible file is ever written over. `date` is the UTC
date of the rows. Only history with few rows a day is filed by year, under the year's first day and
with `-year` in the name: 30 years of daily bars would else be 8,000 files of one row each.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.model.commit_log import StoredFile, partition_name
from marketpulse.model.tables import EVENT_TIME_COLUMN
from marketpulse.model.timeframe import DAY_NS

SPARSE_ROWS = 100  # a day with fewer rows is sparse …
SPARSE_DAYS = 31  # … and more such days of one year share a file,
SETTLED_DAYS = 3  # once they lie this far behind the newest day

_NAME = re.compile(r"(.+-\d{2,})-\d{12,}-\d{12,}(?:-year)?(?:-merged\d+)?\.[a-z.]+")


@dataclass(frozen=True, slots=True)
class Place:
    """What a data file's path says."""

    table: str
    period: str  # a UTC day or a year
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    merged_by: int | None = None  # the number of the commit

    def path(self, suffix: str) -> str:
        by_year = len(self.period) == 4
        date = f"{self.period}-01-01" if by_year else self.period
        name = (
            f"{partition_name(self.topic, self.partition)}-{self.first_offset:012d}-{self.next_offset:012d}"
        )
        year, merged = (
            "-year" if by_year else "",
            "" if self.merged_by is None else f"-merged{self.merged_by}",
        )
        return f"table={self.table}/date={date}/{name}{year}{merged}{suffix}"


def filed_for(path: str) -> str | None:
    """The partition, such as `market-03`, that a data file holds rows of; None for a foreign file."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return match[1] if match and path.startswith("table=") else None


def days_of(table: str, rows: pa.Table, now_ns: int) -> NDArray[np.int64]:
    """The day of each row, counted from 1970-01-01 UTC; shape (n,).

    A table without an event time, and a row without one, is filed under the day of writing.
    """
    column = EVENT_TIME_COLUMN[table]
    if column is None:
        return np.full(rows.num_rows, now_ns // DAY_NS, np.int64)
    times = rows.column(column).fill_null(now_ns).to_numpy()
    return np.asarray(times // DAY_NS, np.int64)


def split_by_period(table: str, rows: pa.Table, now_ns: int) -> dict[str, pa.Table]:
    """The rows by period, each in the order of the log. No rows, no periods."""
    if not rows.num_rows:
        return {}
    days = days_of(table, rows, now_ns)
    unique, place, counts = np.unique(days, return_inverse=True, return_counts=True)
    names = [str(np.datetime64(int(day), "D")) for day in unique]
    yearly = sparse_days(dict(zip(names, counts.tolist(), strict=True)))
    periods = [name[:4] if name in yearly else name for name in names]
    if len(set(periods)) == 1:
        return {periods[0]: rows}
    labels = np.array(periods)[place]
    return {period: rows.filter(pa.array(labels == period)) for period in sorted(set(periods))}


def sparse_days(rows_of_day: Mapping[str, int]) -> set[str]:
    """The days that are better filed by year: settled, with few rows, and many of them in one year."""
    if not rows_of_day:
        return set()
    settled = np.datetime64(max(rows_of_day), "D") - SETTLED_DAYS
    sparse = [d for d, n in rows_of_day.items() if n < SPARSE_ROWS and np.datetime64(d, "D") <= settled]
    crowded = {year for year, n in Counter(d[:4] for d in sparse).items() if n > SPARSE_DAYS}
    return {day for day in sparse if day[:4] in crowded}


def rows_by_day(files: Iterable[StoredFile]) -> dict[str, int]:
    """How many rows the files hold for each day that has files of its own."""
    rows: Counter[str] = Counter()
    for file in files:
        if len(file.period) > 4:
            rows[file.period] += file.rows
    return dict(rows)
