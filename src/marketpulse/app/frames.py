"""Frames in and out: pandas, Polars or Arrow. What a caller gives comes back as the same kind.

Inside, a time is a whole number of nanoseconds (`open_time_ns`); in a caller's frame it is a timestamp in UTC (`open_time`).
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.model.market import Ints

Kind = Literal["polars", "pandas", "arrow"]

_TIMESTAMPS = {"open_time_ns": "open_time", "close_time_ns": "close_time"}
_UTC_NS = pa.timestamp("ns", "UTC")
_FIELDS = {
    "open",
    "high",
    "low",
    "close",
    "adjclose",
    "volume",
    "price",
    "last",
    "bid",
    "ask",
    "dividends",
    "stocksplits",
}


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """A caller's frame. `rows` are its rows, in its order; `time` is the column of `rows` that was its DatetimeIndex.

    `give_back(table, places, consumed, timezone)` makes a frame of the caller's kind. `places` (n,) names for each row of
    the table the row of the frame that it stands for: its index and its columns but `consumed` come along. None: the table's
    rows are made of several of the frame's; a DatetimeIndex is then the rows' open time, without a zone that of `timezone`.
    """

    rows: pl.DataFrame
    give_back: Callable[[pa.Table, Ints | None, Collection[str], str], Any]
    time: str | None = None


def open_frame(frame: Any, taker: str) -> OpenedFrame:
    """Read a pandas, Polars or Arrow frame. Raises ParameterError for anything else; `taker` begins its sentence."""
    for fits, opened in _OPENERS:
        if fits(frame):
            return opened(frame)
    raise ParameterError(f"{taker} takes a pandas, Polars or Arrow frame, found {type(frame).__name__}")


def as_kind(table: pa.Table, kind: Kind) -> Any:
    """The table as that kind of frame."""
    if kind == "arrow":
        return table
    if kind == "polars":
        return pl.DataFrame(table)
    if kind != "pandas":
        raise ParameterError(f"frame is polars, pandas or arrow, found {kind!r}")
    try:
        return table.to_pandas()
    except ImportError:
        raise EnvironmentProblem("pandas is not installed: pip install 'marketpulse[pandas]', or take another frame") from None  # fmt: skip


def with_timestamps(table: pa.Table) -> pa.Table:
    """`open_time_ns` and `close_time_ns` as timestamps (UTC) `open_time` and `close_time`; other times without a zone are
    marked as the UTC that they are in."""
    columns = [column.cast(_UTC_NS) if name in _TIMESTAMPS else _marked(column) for name, column in zip(table.column_names, table.columns, strict=True)]  # fmt: skip
    return pa.table(columns, [_TIMESTAMPS.get(name, name) for name in table.column_names])


def in_utc(table: pa.Table) -> pa.Table:
    """The table, its times without a zone marked as the UTC that they are in."""
    return pa.table([_marked(column) for column in table.columns], table.column_names)


def _marked(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    return column.cast(pa.timestamp(kind.unit, "UTC")) if pa.types.is_timestamp(kind) and kind.tz is None else column


def with_nanoseconds(rows: pl.DataFrame) -> pl.DataFrame:
    """The reverse, for a frame that we gave (`timeframe`, `open_time` and `close_time`); any other stays as it is."""
    own = {column: name for name, column in _TIMESTAMPS.items()}
    kinds = [rows.schema.get(column) for column in own]
    if "timeframe" not in rows.columns or not all(isinstance(k, pl.Datetime) and k.time_zone == "UTC" for k in kinds):
        return rows
    rows = rows.drop(*own.values(), strict=False)
    return rows.with_columns(pl.col(*own).dt.epoch("ns")).rename(own)


def _open_polars(frame: pl.DataFrame) -> OpenedFrame:
    def give_back(table: pa.Table, places: Ints | None, consumed: Collection[str], _timezone: str) -> pl.DataFrame:
        made = pl.DataFrame(table)
        if places is None:
            return made
        own = [n for n in frame.columns if n not in consumed and n not in made.columns]
        return made.hstack(frame.select(own)[places]) if own else made

    return OpenedFrame(frame, give_back)


def _open_arrow(frame: pa.Table | pa.RecordBatch) -> OpenedFrame:
    def give_back(
        table: pa.Table, places: Ints | None, consumed: Collection[str], _timezone: str
    ) -> pa.Table | pa.RecordBatch:
        taken = [] if places is None else [n for n in frame.schema.names if n not in {*consumed, *table.column_names}]
        for name in taken:
            table = table.append_column(name, frame.column(name).take(pa.array(places)))
        if isinstance(frame, pa.Table):
            return table
        return pa.RecordBatch.from_struct_array(table.combine_chunks().to_struct_array().combine_chunks())

    return OpenedFrame(pl.DataFrame(frame), give_back)


def _open_pandas(frame: Any) -> OpenedFrame:
    """Its index is a column too: the rows' time, where it is a DatetimeIndex, named or not."""
    import pandas as pd

    if frame.columns.nlevels == 2:
        frame = _one_level(frame, pd)
    if frame.columns.nlevels > 1 or not frame.columns.is_unique:
        raise ParameterError(
            "the frame's columns have more than two levels, or one name twice: give each a name of its own"
        )
    columns = {str(name): _polars_column(frame[name]) for name in frame.columns}
    time = None
    for level in range(frame.index.nlevels):
        values, name = frame.index.get_level_values(level), frame.index.names[level]
        dated = isinstance(values, pd.DatetimeIndex)
        if not dated and (name is None or str(name) in columns):
            continue
        column = "index time" if name is None or str(name) in columns else str(name)
        columns[column] = _polars_column(values.to_series())
        time = column if dated else time

    def give_back(table: pa.Table, places: Ints | None, consumed: Collection[str], timezone: str) -> Any:
        made = table.to_pandas()
        if places is not None:
            own = [name for name in frame.columns if str(name) not in {*consumed, *table.column_names}]
            made = pd.concat([made, frame[own].iloc[places].reset_index(drop=True)], axis=1)
            made.index = frame.index[places]
        elif isinstance(frame.index, pd.DatetimeIndex):
            opened = pd.DatetimeIndex(made["open_time"]).rename(frame.index.name).as_unit(frame.index.unit)
            zone = frame.index.tz
            made.index = opened.tz_convert(timezone).tz_localize(None) if zone is None else opened.tz_convert(zone)
        return made

    return OpenedFrame(pl.DataFrame(columns), give_back, time)


def _polars_column(column: Any) -> pl.Series:
    """What Arrow has no type for (mixed objects, times at a fixed offset) as its text."""
    try:
        converted: pl.Series = pl.from_pandas(column)  # type: ignore[assignment]
        return converted
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError):
        return pl.Series([None if value is None or value != value else str(value) for value in column], dtype=pl.String)


def _one_level(frame: Any, pd: Any) -> Any:
    """Rows with a `symbol`, from columns of two levels: the field and the ticker, in either order, as a download of several
    symbols has them. A column with one empty level belongs to every symbol. A symbol's rows without any value are left out."""
    names = [{str(name) for name in frame.columns.get_level_values(level)} for level in (0, 1)]
    fields = [sum(re.sub(r"[^a-z]", "", name.lower()) in _FIELDS for name in level) for level in names]
    if not any(fields):
        raise ParameterError(
            f"the frame's columns have two levels, and neither has prices: {', '.join(sorted(names[0])[:9])}"
        )
    level = int(fields[1] > fields[0])
    shared = [column for column in frame.columns if "" in column]
    parts = []
    for ticker in dict.fromkeys(column[1 - level] for column in frame.columns if "" not in column):
        own = [column for column in frame.columns if column[1 - level] == ticker and "" not in column]
        part = frame[own].dropna(how="all")
        beside = frame.loc[:, shared][frame[own].notna().any(axis=1)]
        part = pd.concat([beside, part], axis=1)
        part.columns = [*("".join(map(str, column)) for column in shared), *(column[level] for column in own)]
        parts.append(part.assign(symbol=str(ticker)))
    return pd.concat(parts)


_OPENERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], OpenedFrame]], ...] = (
    (lambda frame: isinstance(frame, pl.DataFrame), _open_polars),
    (lambda frame: isinstance(frame, pa.Table | pa.RecordBatch), _open_arrow),
    (lambda frame: type(frame).__module__.startswith("pandas") and hasattr(frame, "columns"), _open_pandas),
)
