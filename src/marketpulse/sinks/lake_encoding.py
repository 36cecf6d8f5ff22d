"""How the columns of a data file are encoded, by a look at some of their values: cheap to write and cheap to read again.

few different values     a dictionary; texts already before they are sorted, since numbers are quicker to move
whole numbers, times     differences (DELTA_BINARY_PACKED), which leave a compressor next to nothing: none stands behind
anything else            plain, and zstd

A dictionary of values that hardly repeat takes longer than all else, and more room: each row group of 100,000 times had
one, and 17 bits a row beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LOOKED_AT = 4_096  # rows
_REPEATS = 0.9  # of so many rows, so many different values at most: then about a fifth of a row group's are
_FEW = 256  # whole numbers: fewer are counts and the like, which a dictionary holds in a byte

CODEC = "zstd"


@dataclass(slots=True)
class Encoding:
    """By the path of a column, as pyarrow.parquet.ParquetWriter takes it."""

    use_dictionary: list[str] = field(default_factory=list)
    column_encoding: dict[str, str] = field(default_factory=dict)
    compression: dict[str, str] = field(default_factory=dict)


def encoding_of(rows: pa.Table) -> Encoding:
    """What suits these rows."""
    found, some = Encoding(), _some(rows)
    for name, values in _leaves(some):
        kind = values.type
        found.compression[name] = CODEC
        if _in_dictionary(values):
            found.use_dictionary.append(name)
        elif _is_whole(kind):
            found.column_encoding[name] = "DELTA_BINARY_PACKED"
            found.compression[name] = "none"
        elif not pa.types.is_boolean(kind):
            found.column_encoding[name] = "PLAIN"
    return found


def with_names(rows: pa.Table) -> pa.Table:
    """The rows, each column in one piece, texts that repeat as dictionaries."""
    some = _some(rows)
    for place, field_ in enumerate(rows.schema):
        column = rows.column(place)
        if column.null_count == rows.num_rows:
            if pa.types.is_dictionary(field_.type):
                rows = rows.set_column(place, field_.name, pa.nulls(rows.num_rows, pa.string()))
        elif pa.types.is_string(field_.type) and _in_dictionary(some.column(place)):
            rows = rows.set_column(place, field_.name, column.dictionary_encode())
    return rows.unify_dictionaries().combine_chunks()


def narrowed(rows: pa.Table) -> pa.Table:
    """The rows, their dictionaries without texts that none of them holds: a file has the whole of each row group's."""
    for place, column in enumerate(rows.columns):
        if not pa.types.is_dictionary(column.type) or not rows.num_rows:
            continue
        encoded = column.combine_chunks()
        encoded = encoded if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0)
        if len(encoded.dictionary) == 1:
            continue
        used = pc.unique(encoded.indices).drop_null()
        if len(used) == len(encoded.dictionary):
            continue
        to = np.zeros(len(encoded.dictionary), np.int32)
        to[used.to_numpy()] = np.arange(len(used))
        indices = pa.array(to).take(encoded.indices)
        own = pa.DictionaryArray.from_arrays(indices, encoded.dictionary.take(used))
        rows = rows.set_column(place, rows.schema.field(place), own)
    return rows


def _some(rows: pa.Table) -> pa.Table:
    """Rows from all over the table."""
    if rows.num_rows <= _LOOKED_AT:
        return rows
    return rows.take(pa.array(np.linspace(0, rows.num_rows - 1, _LOOKED_AT).astype(np.int64)))


def _leaves(rows: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """Every column that Parquet has, by its path."""
    waiting: list[tuple[str, Any]] = [
        (name, pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0))
        for name, column in zip(rows.column_names, rows.columns, strict=True)
        if column.num_chunks
    ]
    while waiting:
        path, values = waiting.pop(0)
        if pa.types.is_struct(values.type):
            waiting += [(f"{path}.{f.name}", values.field(f.name)) for f in values.type]
        elif pa.types.is_list(values.type):
            waiting.append((f"{path}.list.element", values.flatten()))
        else:
            yield path, values


def _in_dictionary(values: Any) -> bool:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return True
    if pa.types.is_boolean(kind):
        return False
    there = len(values) - values.null_count
    different = pc.count_distinct(values).as_py()
    if _is_whole(kind):
        return bool(different <= _FEW)
    return bool(different <= _REPEATS * there)


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date32(kind))
