"""Arrow rows of the output topics, read column by column."""

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.errors import ParameterError

BOOK = ("bid", "bid_size", "ask", "ask_size")
PRICES = ("open", "high", "low", "close", "volume", "vwap", "trade_count")


def values(rows: pa.RecordBatch, name: str) -> list[Any]:
    """A column's values; None where there is none. By numpy, which is quicker than Arrow's `to_pylist`."""
    return _values(rows.column(name))


def _values(column: pa.Array) -> list[Any]:
    if column.null_count and not pa.types.is_string(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def keys(rows: pa.RecordBatch) -> "Iterable[tuple[str, str]]":
    return zip(values(rows, "symbol"), values(rows, "timeframe"), strict=True)


def dates(rows: pa.RecordBatch) -> list[int | None]:
    """The session's date, days since 1970; None where a row has none."""
    return _values(rows.column("session_date").cast(pa.int32()))


def floats(rows: pa.RecordBatch, name: str) -> list[float]:
    """NaN where there is no value."""
    column = rows.column(name).cast(pa.float64())
    if column.null_count:
        column = pc.fill_null(column, math.nan)
    return _values(column)


def bars(
    rows: pa.RecordBatch,
) -> "Iterable[tuple[str, str, int, int, int | None, tuple[float, ...], tuple[str | None, str | None]]]":
    """Symbol, timeframe, open and close time (ns), session date (days), prices, (source, venue)."""
    return zip(
        values(rows, "symbol"),
        values(rows, "timeframe"),
        values(rows, "open_time_ns"),
        values(rows, "close_time_ns"),
        dates(rows),
        zip(*(floats(rows, name) for name in PRICES), strict=True),
        zip(values(rows, "source"), values(rows, "venue"), strict=True),
        strict=True,
    )


def books(rows: pa.RecordBatch) -> "list[tuple[float, ...]]":
    """The newest quote of each live row, as BOOK; NaN where its symbol has none."""
    return list(zip(*(floats(rows, name) for name in BOOK), strict=True))


def ties(rows: pa.RecordBatch) -> list[int]:
    """What tells tick bars with one open time apart: the place in the log of their last trade."""
    if "receipt" not in rows.schema.names:
        raise ParameterError("rows of `bars` and `indicators` carry a receipt: read them with the schema of model.rows")
    receipt = rows.column("receipt")
    offsets = receipt.field("last_offset").to_pylist()
    places = receipt.field("last_row").to_pylist()
    return [(offset or 0) << 24 | (place or 0) for offset, place in zip(offsets, places, strict=True)]
