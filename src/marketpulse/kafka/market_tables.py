"""From decoded batches of `market` to the rows that stores take: trades, quotes, events."""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

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


def to_tables(batch: MarketBatch) -> dict[str, pa.RecordBatch]:
    """The batch's rows by table, each in the order of the log, with their position behind them.

    `trades` and `quotes` by their fields; `events` holds the rest as JSON text (a source's bars
    among them). Heartbeats and clocks are dropped. Tables without rows are left out.
    """
    tables: dict[str, pa.RecordBatch] = {}
    strings = pa.array(batch.strings.texts(), pa.string())
    trades = np.flatnonzero(batch.kind == Kind.TRADE)
    if len(trades):
        tables["trades"] = _with_position(_trades(batch, strings, trades), TRADE, batch, trades)
    quotes = np.flatnonzero(batch.kind == Kind.QUOTE)
    if len(quotes):
        tables["quotes"] = _with_position(_quotes(batch, strings, quotes), QUOTE, batch, quotes)
    events = np.flatnonzero((batch.kind == Kind.BAR) | (batch.kind > Kind.CLOCK))
    if len(events):
        tables["events"] = _with_position(_events(batch, strings, events), EVENT, batch, events)
    return tables


def row_as_json(batch: MarketBatch, row: int) -> bytes:
    """One row of the batch as its JSON object (fields that the contract does not name are gone)."""
    kind = int(batch.kind[row])
    if kind > Kind.CLOCK:
        return orjson.dumps(batch.rare[row])
    strings, rows = pa.array(batch.strings.texts(), pa.string()), np.array([row])
    columns: dict[int, Any] = {Kind.TRADE: _trades, Kind.QUOTE: _quotes, Kind.BAR: _bars}
    fields = columns.get(kind, _head)(batch, strings, rows)
    return json_rows(pa.RecordBatch.from_pydict(fields), nulls=False)[0]


def _head(batch: MarketBatch, strings: pa.Array, rows: Ints) -> dict[str, Any]:
    kinds = pa.array([_TYPE_OF_KIND[kind] for kind in range(len(Kind))], pa.string())
    return {
        "type": kinds.take(pa.array(batch.kind[rows])),
        "symbol": _texts(strings, batch.symbol[rows]),
        "source": _texts(strings, batch.source[rows]),
        "event_time_ns": _longs(batch.event_time_ns[rows]),
    }


def _trades(batch: MarketBatch, strings: pa.Array, rows: Ints) -> dict[str, Any]:
    return {
        **_head(batch, strings, rows),
        "venue": _texts(strings, batch.venue[rows]),
        "price": pa.array(batch.a[rows]),
        "size": pa.array(batch.b[rows]),
        "trade_id": _spans(batch, rows),
        "conditions": _conditions(batch, rows),
        "ingest_time_ns": _longs(batch.ingest_time_ns[rows]),
    }


def _quotes(batch: MarketBatch, strings: pa.Array, rows: Ints) -> dict[str, Any]:
    return {
        **_head(batch, strings, rows),
        "venue": _texts(strings, batch.venue[rows]),
        "bid": pa.array(batch.a[rows]),
        "bid_size": pa.array(batch.b[rows]),
        "ask": pa.array(batch.c[rows]),
        "ask_size": pa.array(batch.d[rows]),
        "ingest_time_ns": _longs(batch.ingest_time_ns[rows]),
    }


def _bars(batch: MarketBatch, strings: pa.Array, rows: Ints) -> dict[str, Any]:
    vwap, day = batch.f[rows], batch.session_date[rows]
    return {
        **_head(batch, strings, rows),
        "venue": _texts(strings, batch.venue[rows]),
        "timeframe": _texts(strings, batch.timeframe[rows]),
        "open_time_ns": pa.array(batch.open_time_ns[rows]),
        "close_time_ns": pa.array(batch.close_time_ns[rows]),
        "open": pa.array(batch.a[rows]),
        "high": pa.array(batch.b[rows]),
        "low": pa.array(batch.c[rows]),
        "close": pa.array(batch.d[rows]),
        "volume": pa.array(batch.e[rows]),
        "vwap": pa.array(vwap, mask=np.isnan(vwap)),
        "trade_count": _longs(batch.trade_count[rows]),
        "final": pa.array(batch.final[rows] != 0),
        "session_date": pa.array(day, mask=day == ABSENT).cast(pa.date32()),
        "ingest_time_ns": _longs(batch.ingest_time_ns[rows]),
    }


def _events(batch: MarketBatch, strings: pa.Array, rows: Ints) -> dict[str, Any]:
    bodies = np.empty(len(rows), object)
    bars = batch.kind[rows] == Kind.BAR
    if bars.any():
        fields = pa.RecordBatch.from_pydict(_bars(batch, strings, rows[bars]), schema=BAR_IN)
        bodies[bars] = json_rows(fields, nulls=False)
    for place in np.flatnonzero(~bars).tolist():
        bodies[place] = orjson.dumps(batch.rare[int(rows[place])])
    return {**_head(batch, strings, rows), "body": pa.array(bodies.tolist(), pa.binary()).cast(pa.string())}


def _with_position(
    fields: dict[str, Any], schema: pa.Schema, batch: MarketBatch, rows: Ints
) -> pa.RecordBatch:
    position = {
        "topic": pa.repeat(batch.topic, len(rows)),
        "partition": pa.array(np.full(len(rows), batch.partition, np.int32)),
        "offset": pa.array(batch.offset[rows]),
        "row": pa.array(batch.row[rows]),
    }
    return pa.RecordBatch.from_pydict({**fields, **position}, schema=with_position(schema))


def _texts(strings: pa.Array, ids: Ids) -> pa.Array:
    return strings.take(pa.array(ids, mask=ids == ABSENT))


def _longs(values: Ints) -> pa.Array:
    return pa.array(values, mask=values == ABSENT)


def _spans(batch: MarketBatch, rows: Ints) -> pa.Array:
    """The trade ids that the rows' spans point at, copied together as one Arrow array."""
    lengths = batch.trade_id_length[rows]
    there = lengths > 0
    kept = np.where(there, lengths, 0)
    ends = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(kept, out=ends[1:])
    content = np.empty(int(ends[-1]), np.uint8)
    _copy_spans(batch.data, batch.trade_id_start[rows], ends, content)
    buffers = [pa.array(there).buffers()[1], pa.py_buffer(ends), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.string(), len(rows), buffers)


@bare_kernel
def _copy_spans(data: Bytes, starts: Ints, ends: Ids, out: Bytes) -> None:
    """The bytes of n spans end to end: span i begins at `starts[i]` in `data`, and lies in [ends[i], ends[i + 1]) of `out`."""
    for i in range(starts.size):
        shift = starts[i] - ends[i]
        for place in range(ends[i], ends[i + 1]):
            out[place] = data[place + shift]


def _conditions(batch: MarketBatch, rows: Ints) -> pa.Array:
    kind = TRADE.field("conditions").type
    if not batch.rare:
        return pa.nulls(len(rows), kind)
    rare = batch.rare
    return pa.array([rare[row]["conditions"] if row in rare else None for row in rows.tolist()], kind)
