"""From decoded batches of `market` to the rows that stores take: trades, quotes, events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.kafka.json_lines import json_rows
from marketpulse.model.market import (
    ABSENT,
    BAR_IN,
    EVENT,
    KIND_OF_TYPE,
    QUOTE,
    TRADE,
    Bytes,
    Ids,
    Ints,
    Kind,
    MarketBatch,
)
from marketpulse.model.tables import with_position

_TYPE_OF_KIND = {int(kind): name for name, kind in KIND_OF_TYPE.items()}
_TYPES = pa.array([_TYPE_OF_KIND[kind] for kind in range(len(Kind))], pa.string())
_ENCODED = pa.dictionary(pa.int32(), pa.string())

Rows = Ints | slice
"""Which rows of a batch: their places, or a stretch of them."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """The batch's interned strings; `encoded`: columns of them stay numbers with a dictionary."""

    all: pa.Array
    encoded: bool = False

    def column(self, ids: Ids) -> pa.Array:
        """The texts of these ids; null where there is none."""
        if not self.encoded:
            return self.all.take(pa.array(ids, mask=ids == ABSENT))
        one = int(ids[0])
        if (ids == one).all():
            return pa.nulls(len(ids), _ENCODED) if one == ABSENT else self.same(self.all[one].as_py(), len(ids))
        absent = ids == ABSENT
        return pa.DictionaryArray.from_arrays(pa.array(ids.copy(), mask=absent if absent.any() else None), self.all)

    def same(self, text: str, n: int) -> pa.Array:
        """n times this text."""
        if not self.encoded:
            return pa.repeat(text, n)
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text], pa.string()))


def to_tables(batch: MarketBatch, *, encoded: bool = False) -> dict[str, pa.RecordBatch]:
    """The batch's rows by table, each in the order of the log, with their position behind them.

    `trades` and `quotes` by their fields; `events` holds the rest as JSON text (a source's bars
    among them). Heartbeats and clocks are dropped. Tables without rows are left out.
    With `encoded`, the names in them (symbol, source, topic …) are dictionaries of texts: cheaper where that will do.
    """
    tables: dict[str, pa.RecordBatch] = {}
    strings = _Texts(pa.array(batch.strings.texts(), pa.string()), encoded)
    if (trades := _chosen(batch.kind == Kind.TRADE)) is not None:
        tables["trades"] = _with_position(_trades(batch, strings, trades), TRADE, batch, strings, trades)
    if (quotes := _chosen(batch.kind == Kind.QUOTE)) is not None:
        tables["quotes"] = _with_position(_quotes(batch, strings, quotes), QUOTE, batch, strings, quotes)
    events = np.flatnonzero((batch.kind == Kind.BAR) | (batch.kind > Kind.CLOCK))
    if len(events):
        tables["events"] = _with_position(_events(batch, strings, events), EVENT, batch, strings, events)
    return tables


def _chosen(where: NDArray[np.bool_]) -> Ints | slice | None:
    """The rows where this holds: all of them as a slice, which takes a copy and no search; None where there is none."""
    if where.all():
        return slice(0, len(where)) if len(where) else None
    return np.flatnonzero(where) if where.any() else None


def row_as_json(batch: MarketBatch, row: int) -> bytes:
    """One row of the batch as its JSON object (fields that the contract does not name are gone)."""
    kind = int(batch.kind[row])
    if kind > Kind.CLOCK:
        return orjson.dumps(batch.rare[row])
    strings, rows = _Texts(pa.array(batch.strings.texts(), pa.string())), np.array([row])
    columns: dict[int, Any] = {Kind.TRADE: _trades, Kind.QUOTE: _quotes, Kind.BAR: _bars}
    fields = columns.get(kind, _head)(batch, strings, rows)
    return json_rows(pa.RecordBatch.from_pydict(fields), nulls=False)[0]


def _head(batch: MarketBatch, strings: _Texts, rows: Rows) -> dict[str, Any]:
    return {
        "type": _kinds(batch.kind[rows], strings),
        "symbol": strings.column(batch.symbol[rows]),
        "source": strings.column(batch.source[rows]),
        "event_time_ns": _longs(batch.event_time_ns, rows),
    }


def _kinds(kinds: NDArray[np.int8], strings: _Texts) -> pa.Array:
    return _Texts(_TYPES, strings.encoded).column(kinds.astype(np.int32))


def _trades(batch: MarketBatch, strings: _Texts, rows: Rows) -> dict[str, Any]:
    return {
        **_head(batch, strings, rows),
        "venue": strings.column(batch.venue[rows]),
        "price": _values(batch.a, rows),
        "size": _values(batch.b, rows),
        "trade_id": _spans(batch, rows),
        "conditions": _conditions(batch, rows),
        "ingest_time_ns": _longs(batch.ingest_time_ns, rows),
    }


def _quotes(batch: MarketBatch, strings: _Texts, rows: Rows) -> dict[str, Any]:
    return {
        **_head(batch, strings, rows),
        "venue": strings.column(batch.venue[rows]),
        "bid": _values(batch.a, rows),
        "bid_size": _values(batch.b, rows),
        "ask": _values(batch.c, rows),
        "ask_size": _values(batch.d, rows),
        "ingest_time_ns": _longs(batch.ingest_time_ns, rows),
    }


def _bars(batch: MarketBatch, strings: _Texts, rows: Rows) -> dict[str, Any]:
    volume, vwap, day = batch.e[rows], batch.f[rows], batch.session_date[rows]
    return {
        **_head(batch, strings, rows),
        "venue": strings.column(batch.venue[rows]),
        "timeframe": strings.column(batch.timeframe[rows]),
        "open_time_ns": _values(batch.open_time_ns, rows),
        "close_time_ns": _values(batch.close_time_ns, rows),
        "open": _values(batch.a, rows),
        "high": _values(batch.b, rows),
        "low": _values(batch.c, rows),
        "close": _values(batch.d, rows),
        "volume": pa.array(volume, mask=np.isnan(volume)),
        "vwap": pa.array(vwap, mask=np.isnan(vwap)),
        "trade_count": _longs(batch.trade_count, rows),
        "final": pa.array(batch.final[rows] != 0),
        "session_date": pa.array(day, mask=day == ABSENT).cast(pa.date32()),
        "ingest_time_ns": _longs(batch.ingest_time_ns, rows),
    }


BARE_FIELDS: dict[int, Callable[[MarketBatch, Rows], dict[str, Any]]] = {
    int(kind): lambda batch, rows, fields=fields: fields(  # type: ignore[misc]
        batch, _Texts(pa.array(batch.strings.texts(), pa.string())), rows
    )
    for kind, fields in ((Kind.TRADE, _trades), (Kind.QUOTE, _quotes), (Kind.BAR, _bars))
}
"""By kind: the fields of rows of a batch, as the contract names them."""


def _events(batch: MarketBatch, strings: _Texts, rows: Ints) -> dict[str, Any]:
    bodies = np.empty(len(rows), object)
    bars = batch.kind[rows] == Kind.BAR
    if bars.any():
        fields = pa.RecordBatch.from_pydict(_bars(batch, strings, rows[bars]), schema=BAR_IN)
        bodies[bars] = json_rows(fields, nulls=False)
        for place in np.flatnonzero(bars & np.isin(rows, list(batch.rare))).tolist():
            bodies[place] = orjson.dumps({**orjson.loads(bodies[place]), **batch.rare[int(rows[place])]})
    for place in np.flatnonzero(~bars).tolist():
        bodies[place] = orjson.dumps(batch.rare[int(rows[place])])
    return {**_head(batch, strings, rows), "body": pa.array(bodies.tolist(), pa.binary()).cast(pa.string())}


def _with_position(
    fields: dict[str, Any], schema: pa.Schema, batch: MarketBatch, strings: _Texts, rows: Rows
) -> pa.RecordBatch:
    offset = _values(batch.offset, rows)
    columns = {
        **fields,
        "topic": strings.same(batch.topic, len(offset)),
        "partition": pa.array(np.full(len(offset), batch.partition, np.int32)),
        "offset": offset,
        "row": _values(batch.row, rows),
    }
    whole = with_position(schema)
    if strings.encoded:
        whole = pa.schema([f.with_type(columns[f.name].type) for f in whole])
    return pa.RecordBatch.from_pydict(columns, schema=whole)


def _values(column: NDArray[Any], rows: Rows) -> pa.Array:
    """A copy: the batch, which has many more columns, may go."""
    return pa.array(column[rows].copy() if isinstance(rows, slice) else column[rows])


def _longs(column: Ints, rows: Rows) -> pa.Array:
    """The same; null where the value is ABSENT."""
    values = column[rows]
    absent = values == ABSENT
    if absent.all():
        return pa.nulls(len(values), pa.int64())
    return pa.array(values, mask=absent) if absent.any() else _values(column, rows)


def _spans(batch: MarketBatch, rows: Rows) -> pa.Array:
    """The trade ids that the rows' spans point at, copied together as one Arrow array."""
    lengths = batch.trade_id_length[rows]
    there = lengths > 0
    n = len(lengths)
    if not there.any():
        return pa.nulls(n, pa.string())
    whole = bool(there.all())
    ends = np.zeros(n + 1, np.int32)
    np.cumsum(lengths if whole else np.where(there, lengths, 0), out=ends[1:])
    content = np.empty(int(ends[-1]), np.uint8)
    _copy_spans(batch.data, batch.trade_id_start[rows], ends, content)
    buffers = [None if whole else pa.array(there).buffers()[1], pa.py_buffer(ends), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.string(), n, buffers)


@bare_kernel
def _copy_spans(data: Bytes, starts: Ints, ends: Ids, out: Bytes) -> None:
    """The bytes of n spans end to end: span i begins at `starts[i]` in `data`, and lies in [ends[i], ends[i + 1]) of `out`."""
    for i in range(starts.size):
        shift = starts[i] - ends[i]
        for place in range(ends[i], ends[i + 1]):
            out[place] = data[place + shift]


def _conditions(batch: MarketBatch, rows: Rows) -> pa.Array:
    kind, places = TRADE.field("conditions").type, np.arange(len(batch))[rows]
    if not batch.rare:
        return pa.nulls(len(places), kind)
    rare = batch.rare
    return pa.array([rare[row]["conditions"] if row in rare else None for row in places.tolist()], kind)
