"""Rows of a record batch as JSON objects, one kernel call for all of them.

Each column becomes one line of a plan: its type, where its values lie in memory, and the bytes that
stand before its value, such as `,"price":`. The kernel walks rows and plan and writes text.
"""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.kafka.json_text import (
    NUMBER_BYTES_MAX,
    SCRATCH_BYTES,
    put_date,
    put_double,
    put_flag,
    put_long,
    put_null,
    put_padded,
    put_raw,
    put_text,
)
from marketpulse.kafka.words import byte_at, half_word_at, word_at
from marketpulse.model.market import Bytes, Ints

_LONG, _DOUBLE, _TEXT, _FLAG, _DATE, _RAW = range(6)
_TYPE, _VALUES, _CONTENT, _VALID, _FIRST, _PREFIX, _PREFIX_LENGTH = range(7)
_EXPONENT = 0x7FF0000000000000
_BUFFER_BYTES = 1_000_000
_INT64, _FLOAT64, _STRING = pa.int64(), pa.float64(), pa.string()


def json_rows(batch: pa.RecordBatch, *, nulls: bool) -> list[bytes]:
    """One JSON object per row, in the order of the columns. NaN and infinities are null.

    `nulls`: write `"name":null`; else leave the field out. Floats are the shortest that read back
    the same; dates are "YYYY-MM-DD"; structs become objects.
    """
    return json_lines(batch, nulls=nulls)[0].tobytes().split(b"\n")[:-1]


def json_lines(batch: pa.RecordBatch, *, nulls: bool) -> tuple[Bytes, Ints]:
    """The rows of `json_rows` end to end, each with a line feed, and where each ends, behind a 0: (n + 1,)."""
    if batch.num_rows == 0:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    plan = _Plan(nulls)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        plan.add(name, column)
    return plan.write(batch.num_rows)


class _Plan:
    """The columns to write, as addresses; `_kept` keeps their memory alive until they are written."""

    def __init__(self, nulls: bool) -> None:
        self._nulls = nulls
        self._lines: list[list[int]] = []
        self._prefixes = bytearray()
        self._pending = b"{" if nulls else b""
        self._kept: list[Any] = []

    def add(self, name: str, column: pa.Array) -> None:
        """Plan one column; a struct's fields are planned one by one between braces."""
        if pa.types.is_struct(column.type) and self._nulls and column.null_count == 0 and column.type.num_fields:
            self._pending += orjson.dumps(name) + b":{"
            for field, child in zip(column.type, column.flatten(), strict=True):
                self.add(field.name, child)
            self._pending = b"}" + self._pending
            return
        kind, array = _plain(column)
        self._prefixes_for(name)
        buffers = array.buffers()
        validity = buffers[0].address if buffers[0] is not None and array.null_count else 0
        values = buffers[1].address if buffers[1] is not None else 0
        content = 0
        if kind in (_TEXT, _RAW):
            content = buffers[2].address if buffers[2] is not None else 0
        self._lines.append([kind, values, content, validity, array.offset, *self._last_prefix])
        self._kept.append(array)

    def _prefixes_for(self, name: str) -> None:
        text = self._pending + orjson.dumps(name) + b":"
        self._last_prefix = (len(self._prefixes), len(text))
        self._prefixes += text
        self._pending = b"," if self._nulls else b""

    def write(self, rows: int) -> tuple[Bytes, Ints]:
        """All rows, a buffer at a time: it stays in the processor's cache."""
        closing = self._pending.removesuffix(b",") + b"}\n"
        fixed = len(self._prefixes) + len(self._lines) * (NUMBER_BYTES_MAX + 1) + len(closing) + SCRATCH_BYTES
        texts = np.frombuffer(bytes(self._prefixes) + closing + bytes(16), np.uint8)
        plan = np.array(self._lines, np.int64).reshape(-1, 7)
        plan[:, _PREFIX] += texts.ctypes.data
        end = (texts.ctypes.data + len(self._prefixes), len(closing))
        out, ends = np.empty(max(_BUFFER_BYTES, fixed), np.uint8), np.zeros(rows + 1, np.int64)
        parts: list[Bytes] = []
        row = 0
        while row < rows:
            done, size = _write_rows(plan, row, rows, self._nulls, end, fixed, out, ends)
            if done == row:
                out = np.empty(2 * len(out), np.uint8)
                continue
            row = done
            parts.append(out[:size].copy())
        return np.concatenate(parts), ends


def _plain(column: pa.Array) -> tuple[int, pa.Array]:
    """The column's type in the plan, and the column in the form that the kernel reads."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_integer(kind):
        return _LONG, column if kind == _INT64 else column.cast(_INT64)
    if pa.types.is_floating(kind):
        return _DOUBLE, column if kind == _FLOAT64 else column.cast(_FLOAT64)
    if pa.types.is_boolean(kind):
        return _FLAG, column
    if pa.types.is_date32(kind):
        return _DATE, column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _TEXT, column if kind == _STRING else column.cast(_STRING)
    texts = [None if cell is None else orjson.dumps(cell).decode() for cell in column.to_pylist()]
    return _RAW, pa.array(texts, pa.string())


@inlined
def _is_there(plan: Ints, line: int, row: int) -> bool:
    """Whether the cell holds a value that JSON can say."""
    place = plan[line, _FIRST] + row
    if plan[line, _VALID] != 0 and (byte_at(plan[line, _VALID] + (place >> 3)) >> (place & 7)) & 1 == 0:
        return False
    return plan[line, _TYPE] != _DOUBLE or word_at(plan[line, _VALUES] + 8 * place) & _EXPONENT != _EXPONENT


@inlined
def _put_cell(plan: Ints, line: int, row: int, out: Bytes, place: int) -> int:
    kind, values = plan[line, _TYPE], plan[line, _VALUES]
    cell = plan[line, _FIRST] + row
    if kind == _DOUBLE:
        return put_double(out, place, word_at(values + 8 * cell))
    if kind == _LONG:
        return put_long(out, place, word_at(values + 8 * cell))
    if kind == _DATE:
        return put_date(out, place, half_word_at(values + 4 * cell))
    if kind == _FLAG:
        return put_flag(out, place, (byte_at(values + (cell >> 3)) >> (cell & 7)) & 1 == 1)
    begin, end = half_word_at(values + 4 * cell), half_word_at(values + 4 * cell + 4)
    if kind == _TEXT:
        return put_text(out, place, plan[line, _CONTENT] + begin, end - begin)
    return put_raw(out, place, plan[line, _CONTENT] + begin, end - begin)


@inlined
def _text_bytes(plan: Ints, row: int) -> int:
    """The most that the row's texts can take."""
    size = 0
    for line in range(len(plan)):
        if plan[line, _TYPE] in (_TEXT, _RAW):
            cell = plan[line, _VALUES] + 4 * (plan[line, _FIRST] + row)
            size += 6 * (half_word_at(cell + 4) - half_word_at(cell))
    return size


@bare_kernel
def _write_rows(
    plan: Ints, first: int, rows: int, nulls: bool, closing: tuple[int, int], fixed: int, out: Bytes, ends: Ints
) -> tuple[int, int]:  # fmt: skip
    """Write rows, each with a line feed, until `out` may be full: (the next row, how many bytes)."""
    place, written = 0, ends[first]
    for row in range(first, rows):
        if place + fixed + _text_bytes(plan, row) > len(out):
            return row, place
        if not nulls:
            out[place] = 123
            place += 1
        begin = place
        for line in range(len(plan)):
            there = _is_there(plan, line, row)
            if not (there or nulls):
                continue
            if not nulls and place > begin:
                out[place] = 44
                place += 1
            place = put_padded(out, place, plan[line, _PREFIX], plan[line, _PREFIX_LENGTH])
            place = _put_cell(plan, line, row, out, place) if there else put_null(out, place)
        place = put_padded(out, place, closing[0], closing[1])
        ends[row + 1] = written + place
    return rows, place
