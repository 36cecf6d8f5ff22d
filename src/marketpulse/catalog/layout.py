"""How each table is laid out: its columns and their ids, what it is partitioned by, and how its files are sorted.

The contract's columns come first; behind them the times once more, as `timestamptz`, so that every tool sees times.
"""

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.model.rows import indicators_schema
from marketpulse.model.tables import TABLES

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table.sorting import SortOrder
    from pyiceberg.types import IcebergType

TIME = pa.timestamp("us", "UTC")

TIMES: dict[str, dict[str, str]] = {
    "trades": {"event_time": "event_time_ns"},
    "quotes": {"event_time": "event_time_ns"},
    "events": {"event_time": "event_time_ns"},
    "bars": {"open_time": "open_time_ns", "close_time": "close_time_ns"},
    "indicators": {"open_time": "open_time_ns", "close_time": "close_time_ns"},
    "alerts": {"event_time": "event_time_ns"},
    "dead_letters": {},
}
"""Table -> (stored time -> the exact column that it is made of). The first one tells the partition."""

PERIOD = {
    "trades": "day",
    "quotes": "day",
    "events": "month",  # a source's own daily bars are events too
    "bars": "month",
    "indicators": "month",
    "alerts": "month",
}
"""What a partition is, by the first of TIMES. Thirty years of daily bars are 360 months."""

SORTED_BY: dict[str, tuple[str, ...]] = {
    "trades": ("symbol", "event_time_ns"),
    "quotes": ("symbol", "event_time_ns"),
    "events": ("symbol", "event_time_ns"),
    "bars": ("timeframe", "symbol", "open_time_ns"),
    "indicators": ("timeframe", "symbol", "open_time_ns"),
    "alerts": ("symbol", "event_time_ns"),
    "dead_letters": ("topic", "partition", "offset"),
}
"""What files are sorted by; rows that are alike in these stay in the order of the log.

The timeframe comes before the symbol: a query names one, and there are sixty 1s bars beside each 1m bar."""

ROW_GROUP_ROWS = 122_880
"""Sixty of DuckDB's vectors, which is what it writes itself."""


PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "32",
    # One look after a conflict, in case the commit came through after all; then the sink looks at the
    # offsets itself before it tries again.
    "commit.retry.num-retries": "1",
    "commit.retry.min-wait-ms": "10",
}

_LEAST = -(2**63)
_TOLD_APART = 2**16
_PRIMITIVES = {
    pa.string(): "StringType", pa.int32(): "IntegerType", pa.int64(): "LongType", pa.float64(): "DoubleType",
    pa.bool_(): "BooleanType", pa.date32(): "DateType", TIME: "TimestamptzType",
}  # fmt: skip


def arrow_schema(table: str, indicators: Sequence[str] = ()) -> pa.Schema:
    """The table's columns; of `indicators` with these names beside its own."""
    schema = indicators_schema(list(indicators)) if table == "indicators" else TABLES[table][1]
    for name in TIMES[table]:
        schema = schema.append(pa.field(name, TIME))
    return schema


def beyond(table: str, names: Sequence[str]) -> tuple[str, ...]:
    """Which of these columns are no part of the table's own: the names of indicators, or a stranger's."""
    own = {*arrow_schema(table).names}
    return tuple(name for name in names if name not in own)


def with_times(table: str, rows: pa.Table) -> pa.Table:
    """The rows with the table's `timestamptz` columns behind them."""
    for name, source in TIMES[table].items():
        times = rows[source].cast(pa.timestamp("ns", "UTC")).cast(TIME, safe=False)
        rows = rows.append_column(pa.field(name, TIME), times)
    return rows


def plain(rows: pa.Table) -> pa.Table:
    """The rows without the ids that files have in their columns' metadata."""
    return rows.cast(pa.schema([_plain(field) for field in rows.schema]))


def without_times(table: str, rows: pa.Table) -> pa.Table:
    """The rows as the contract has them: the receipt stands last, and the times once."""
    names = [name for name in rows.column_names if name not in TIMES[table] and name != "receipt"]
    return rows.select([*names, "receipt"] if "receipt" in rows.column_names else names)


def _plain(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([_plain(child) for child in kind])
    elif pa.types.is_list(kind):
        kind = pa.list_(kind.value_type)
    return pa.field(field.name, kind)


def in_order(table: str, rows: pa.Table) -> pa.Table:
    """The rows as SORTED_BY says, and those that replace each other oldest first; what has no value comes first. By numbers: comparing texts takes ten times as long."""
    names = [*SORTED_BY[table], *(name for name in ("revision",) if name in rows.column_names)]
    order = _order([_ranks(rows[name]) for name in names])
    if (np.diff(order) == 1).all():
        return rows
    taken = pa.array(order)
    return pa.table(
        [column if _same_throughout(column) else column.take(taken) for column in rows.columns], rows.schema
    )


def _order(keys: list[NDArray[np.int64]]) -> NDArray[np.intp]:
    """(n,) the order of the rows by these keys, the first one before the others; alike ones as they stand.

    Rows of a symbol nearly always come in order of time, so it is enough to part them by their names.
    """
    names, rest = _in_one(keys)
    order = np.argsort(names, kind="stable")  # of 16 bits: without comparing
    one = np.diff(names[order]) == 0  # the row is of the same names as the one before it
    for number, key in enumerate(rest):
        step = np.diff(key[order])
        if (step[one] < 0).any():
            return np.lexsort([*rest[::-1], names])
        if number < len(rest) - 1:
            one &= step == 0
    return order


def _in_one(keys: list[NDArray[np.int64]]) -> tuple[NDArray[Any], list[NDArray[np.int64]]]:
    """The first keys as one, as many of them as 16 bits can tell apart (but at least one), and the others."""
    names, rest = keys[0], keys[1:]
    if not names.size:
        return names, rest
    names = names - names.min()
    while rest and rest[0].min() >= -1 and (int(names.max()) + 1) * (int(rest[0].max()) + 2) <= _TOLD_APART:
        names = names * (int(rest[0].max()) + 2) + rest[0] + 1
        rest = rest[1:]
    return names.astype(np.uint16) if names.max() < _TOLD_APART else names, rest


def _same_throughout(column: pa.ChunkedArray) -> bool:
    """Whether any order leaves the column as it is."""
    if column.null_count == len(column):
        return True
    chunks = column.chunks if pa.types.is_dictionary(column.type) and not column.null_count else []
    return len(chunks) == 1 and len(chunks[0].dictionary) == 1


def _ranks(values: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) numbers in the order of the values."""
    if not len(values):
        return np.empty(0, np.int64)
    if pa.types.is_string(values.type):
        values = values.dictionary_encode()
    if not pa.types.is_dictionary(values.type):
        whole = values.cast(pa.int64())
        return np.asarray((whole.fill_null(_LEAST) if whole.null_count else whole).to_numpy(), np.int64)
    encoded = values.unify_dictionaries().combine_chunks()
    texts = encoded.dictionary
    rank = np.empty(len(texts) + 1, np.int64)
    rank[-1] = -1  # of those that have none
    rank[pc.sort_indices(texts).to_numpy()] = np.arange(len(texts))
    found: NDArray[np.int64] = rank[encoded.indices.fill_null(len(texts)).to_numpy()]
    return found


def iceberg_schema(table: str, indicators: Sequence[str] = ()) -> "Schema":
    """The same for the catalogue: every column optional, with an id."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    columns = arrow_schema(table, indicators)
    nested = count(len(columns) + 1)
    return Schema(*(
        NestedField(number, field.name, iceberg_type(field.type, nested), required=False)
        for number, field in enumerate(columns, start=1)
    ))  # fmt: skip


def iceberg_type(kind: pa.DataType, ids: "count[int]") -> "IcebergType":
    """Iceberg's name for one of our column types. Fields inside it take their ids from `ids`."""
    from pyiceberg import types

    if pa.types.is_struct(kind):
        fields = [(next(ids), field) for field in kind]
        return types.StructType(*(
            types.NestedField(number, field.name, iceberg_type(field.type, ids), required=False)
            for number, field in fields
        ))  # fmt: skip
    if pa.types.is_list(kind):
        number = next(ids)
        return types.ListType(number, iceberg_type(kind.value_type, ids), element_required=False)
    found: IcebergType = getattr(types, _PRIMITIVES[kind])()
    return found


def partition_spec(table: str, schema: "Schema") -> "PartitionSpec":
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import DayTransform, MonthTransform, Transform

    if not TIMES[table]:
        return PartitionSpec()
    time, period = next(iter(TIMES[table])), PERIOD[table]
    transform: Transform[Any, Any] = DayTransform() if period == "day" else MonthTransform()
    name = f"{time.removesuffix('_time')}_{period}"
    return PartitionSpec(PartitionField(schema.find_field(time).field_id, 1000, transform, name))


def sort_order(table: str, schema: "Schema") -> "SortOrder":
    from pyiceberg.table.sorting import SortField, SortOrder
    from pyiceberg.transforms import IdentityTransform

    ids = [schema.find_field(name).field_id for name in SORTED_BY[table]]
    return SortOrder(*(SortField(number, IdentityTransform()) for number in ids))
