"""The engine's rows (bars, indicators, live, alerts, dead letters) <-> records of their topics."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json

from marketpulse.errors import ParameterError
from marketpulse.kafka.frame_bounds import bounded_table
from marketpulse.kafka.frame_writer import frames_by_partition
from marketpulse.kafka.json_lines import json_lines, json_rows
from marketpulse.kafka.market_contract import Refused
from marketpulse.model.market import Bytes, Ints
from marketpulse.model.rows import ALERT, BAR, DEAD_LETTER, INDICATORS_HEAD, LIVE_HEAD, RECEIPT

Topic = Literal["bars", "indicators", "alerts", "live", "dead-letters"]
_HEADS: dict[str, tuple[pa.Schema, bool]] = {
    "bars": (BAR, False),
    "indicators": (INDICATORS_HEAD.append(pa.field("receipt", RECEIPT)), True),
    "alerts": (ALERT, False),
    "live": (LIVE_HEAD, True),
    "dead-letters": (DEAD_LETTER, False),
}
"""Topic -> (its known columns, whether one float column per indicator stands beside them)."""

_ODD = (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError)


def encode_rows(
    batch: pa.RecordBatch, *, wire: Literal["json", "arrow"] = "json", partitions: int | None = None
) -> list[tuple[bytes, bytes]]:
    """(key, value) of each record, keyed by the symbol.

    JSON: one object per row; nulls and NaN are null, the receipt is an object, dates "YYYY-MM-DD".
    Arrow: one frame per partition of `partitions`, under the key of its first row; produce it with
    the content-type header (FRAME_HEADERS).
    """
    if wire == "arrow":
        if partitions is None:
            raise ParameterError("encode_rows: the Arrow wire needs the topic's number of partitions")
        frames = frames_by_partition(batch, partitions)
        return [(rows.column("symbol")[0].as_py().encode(), frame) for _, rows, frame in frames]
    keys = batch.column("symbol").cast(pa.binary()).to_pylist()
    return list(zip(keys, json_rows(batch, nulls=True), strict=True))


@dataclass(frozen=True, slots=True)
class RowRecords:
    """n rows as records, end to end in memory: values (uint8), each with a line feed behind it, and keys (uint8);
    value_ends, key_ends: (n + 1,) int64, where each ends, behind the place where the first begins."""

    values: Bytes
    value_ends: Ints
    keys: Bytes
    key_ends: Ints

    def __len__(self) -> int:
        return len(self.key_ends) - 1


def lay_out_rows(batch: pa.RecordBatch, *, nulls: bool = True) -> RowRecords:
    """The records of `encode_rows` on the JSON wire, without an object for each. Without `nulls` fields that are null
    are left out."""
    values, value_ends = json_lines(batch, nulls=nulls)
    symbols = batch.column("symbol").cast(pa.string())
    _, places, texts = symbols.buffers()
    begin, end = symbols.offset, symbols.offset + len(symbols) + 1
    key_ends = np.frombuffer(places, np.int32)[begin:end].astype(np.int64) if len(symbols) else value_ends
    keys = np.frombuffer(texts or b"", np.uint8)
    return RowRecords(values, value_ends, keys, key_ends)


def decode_rows(
    topic: str,
    values: Sequence[bytes | None],
    is_frame: Callable[[int], bool] = lambda _: False,
    unreadable: list[int] | None = None,
) -> pa.RecordBatch:
    """The rows of the records of one of our output topics, both wires, in order.

    Columns: those of the topic's schema; for indicators and live, one nullable float64 for each
    other name that any row has (before the receipt). Columns that a row lacks are null. A record
    that is no such row is left out; its index goes to `unreadable`.
    """
    if topic not in _HEADS:
        raise ParameterError(f"decode_rows: {topic!r} is none of {', '.join(_HEADS)}")
    head, open_ended = _HEADS[topic]
    tables: list[pa.Table] = []
    texts: list[tuple[int, bytes]] = []

    def read_texts() -> None:
        if texts:
            tables.append(_read_json([text for _, text in texts], head, open_ended, [i for i, _ in texts], skipped))
            texts.clear()

    skipped: list[int] = []
    for index, value in enumerate(values):
        if value is None:
            skipped.append(index)
        elif value[:1] != b"{" and is_frame(index):
            read_texts()
            try:
                tables.append(_conform(bounded_table(value), head, open_ended))
            except (Refused, *_ODD):
                skipped.append(index)
        else:
            texts.append((index, value))
    read_texts()
    if unreadable is not None:
        unreadable += skipped
    return _united(tables, head)


def _read_json(
    texts: list[bytes], head: pa.Schema, open_ended: bool, places: list[int], skipped: list[int]
) -> pa.Table:
    """One table of all texts at once; when that fails, one by one, and the odd ones are skipped."""
    try:
        return _read_lines(texts, head, open_ended)
    except _ODD:
        tables = []
    for place, text in zip(places, texts, strict=True):
        try:
            tables.append(_read_one(text, head, open_ended))
        except _ODD:
            skipped.append(place)
    return _united_table(tables, head)


def _read_lines(texts: list[bytes], head: pa.Schema, open_ended: bool) -> pa.Table:
    content = b"\n".join(texts)
    dates = {field.name for field in head if pa.types.is_date(field.type)}
    explicit = pa.schema([pa.field(f.name, pa.string()) if f.name in dates else f for f in head])
    table = pyarrow.json.read_json(
        io.BytesIO(content),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(content) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=explicit, unexpected_field_behavior="infer" if open_ended else "ignore"
        ),
    )
    if table.num_rows != len(texts):
        raise ValueError("a record holds more or less than one object")
    return _conform(table, head, open_ended)


def _read_one(text: bytes, head: pa.Schema, open_ended: bool) -> pa.Table:
    row = orjson.loads(text)
    if not isinstance(row, dict):
        raise TypeError("not an object")
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if name in head.names:
            kind = head.field(name).type
            cells[name] = pa.array([date.fromisoformat(value) if value and pa.types.is_date(kind) else value], kind)
        elif open_ended and isinstance(value, int | float) and not isinstance(value, bool):
            cells[name] = pa.array([float(value)])
    return _conform(pa.table(cells) if cells else pa.table({"": [None]}), head, open_ended)


def _conform(table: pa.Table, head: pa.Schema, open_ended: bool) -> pa.Table:
    """The table with the head's columns and types, missing ones null; other numbers between them."""
    columns: dict[str, Any] = {}
    for field in head:
        if field.name in table.column_names:
            columns[field.name] = table.column(field.name).cast(field.type)
        else:
            columns[field.name] = pa.nulls(table.num_rows, field.type)
    if open_ended:
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name not in columns and _is_number(column.type):
                columns[name] = column.cast(pa.float64())
    if "receipt" in columns:
        columns["receipt"] = columns.pop("receipt")  # stands last
    if columns["reason" if "reason" in columns else "symbol"].null_count:
        raise ValueError("a row does not say what it is about")
    return pa.table(columns)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _united_table(tables: list[pa.Table], head: pa.Schema) -> pa.Table:
    if not tables:
        return head.empty_table()
    whole = pa.concat_tables(tables, promote_options="default")
    if "receipt" in whole.column_names:
        whole = whole.select([*(n for n in whole.column_names if n != "receipt"), "receipt"])
    return whole


def _united(tables: list[pa.Table], head: pa.Schema) -> pa.RecordBatch:
    batches = _united_table(tables, head).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=head)
