"""Frames of nothing but plain trades, as nearly all are: checked and written in one pass over the rows."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.kafka import columns as into
from marketpulse.kafka.columns import Columns
from marketpulse.kafka.frame_columns import Checked, FrameColumns, Mask
from marketpulse.kafka.market_contract import Rule
from marketpulse.model.market import (
    ABSENT,
    EARLIEST_TIME_NS,
    LATEST_TIME_NS,
    NOT_ASKED,
    PRICE_MAX,
    SIZE_MAX,
    Floats,
    Ids,
    Ints,
    Kind,
)

_TRADE = int(Kind.TRADE)


def take_trades(fields: FrameColumns, n: int, columns: Columns) -> Mask | None:
    """Write the n rows, all but their places in the log; returns which of them look odd. None, and nothing is
    written, when the frame is not so plain: other kinds, other types, or fields that only some rows have."""
    texts, kinds = fields.texts("type")
    if texts != ["trade"] or kinds.min(initial=0) < 0 or not fields.lacks("conditions"):
        return None
    price, size = fields.plain("price", pa.float64()), fields.plain("size", pa.float64())
    times = fields.plain("event_time_ns", pa.int64())
    symbol, source = fields.checked("symbol", Rule.SYMBOL), fields.checked("source", Rule.NAME)
    if price is None or size is None or times is None or symbol is None or source is None:
        return None
    has_ingested = not fields.lacks("ingest_time_ns")
    ingested = fields.plain("ingest_time_ns", pa.int64()) if has_ingested else _missing(n)
    venue = _everywhere(fields, "venue", fields.checked("venue", Rule.NAME), n)
    starts = _everywhere(fields, "trade_id", fields.held("trade_id"), n)
    lengths = _everywhere(fields, "trade_id", fields.held("trade_id.length"), n)
    if ingested is None or venue is None or starts is None or lengths is None:
        return None
    odd = np.empty(n, np.bool_)
    _take(
        symbol.values, source.values, venue, times, has_ingested, ingested, price, size, starts, lengths,
        columns.floats, columns.longs, columns.ids, columns.flags, odd,
    )  # fmt: skip
    return odd


def _everywhere(fields: FrameColumns, name: str, field: Checked | None, n: int) -> NDArray[Any] | None:
    """An optional field that every row has, and rightly, or none has: then it is missing in all; else None."""
    if fields.lacks(name):
        return _missing(n)
    return field.values if field is not None and field.good.all() else None


def _missing(n: int) -> Ints:
    return np.full(n, ABSENT, np.int64)


@bare_kernel
def _take(
    symbol: Ids,
    source: Ids,
    venue: NDArray[Any],
    times: Ints,
    has_ingested: bool,
    ingested: Ints,
    price: Floats,
    size: Floats,
    id_start: Ints,
    id_length: Ints,
    floats: Floats,
    longs: Ints,
    ids: Ids,
    flags: NDArray[np.int8],
    odd: Mask,
) -> None:
    """The columns of n trades into the matrices of Columns (kafka.columns says which row is what)."""
    for i in range(symbol.size):
        time, ingest = times[i], ingested[i]
        odd[i] = not (
            symbol[i] != ABSENT
            and source[i] != ABSENT
            and 0.0 < price[i] <= PRICE_MAX
            and 0.0 <= size[i] <= SIZE_MAX
            and EARLIEST_TIME_NS <= time <= LATEST_TIME_NS
            and (not has_ingested or EARLIEST_TIME_NS <= ingest <= LATEST_TIME_NS)
        )
        floats[into.A, i], floats[into.B, i] = price[i], size[i] + 0.0  # -0.0 becomes 0.0
        floats[into.C, i] = floats[into.D, i] = floats[into.E, i] = floats[into.F, i] = np.nan
        longs[into.EVENT_TIME, i], longs[into.INGEST_TIME, i] = time, ingest
        longs[into.OPEN_TIME, i] = longs[into.CLOSE_TIME, i] = longs[into.TRADE_COUNT, i] = ABSENT
        longs[into.TRADE_ID_START, i], longs[into.LOG_TIME, i] = id_start[i], NOT_ASKED
        ids[into.SYMBOL, i], ids[into.SOURCE, i], ids[into.VENUE, i] = symbol[i], source[i], venue[i]
        ids[into.TIMEFRAME, i] = ids[into.SESSION_DATE, i] = ABSENT
        ids[into.TRADE_ID_LENGTH, i] = id_length[i]
        flags[into.KIND, i], flags[into.FINAL, i] = _TRADE, 1
