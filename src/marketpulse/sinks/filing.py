"""Where a row is filed: `table=trades/date=2024-05-01/market-03-000000001200-000000003400.parquet`.

In the layout `symbol/date` each symbol has directories of its own: `table=trades/symbol=AAPL/date=2024-05-01/…`. Then
the path says the symbol, as Hive, Glue, Spark and DuckDB read it, and the file has no such column.

The name of a flushed file follows from topic, partition and offsets alone; one that was merged from
several names the commit that did it, so that no visible file is ever written over. `date` is the UTC
date of the rows. Only history with few rows a day is filed by year, under the year's first day and
with `-year` in the name: 30 years of daily bars would else be 8,000 files of one row each. Rows of long ago that come a few a
day, in no order, share files under 1970-01-01 with `-old` in the name, whatever their days are.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.model.commit_log import StoredFile, partition_name
from marketpulse.model.tables import EVENT_TIME_COLUMN
from marketpulse.model.timeframe import DAY_NS

SPARSE_ROWS = 100  # a day with fewer rows is sparse …
SPARSE_DAYS = 31  # … and more such days of one year share a file,
SETTLED_DAYS = 3  # once they lie this far behind the newest day
OLD, OLD_DAYS, OLD_ROWS = "old", 366, 10  # the period of days this far back, of which a flush has fewer rows than this

Layout = Literal["date", "symbol/date"]

NO_SYMBOL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive's directories say for a missing value."""

BY_DATE_ALONE = ("dead_letters",)  # what was set aside is no series, and its symbol may be anything
_NAME = re.compile(r"(.+-\d{2,})-\d{12,}-\d{12,}(?:-year|-old)?(?:-merged\d+)?\.[a-z.]+")


@dataclass(frozen=True, slots=True)
class Place:
    """What a data file's path says."""

    table: str
    period: str  # a UTC day, a year, or OLD
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    merged_by: int | None = None  # the number of the commit
    series: str = ""  # what stands between table and date: `symbol=AAPL/`, or nothing

    def path(self, suffix: str) -> str:
        date = {3: "1970-01-01", 4: f"{self.period}-01-01"}.get(len(self.period), self.period)
        name = f"{partition_name(self.topic, self.partition)}-{self.first_offset:012d}-{self.next_offset:012d}"
        several, merged = {3: "-old", 4: "-year"}.get(len(self.period), ""), f"-merged{self.merged_by}"
        name += several + ("" if self.merged_by is None else merged)
        return f"table={self.table}/{self.series}date={date}/{name}{suffix}"


def series_directory(symbol: str | None, *, spelt_out: bool = False) -> str:
    """`BTC/USD` -> `symbol=BTC%2FUSD/`. What a path or a reader could mistake is `%` and two hexadecimal digits."""
    if symbol is None:
        return f"symbol={NO_SYMBOL}/"
    if spelt_out or symbol in ("", NO_SYMBOL):
        return f"symbol={''.join(f'%{byte:02X}' for byte in symbol.encode())}/"
    return f"symbol={quote(symbol, safe='')}/"


def series_of(path: str) -> str:
    """`symbol=AAPL/` of a data file's path; nothing where its layout has no symbols."""
    _, _, below = path.partition("/")
    return below[: below.index("/") + 1] if below.startswith("symbol=") else ""


def symbol_of(path: str) -> str | None:
    """The symbol that a data file's path says; None where it says none."""
    text = series_of(path)[len("symbol=") : -1]
    return None if text in ("", NO_SYMBOL) else unquote(text)


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


def split_by_series(table: str, rows: pa.Table, layout: Layout) -> dict[str, pa.Table]:
    """The rows by their directory between table and date, each in the order of the log. No rows, no directories."""
    if not rows.num_rows:
        return {}
    if layout == "date" or table in BY_DATE_ALONE:
        return {"": rows}
    codes = rows.column("symbol").combine_chunks().dictionary_encode()
    symbols = [*codes.dictionary.to_pylist(), None]
    which = codes.indices.fill_null(len(symbols) - 1).to_numpy(zero_copy_only=False)
    ordered = rows.drop_columns(["symbol"]).take(pa.array(np.argsort(which, kind="stable")))
    parts: dict[str, pa.Table] = {}
    begin, lower = 0, set()
    for symbol, count in zip(symbols, np.bincount(which, minlength=len(symbols)).tolist(), strict=True):
        if count:
            directory = series_directory(symbol)
            if directory.lower() in lower:  # a file system that ignores case would put one over the other
                directory = series_directory(symbol, spelt_out=True)
            lower.add(directory.lower())
            parts[directory] = ordered.slice(begin, count)
            begin += count
    return parts


def split_by_period(table: str, rows: pa.Table, now_ns: int) -> dict[str, pa.Table]:
    """The rows by period, each in the order of the log. No rows, no periods."""
    if not rows.num_rows:
        return {}
    days = days_of(table, rows, now_ns)
    unique, place, counts = np.unique(days, return_inverse=True, return_counts=True)
    names = [str(np.datetime64(int(day), "D")) for day in unique]
    yearly = sparse_days(dict(zip(names, counts.tolist(), strict=True)))
    old = (counts < OLD_ROWS) & (unique < now_ns // DAY_NS - OLD_DAYS)
    periods = [
        name[:4] if name in yearly else OLD if is_old else name
        for name, is_old in zip(names, old.tolist(), strict=True)
    ]
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
