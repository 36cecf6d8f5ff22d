"""Topics whose content is known: what stands at an offset follows from the offset, so every cut can be checked."""

import gzip
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.kafka.row_writer import RowWriter
from marketpulse.model.market import Bytes, Ints
from marketpulse.model.record_rows import RecordRows, RowField
from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch

HOUR_NS = 3_600 * 10**9
START_NS = 1_714_521_600 * 10**9  # 2024-05-01T00:00:00Z
TOPICS = {"market": ("trades", "quotes", "events"), "bars": ("bars",)}


def record(table: str, partition: int, offset: int) -> dict[str, Any] | None:
    """The row of this table at this offset; None where another table's row, a marker or nothing stands."""
    time_ns = START_NS + offset * 3 * HOUR_NS
    symbol = f"S{partition}{offset % 3}"
    head = {"symbol": symbol, "source": "test", "event_time_ns": time_ns}
    place = {"topic": "market", "partition": partition, "offset": offset, "row": 0}
    match table, offset % 5:
        case "trades", 0 | 1:
            return {**head, "type": "trade", "price": 0.1 + offset, "size": 1e22, "trade_id": str(offset), **place}
        case "quotes", 2:
            return {**head, "type": "quote", "bid": 1.0 / 3, "bid_size": 1.0, "ask": 2.0, "ask_size": 5e-324, **place}
        case "events", 3:
            return {**head, "type": "halt", "body": _halt(symbol, "news") + "\n", **place}
        case "bars", 0 | 1 | 2 | 3:
            receipt = {"topic": "market", "partition": partition, "first_offset": offset, "last_offset": offset}
            return {
                "symbol": symbol, "timeframe": "1h", "open_time_ns": time_ns, "close_time_ns": time_ns + HOUR_NS,
                "close": float(offset), "trade_count": 2**63 - 1, "revision": 0, "receipt": receipt,
            }  # fmt: skip
    return None


def _halt(symbol: str, reason: str) -> str:
    return json.dumps({"type": "halt", "symbol": symbol, "reason": reason})


def of_flat_line(line: dict[str, Any]) -> dict[str, Any]:
    """A row of a table, of what the JSON archive's flat line says of it."""
    receipt = {name.removeprefix("receipt_"): line.pop(name) for name in list(line) if name.startswith("receipt_")}
    if line.get("type") == "halt":
        line["body"] = _halt(line["symbol"], line.pop("reason")) + "\n"
    return {**line, "receipt": receipt} if receipt else line


def rows_of_file(path: str, data: bytes) -> list[dict[str, Any]]:
    """The archive's rows in a file, as any tool would read them; a symbol that is not in them is its path's."""
    if path.endswith(".parquet"):
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    else:
        rows = [json.loads(line) for line in gzip.decompress(data).decode().split("\n") if line]
    if "/symbol=" in path:
        assert not any("symbol" in row for row in rows)
        rows = [{"symbol": unquote(path.partition("/symbol=")[2].partition("/")[0]), **row} for row in rows]
    return rows if path.endswith(".parquet") else [of_flat_line(row) for row in rows]


def indicators(first: int, values: dict[str, float | None]) -> SinkBatch:
    """A row of minute `first` with these indicators."""
    times = {"open_time_ns": START_NS + first * 60 * 10**9, "close_time_ns": START_NS + (first + 1) * 60 * 10**9}
    receipt = {"topic": "market", "partition": 0, "first_offset": first, "last_offset": first}
    row: dict[str, Any] = {"symbol": "A", "timeframe": "1m", **times, "close": 1.5, "revision": 0, "receipt": receipt}
    rows = pa.RecordBatch.from_pylist([row | values], schema=indicators_schema(list(values)))
    return SinkBatch("indicators", "indicators", 0, first, first + 1, rows)


def batch(table: str, partition: int, first: int, end: int) -> SinkBatch:
    rows = [row for offset in range(first, end) if (row := record(table, partition, offset)) is not None]
    topic, schema = TABLES[table]
    return SinkBatch(table, topic, partition, first, end, pa.RecordBatch.from_pylist(rows, schema=schema))


def stretch(topic: str, partition: int, first: int, end: int) -> list[SinkBatch]:
    return [batch(table, partition, first, end) for table in TOPICS[topic]]


def expected(table: str, partitions: Iterable[int], end: int) -> list[str]:
    rows = (batch(table, p, 0, end).rows.to_pylist() for p in partitions)
    return sorted(json.dumps(row, sort_keys=True) for some in rows for row in some)


def as_text(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


def written(fields: Sequence[RowField], rows: RecordRows) -> list[tuple[bytes, bytes]]:
    """(key, value) of each, the value without its line feed."""
    writer, done = RowWriter(fields), 0
    found: list[tuple[bytes, bytes]] = []
    while done < len(rows):
        records, done = writer.lay_out(rows, done)
        keys = _parts(records.keys, records.key_ends)
        values = _parts(records.values, records.value_ends)
        assert all(value.endswith(b"}\n") for value in values)
        found += [(key, value[:-1]) for key, value in zip(keys, values, strict=True)]
    return found


def _parts(data: Bytes, ends: Ints) -> list[bytes]:
    return [data[begin:end].tobytes() for begin, end in pairwise(ends.tolist())]
