"""Arrow frames of `market`: many rows of one partition in one record's value, read as columns.

A frame is the bytes of an Arrow IPC stream whose columns are named as the contract's fields. The
vectorised checks let in what is plainly right; a row that looks odd to them goes to the authority.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from marketpulse.kafka.columns import (
    CLOSE_TIME,
    EVENT_TIME,
    FINAL,
    INGEST_TIME,
    KIND,
    OFFSET,
    OPEN_TIME,
    ROW,
    SESSION_DATE,
    SOURCE,
    SYMBOL,
    TIMEFRAME,
    TRADE_COUNT,
    TRADE_ID_LENGTH,
    TRADE_ID_START,
    VENUE,
    Columns,
)
from marketpulse.kafka.frame_columns import FrameColumns, Mask
from marketpulse.kafka.frame_trades import take_trades
from marketpulse.kafka.market_contract import CONTRACT, Refused
from marketpulse.kafka.one_record import FLOATS, Writer, read_object
from marketpulse.model.market import KIND_OF_TYPE, Ints, Kind, StringTable


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that cannot be used: which frame it is of, its number there, why, and the row as JSON."""

    frame: int
    row: int
    refusal: Refused
    shown: bytes


_LONGS = (
    (EVENT_TIME, "event_time_ns"),
    (INGEST_TIME, "ingest_time_ns"),
    (OPEN_TIME, "open_time_ns"),
    (CLOSE_TIME, "close_time_ns"),
    (TRADE_COUNT, "trade_count"),
)
_IDS = (
    (SYMBOL, "symbol"),
    (SOURCE, "source"),
    (VENUE, "venue"),
    (TIMEFRAME, "timeframe"),
    (SESSION_DATE, "session_date"),
)


def read_frames(tables: Sequence[pa.Table], offsets: Ints, strings: StringTable) -> tuple[Columns, list[RefusedRow]]:
    """The good rows of frames that have one schema, with their places in the log, and the refused ones; `offsets` are
    those of the frames' records. Many small frames cost what one large one does."""
    table = pa.concat_tables(tables).unify_dictionaries()
    begins = np.cumsum([0, *(part.num_rows for part in tables)])
    fields = FrameColumns(table, strings)
    columns = Columns.undefined(table.num_rows, fields.trade_id_bytes())
    odd = take_trades(fields, columns)
    if odd is None:
        odd = _take_any(fields, table.num_rows, columns)
    for begin, end, offset in zip(begins[:-1].tolist(), begins[1:].tolist(), offsets.tolist(), strict=True):
        columns.longs[OFFSET, begin:end] = offset
        columns.ids[ROW, begin:end] = np.arange(end - begin)
    if not odd.any():
        return columns, []
    kept = np.ones(table.num_rows, np.bool_)
    refused = []
    for row, refusal, shown in _take_odd(np.flatnonzero(odd), table, columns, strings):
        kept[row] = False
        frame = int(np.searchsorted(begins, row, side="right")) - 1
        refused.append(RefusedRow(frame, row - int(begins[frame]), refusal, shown))
    return (columns.taken(np.flatnonzero(kept)) if refused else columns), refused


def _take_any(fields: FrameColumns, n: int, columns: Columns) -> Mask:
    """Write the n rows, of whatever kinds, all but their places in the log; returns which of them look odd."""
    columns.blank(slice(None))
    fields.hold_trade_ids()
    kinds = _kinds(fields)
    columns.flags[KIND] = kinds
    odd: Mask = kinds < 0
    for kind in (Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.HEARTBEAT, Kind.CLOCK):
        rows = kinds == kind
        if rows.any():
            odd |= rows & ~_good_rows(kind, fields, n)
            _write(kind, rows, fields, columns)
    return odd


def _kinds(fields: FrameColumns) -> Ints:
    """(n,) the hot kind of each row; -1 for rare and unknown ones."""
    texts, places = fields.texts("type")
    hot = [KIND_OF_TYPE.get(text or "", Kind.CONTROL) for text in texts]
    of_text = np.array([int(kind) if kind <= Kind.CLOCK else -1 for kind in hot] + [-1], np.int64)
    return of_text[places]


def _good_rows(kind: Kind, fields: FrameColumns, n: int) -> Mask:
    good = np.ones(n, np.bool_)
    for name, (rule, required) in CONTRACT[kind].items():
        field = fields.checked(name, rule)
        if field is None:
            if required:
                return np.zeros(n, np.bool_)
        else:
            good &= field.good if required else field.good | ~field.present
    return good & _good_bars(fields) if kind == Kind.BAR else good


def _good_bars(fields: FrameColumns) -> Mask:
    good = fields.values("low") <= fields.values("high")
    opened, closed = fields.held("open_time_ns"), fields.held("close_time_ns")
    if opened is None or closed is None:
        return np.zeros_like(good)  # bars of a date only are the authority's
    return good & opened.present & closed.present & (opened.values < closed.values)


def _write(kind: Kind, rows: Mask, fields: FrameColumns, columns: Columns) -> None:
    """Write the kind's fields to the columns, where they are present."""
    everything = bool(rows.all())

    def put(target: Any, name: str) -> None:
        if name.partition(".")[0] in CONTRACT[kind] and (field := fields.held(name)) is not None:
            where = rows & field.present
            if everything and field.present.all():
                target[:] = field.values
            else:
                target[where] = field.values[where]

    for column, name in FLOATS.get(kind, ()):
        put(columns.floats[column], name)
    for column, name in _LONGS:
        put(columns.longs[column], name)
    for column, name in _IDS:
        put(columns.ids[column], name)
    if kind == Kind.BAR:
        put(columns.flags[FINAL], "final")
    if kind == Kind.TRADE:
        put(columns.longs[TRADE_ID_START], "trade_id")
        put(columns.ids[TRADE_ID_LENGTH], "trade_id.length")
        columns.rare.update(fields.conditions(rows))


def _take_odd(rows: Ints, table: pa.Table, columns: Columns, strings: StringTable) -> list[tuple[int, Refused, bytes]]:
    """Ask the authority about each of these rows; returns those that it refuses, with the row as JSON."""
    refused: list[tuple[int, Refused, bytes]] = []
    writer = Writer(columns, strings)
    for row, cells in zip(rows.tolist(), table.take(rows).to_pylist(), strict=True):
        record = _record(cells)
        columns.rare.pop(row, None)
        try:
            writer.take(row, read_object(record["body"].encode()) if _is_event(record) else record)
        except Refused as refusal:
            refused.append((row, refusal, orjson.dumps(record, default=str)))
    writer.finish()
    return refused


def _is_event(record: dict[str, Any]) -> bool:
    """Whether the row is of the schema EVENT: its `body` is the whole record."""
    return isinstance(record.get("body"), str) and KIND_OF_TYPE.get(str(record.get("type")), 0) > Kind.CLOCK


def _record(cells: dict[str, Any]) -> dict[str, Any]:
    """A row as the JSON wire would have brought it: without nulls, dates as text."""
    return {
        name: value.isoformat() if type(value) is date else value for name, value in cells.items() if value is not None
    }
