"""Frames of nothing but plain trades, as nearly all are: checked and written in one pass over the rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.kafka import columns as into
from marketpulse.kafka.columns import Columns
from marketpulse.kafka.frame_columns import FrameColumns, Mask
from marketpulse.model.market import (
    ABSENT,
    EARLIEST_TIME_NS,
    LATEST_TIME_NS,
    PRICE_MAX,
    SIZE_MAX,
    Floats,
    Ids,
    Ints,
    Kind,
)

_TRADE = int(Kind.TRADE)


@dataclass(frozen=True, slots=True)
class _Names:
    """A column of names as it lies in memory: (n,) each row's place in a list, and that list; None: no row is there."""

    places: Ids
    texts: list[str | None]


def _none(kind: type) -> NDArray[Any]:
    """What stands for a column that is not there; as Arrow's columns, it can only be read."""
    nothing: NDArray[Any] = np.empty(0, kind)
    nothing.flags.writeable = False
    return nothing


_NO_NAMES, _NO_TIMES, _NO_ENDS = _Names(_none(np.int32), []), _none(np.int64), _none(np.int32)


def take_trades(fields: FrameColumns, columns: Columns) -> Mask | None:
    """Write all rows, all but their places in the log; returns which of them look odd. None, and nothing that counts is
    written, when the frames are not so plain: other kinds, other types, or fields that only some rows have."""
    kind, symbol, source = _names(fields, "type"), _names(fields, "symbol"), _names(fields, "source")
    if kind is None or symbol is None or source is None or {*kind.texts} - {None} != {"trade"}:
        return None
    price, size = fields.plain("price", pa.float64()), fields.plain("size", pa.float64())
    times = fields.plain("event_time_ns", pa.int64())
    if price is None or size is None or times is None or not fields.lacks("conditions"):
        return None
    venue = _NO_NAMES if fields.lacks("venue") else _names(fields, "venue")
    ingested = _NO_TIMES if fields.lacks("ingest_time_ns") else fields.plain("ingest_time_ns", pa.int64())
    id_ends = _NO_ENDS if fields.lacks("trade_id") else fields.trade_id_ends()
    if venue is None or ingested is None or id_ends is None:
        return None
    odd = np.empty(len(columns), np.bool_)
    plain = _take(
        symbol.places, fields.ids_of(symbol.texts), source.places, fields.ids_of(source.texts), venue.places,
        fields.ids_of(venue.texts), times, ingested, price, size, id_ends,
        columns.floats, columns.longs, columns.ids, columns.flags, odd,
    )  # fmt: skip
    return odd if plain else None


def _names(fields: FrameColumns, name: str) -> _Names | None:
    """A column of texts that every row has; else None."""
    texts, places = fields.texts(name)
    return _Names(places, texts) if texts and places.min(initial=0) >= 0 else None


@bare_kernel
def _take(
    symbol: Ids,
    symbols: Ids,
    source: Ids,
    sources: Ids,
    venue: Ids,
    venues: Ids,
    times: Ints,
    ingested: Ints,
    price: Floats,
    size: Floats,
    id_ends: Ids,
    floats: Floats,
    longs: Ints,
    ids: Ids,
    flags: NDArray[np.int8],
    odd: Mask,
) -> bool:
    """The columns of n trades into the matrices of Columns (kafka.columns says which row is what). Whether each has a
    right venue and an id, where any has."""
    plain = True
    for i in range(symbol.size):
        time, symbol_id, source_id = times[i], symbols[symbol[i]], sources[source[i]]
        odd[i] = not (
            symbol_id != ABSENT
            and source_id != ABSENT
            and 0.0 < price[i] <= PRICE_MAX
            and 0.0 <= size[i] <= SIZE_MAX
            and EARLIEST_TIME_NS <= time <= LATEST_TIME_NS
        )
        floats[into.A, i], floats[into.B, i] = price[i], size[i] + 0.0  # -0.0 becomes 0.0
        floats[into.C, i] = floats[into.D, i] = floats[into.E, i] = floats[into.F, i] = np.nan
        longs[into.EVENT_TIME, i] = time
        longs[into.OPEN_TIME, i] = longs[into.CLOSE_TIME, i] = longs[into.TRADE_COUNT, i] = ABSENT
        ids[into.SYMBOL, i], ids[into.SOURCE, i] = symbol_id, source_id
        ids[into.TIMEFRAME, i] = ids[into.SESSION_DATE, i] = ABSENT
        flags[into.KIND, i], flags[into.FINAL, i] = _TRADE, 1
        if venue.size:
            ids[into.VENUE, i] = venues[venue[i]]
            plain &= venues[venue[i]] != ABSENT
        else:
            ids[into.VENUE, i] = ABSENT
        if ingested.size:
            longs[into.INGEST_TIME, i] = ingested[i]
            odd[i] |= not EARLIEST_TIME_NS <= ingested[i] <= LATEST_TIME_NS
        else:
            longs[into.INGEST_TIME, i] = ABSENT
        if id_ends.size:
            longs[into.TRADE_ID_START, i] = id_ends[i]
            ids[into.TRADE_ID_LENGTH, i] = id_ends[i + 1] - id_ends[i]
            plain &= id_ends[i + 1] > id_ends[i]
        else:
            longs[into.TRADE_ID_START, i] = ids[into.TRADE_ID_LENGTH, i] = ABSENT
    return plain
