"""Arrow rows of the output topics, read column by column."""

import math
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.errors import ParameterError

BOOK = ("bid", "bid_size", "ask", "ask_size")
PRICES = ("open", "high", "low", "close", "volume", "vwap", "trade_count")


def keys(rows: pa.RecordBatch) -> "Iterable[tuple[str, str]]":
    return zip(rows.column("symbol").to_pylist(), rows.column("timeframe").to_pylist(), strict=True)


def floats(rows: pa.RecordBatch, name: str) -> list[float]:
    column = rows.column(name)
    if column.null_count:
        column = pc.fill_null(column.cast(pa.float64()), math.nan)
    return column.cast(pa.float64()).to_pylist()  # type: ignore[no-any-return]


def bars(
    rows: pa.RecordBatch,
) -> "Iterable[tuple[str, str, int, int, int | None, tuple[float, ...], tuple[str | None, str | None]]]":
    """Symbol, timeframe, open and close time (ns), session date (days), prices, (source, venue)."""
    return zip(
        rows.column("symbol").to_pylist(),
        rows.column("timeframe").to_pylist(),
        rows.column("open_time_ns").to_pylist(),
        rows.column("close_time_ns").to_pylist(),
        rows.column("session_date").cast(pa.int32()).to_pylist(),
        zip(*(floats(rows, name) for name in PRICES), strict=True),
        zip(rows.column("source").to_pylist(), rows.column("venue").to_pylist(), strict=True),
        strict=True,
    )


def books(rows: pa.RecordBatch) -> "list[tuple[float, ...]]":
    """The newest quote of each live row, as BOOK; NaN where its symbol has none."""
    return list(zip(*(floats(rows, name) for name in BOOK), strict=True))


def ties(rows: pa.RecordBatch) -> list[int]:
    """What tells tick bars with one open time apart: the place in the log of their last trade."""
    if "receipt" not in rows.schema.names:
        raise ParameterError(
            "rows of `bars` and `indicators` carry a receipt: read them with the schema of model.rows"
        )
    receipt = rows.column("receipt")
    offsets = receipt.field("last_offset").to_pylist()
    places = receipt.field("last_row").to_pylist()
    return [(offset or 0) << 24 | (place or 0) for offset, place in zip(offsets, places, strict=True)]
