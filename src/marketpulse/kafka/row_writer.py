"""Rows that lie as records in memory, as the records of their topic: JSON straight from the engine's own arrays.

The same bytes as row_codec.lay_out_rows makes from Arrow columns, which it does without.
"""

from collections.abc import Sequence

import numpy as np
import orjson

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.kafka.json_text import (
    NUMBER_BYTES_MAX,
    SCRATCH_BYTES,
    put_date,
    put_double,
    put_long,
    put_null,
    put_padded,
    put_text,
)
from marketpulse.kafka.row_codec import RowRecords
from marketpulse.kafka.words import PADDING, byte_at, copy_bytes, half_word_at, word_at
from marketpulse.model.market import Bytes, Ints
from marketpulse.model.record_rows import RecordRows, RowField, ValueKind

_KIND, _BLOCK, _OFFSET, _TABLE, _SIGN, _PREFIX, _PREFIX_LENGTH = range(7)
_DOUBLE, _LONG, _INT, _DATE, _NAME = (int(kind) for kind in ValueKind)
_EXPONENT = 0x7FF0000000000000
_BYTES, _KEY_BYTES, _ROWS = 1_000_000, 100_000, 2_000  # what one call lays out stays in the processor's cache


class RowWriter:
    """Writes the rows of one topic. The first field is the record's key as well, and a NAME."""

    def __init__(self, fields: Sequence[RowField]) -> None:
        prefixes, closing = _texts_between(fields)
        begins = np.cumsum([0, *map(len, prefixes)])
        self._texts = np.frombuffer(b"".join(prefixes) + closing + PADDING, np.uint8)
        first = self._texts.ctypes.data
        self._plan = np.array(
            [
                (f.kind, f.block, f.offset, f.table, f.sign, first + begin, len(prefix))
                for f, begin, prefix in zip(fields, begins, prefixes, strict=False)
            ],
            np.int64,
        )
        self._closing = (int(first + begins[-1]), len(closing))
        self._fixed = len(self._texts) + len(fields) * NUMBER_BYTES_MAX + SCRATCH_BYTES
        self._out, self._keys = np.empty(_BYTES, np.uint8), np.empty(_KEY_BYTES, np.uint8)
        self._ends, self._key_ends = np.zeros((2, _ROWS + 1), np.int64)
        self._laid_out: list[tuple[Bytes, Ints]] = []
        self._tables = np.empty((0, 2), np.int64)

    def lay_out(self, rows: RecordRows, first: int = 0) -> tuple[RowRecords, int]:
        """The rows from `first` on, as many as fit, and the next row. What was laid out before is overwritten."""
        blocks = np.array(
            [(block.ctypes.data, block.strides[0] if len(block) > 1 else 0) for block in rows.blocks], np.int64
        )
        tables, count = self._addresses([table.laid_out() for table in rows.tables]), len(rows)
        while True:
            done = _write_rows(
                self._plan, blocks, tables, first, count, self._closing, self._fixed, self._out, self._ends,
                self._keys, self._key_ends,
            )  # fmt: skip
            if done > first or first == count:
                break
            self._out = np.empty(2 * len(self._out), np.uint8)
            self._keys = np.empty(2 * len(self._keys), np.uint8)
        end = done - first + 1
        return RowRecords(self._out, self._ends[:end], self._keys, self._key_ends[:end]), done

    def _addresses(self, laid_out: list[tuple[Bytes, Ints]]) -> Ints:
        """Where the tables' texts and ends lie, (tables, 2); mostly where they lay last time."""
        known = self._laid_out
        if len(known) != len(laid_out) or any(old[1] is not new[1] for old, new in zip(known, laid_out, strict=True)):
            self._laid_out = laid_out
            self._tables = np.array([(texts.ctypes.data, ends.ctypes.data) for texts, ends in laid_out], np.int64)
        return self._tables


def _texts_between(fields: Sequence[RowField]) -> tuple[list[bytes], bytes]:
    """The bytes before each value, such as `,"price":`, and those behind the last one."""
    prefixes, inside = [], ""
    for number, field in enumerate(fields):
        text = b"," if number else b"{"
        if field.inside != inside:
            text = (b"}" if inside else b"") + text
            text += orjson.dumps(field.inside) + b":{" if field.inside else b""
            inside = field.inside
        prefixes.append(text + orjson.dumps(field.name) + b":")
    return prefixes, b"}}\n" if inside else b"}\n"


@inlined
def _place_of(plan: Ints, blocks: Ints, line: int, row: int) -> int:
    """The address of a value."""
    block = plan[line, _BLOCK]
    return int(blocks[block, 0] + row * blocks[block, 1] + plan[line, _OFFSET])


@inlined
def _name_at(plan: Ints, tables: Ints, line: int, name: int) -> tuple[int, int]:
    """The address of a string, and its length."""
    table = plan[line, _TABLE]
    ends = tables[table, 1] + 8 * name
    begin = word_at(ends)
    return tables[table, 0] + begin, word_at(ends + 8) - begin


@inlined
def _is_there(plan: Ints, blocks: Ints, line: int, row: int) -> bool:
    """Whether there is a value that JSON can say."""
    if plan[line, _SIGN] >= 0 and byte_at(blocks[0, 0] + row * blocks[0, 1] + plan[line, _SIGN]) < 0:
        return False
    if plan[line, _KIND] != _DOUBLE:
        return True
    return word_at(_place_of(plan, blocks, line, row)) & _EXPONENT != _EXPONENT


@inlined
def _put_value(plan: Ints, blocks: Ints, tables: Ints, line: int, row: int, out: Bytes, place: int) -> int:
    kind, value = plan[line, _KIND], _place_of(plan, blocks, line, row)
    if kind == _DOUBLE:
        return put_double(out, place, word_at(value))
    if kind == _LONG:
        return put_long(out, place, word_at(value))
    if kind == _INT:
        return put_long(out, place, half_word_at(value))
    if kind == _DATE:
        return put_date(out, place, half_word_at(value))
    text, length = _name_at(plan, tables, line, half_word_at(value))
    return put_text(out, place, text, length)


@inlined
def _text_bytes(plan: Ints, blocks: Ints, tables: Ints, row: int) -> int:
    """The most that the row's names can take."""
    size = 0
    for line in range(len(plan)):
        if plan[line, _KIND] == _NAME:
            name = half_word_at(_place_of(plan, blocks, line, row))
            if name >= 0:
                size += 6 * _name_at(plan, tables, line, name)[1]
    return size


@bare_kernel
def _write_rows(
    plan: Ints, blocks: Ints, tables: Ints, first: int, rows: int, closing: tuple[int, int], fixed: int, out: Bytes,
    ends: Ints, keys: Bytes, key_ends: Ints,
) -> int:  # fmt: skip
    """Write rows, each with a line feed, and their keys, until there may be no room. The next row."""
    place = key_end = 0
    for row in range(first, min(rows, first + len(ends) - 1)):
        key, length = _name_at(plan, tables, 0, half_word_at(_place_of(plan, blocks, 0, row)))
        if place + fixed + _text_bytes(plan, blocks, tables, row) > len(out) or key_end + length > len(keys):
            return row
        for line in range(len(plan)):
            place = put_padded(out, place, plan[line, _PREFIX], plan[line, _PREFIX_LENGTH])
            if _is_there(plan, blocks, line, row):
                place = _put_value(plan, blocks, tables, line, row, out, place)
            else:
                place = put_null(out, place)
        place = put_padded(out, place, closing[0], closing[1])
        copy_bytes(keys.ctypes.data + key_end, key, length)
        key_end += length
        ends[row - first + 1], key_ends[row - first + 1] = place, key_end
    return min(rows, first + len(ends) - 1)
