"""The columns of one Arrow frame, each converted and checked by its rule, whole columns at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.kafka.market_contract import Rule, is_name
from marketpulse.model.market import (
    ABSENT,
    EARLIEST_TIME_NS,
    LATEST_TIME_NS,
    PRICE_MAX,
    SIZE_MAX,
    Bytes,
    Ids,
    StringTable,
)
from marketpulse.model.timeframe import DAY_NS

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Checked:
    """One field of n rows: whether it is there, whether it keeps its rule, and its values."""

    present: Mask
    good: Mask
    values: NDArray[Any]


class FrameColumns:
    """A frame's fields by name. A column of a type that no rule takes has no good rows."""

    def __init__(self, table: pa.Table, strings: StringTable) -> None:
        self._table, self._strings = table, strings
        self._names = frozenset(table.column_names)
        self._held: dict[str, Checked] = {}
        self._arrays: dict[str, pa.Array] = {}

    def held(self, name: str) -> Checked | None:
        """The field as it was checked; None when the frame has no such column."""
        return self._held.get(name)

    def values(self, name: str) -> NDArray[Any]:
        return self._held[name].values

    def checked(self, name: str, rule: Rule) -> Checked | None:
        """Convert and check a column, once; None when the frame has none of this name."""
        if name not in self._held and name in self._names:
            self._held[name] = self._check(name, rule)
        return self._held.get(name)

    def lacks(self, name: str) -> bool:
        """Whether no row has the field."""
        return name not in self._names or self._table.column(name).null_count == self._table.num_rows

    def plain(self, name: str, kind: pa.DataType) -> NDArray[Any] | None:
        """The column as it lies in memory, when it is of this type and every row has it; unchecked."""
        if name not in self._names or self._table.schema.field(name).type != kind:
            return None
        array = self._single(name)
        return None if array.null_count else array.to_numpy(zero_copy_only=True)

    def texts(self, name: str) -> tuple[list[str | None], Ids]:
        """The column's texts, None for one that no row holds, and per row which one it holds: -1 for none."""
        encoded = self.encoded(name)
        if encoded is None:
            return [], np.full(self._table.num_rows, -1, np.int32)
        if encoded.dictionary.null_count:  # a foreign one: a row may point at nothing
            encoded = encoded.dictionary_decode().dictionary_encode()
        places = _numpy(_filled(encoded.indices.cast(pa.int32()), -1), np.int32)
        places.flags.writeable = False  # as it lies in a frame: kernels are compiled for each of the two
        held = np.zeros(len(encoded.dictionary), np.bool_)
        _mark(places, held)
        texts = encoded.dictionary.cast(pa.string()).to_pylist()
        return [text if there else None for text, there in zip(texts, held, strict=True)], places

    def trade_id_bytes(self) -> Bytes:
        """The bytes that trade ids lie in."""
        array = self._trade_ids
        content = None if array is None else array.buffers()[2]
        return np.empty(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)

    def trade_id_ends(self) -> Ids | None:
        """(n + 1,) where each row's id begins and ends in these bytes, when every row has one; unchecked."""
        array = self._trade_ids
        return None if array is None or array.null_count else _ends(array)

    def hold_trade_ids(self) -> None:
        """The spans of the ids as the fields `trade_id` and `trade_id.length`."""
        if "trade_id" not in self._names:
            return
        array = self._trade_ids
        if array is None:
            self._held["trade_id"] = _unusable(_present(self._array("trade_id")))
            return
        spans = _ends(array).astype(np.int64)
        length = np.diff(spans)
        there = _present(array) & (length > 0)
        self._held["trade_id"] = Checked(there, there, spans[:-1])
        self._held["trade_id.length"] = Checked(there, there, length)

    def conditions(self, rows: Mask) -> dict[int, dict[str, Any]]:
        """`{"conditions": [...]}` of each of these rows that has any."""
        held = self._held.get("conditions")
        if held is None:
            return {}
        chosen = np.flatnonzero(rows & held.good & (held.values > 0))
        lists = self._array("conditions").take(pa.array(chosen)).to_pylist()
        return {row: {"conditions": texts} for row, texts in zip(chosen.tolist(), lists, strict=True)}

    def encoded(self, name: str) -> pa.DictionaryArray | None:
        """The column as a dictionary of texts, as it came or made; None for another type, or no such column."""
        if name not in self._names:
            return None
        array = self._single(name)
        if not pa.types.is_dictionary(array.type):
            return array.dictionary_encode() if _is_text(array) else None
        return array if _is_text(array.dictionary) else None

    def ids_of(self, texts: Sequence[str | None]) -> Ids:
        """What names are called by here; ABSENT for None, and for texts that cannot name anything."""
        known = [self._strings.intern(text) if text is not None and is_name(text) else ABSENT for text in texts]
        return np.array(known, np.int32)

    @cached_property
    def _trade_ids(self) -> pa.StringArray | None:
        """The column `trade_id` as texts; None where there is none, or one of another type."""
        if "trade_id" not in self._names:
            return None
        array = self._array("trade_id")
        return array.cast(pa.string()) if _is_text(array) or pa.types.is_integer(array.type) else None

    def _single(self, name: str) -> pa.Array:
        """The column as one array."""
        if name not in self._arrays:
            self._arrays[name] = _in_one(self._table.column(name))
        return self._arrays[name]

    def _array(self, name: str) -> pa.Array:
        """The column as one array without a dictionary."""
        array = self._single(name)
        return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array

    def _check(self, name: str, rule: Rule) -> Checked:
        if rule in (Rule.SYMBOL, Rule.NAME):
            return self._check_names(name)
        array = self._array(name)
        present = _present(array)
        if rule in (Rule.PRICE, Rule.SIZE):
            return _check_numbers(array, present, rule)
        if rule in (Rule.TIME, Rule.COUNT):
            return _check_wholes(array, present, rule)
        if rule == Rule.FLAG and pa.types.is_boolean(array.type):
            return Checked(present, present, _numpy(_filled(array, True), np.int8))
        if rule == Rule.DATE and pa.types.is_date32(array.type):
            days = _numpy(array.cast(pa.int32()).fill_null(0), np.int32)
            return Checked(present, present & (days > 0) & (days < LATEST_TIME_NS // DAY_NS), days)
        if rule == Rule.TEXTS and _is_list_of_texts(array):
            lengths = _numpy(pc.list_value_length(array).fill_null(0), np.int64)
            whole = array.flatten().null_count == 0
            return Checked(present, present if whole else np.zeros_like(present), lengths)
        return _unusable(present)

    def _check_names(self, name: str) -> Checked:
        present = _present(self._single(name))
        texts, places = self.texts(name)
        ids = self.ids_of([*texts, None])[places]
        return Checked(present, ids != ABSENT, ids)


def _check_numbers(array: pa.Array, present: Mask, rule: Rule) -> Checked:
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return _unusable(present)
    values = _numpy(_filled(array, 0), np.float64) + 0.0  # -0.0 becomes 0.0
    if rule == Rule.PRICE:
        return Checked(present, present & (values > 0) & (values <= PRICE_MAX), values)
    return Checked(present, present & (values >= 0) & (values <= SIZE_MAX), values)


def _check_wholes(array: pa.Array, present: Mask, rule: Rule) -> Checked:
    if not pa.types.is_integer(array.type):
        return _unusable(present)
    values = _numpy(_filled(array, 0), np.int64)  # beyond int64 they turn negative, which no rule takes
    if rule == Rule.TIME:
        return Checked(present, present & (values >= EARLIEST_TIME_NS) & (values <= LATEST_TIME_NS), values)
    return Checked(present, present & (values >= 0), values)


def _unusable(present: Mask) -> Checked:
    """A column of a type that its rule does not take: none of its rows is good."""
    return Checked(present, np.zeros_like(present), np.zeros(len(present), np.int64))


@bare_kernel
def _mark(places: Ids, held: Mask) -> None:
    """Mark the places that rows hold."""
    for i in range(places.size):
        if places[i] >= 0:
            held[places[i]] = True


def _in_one(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def _ends(texts: pa.StringArray) -> Ids:
    """(n + 1,) where each text begins, and the last one ends."""
    if not len(texts):
        return np.zeros(1, np.int32)
    return np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)


def _present(array: pa.Array) -> Mask:
    if array.null_count == 0:
        return np.ones(len(array), np.bool_)
    return _numpy(array.is_valid(), np.bool_)


def _filled(array: pa.Array, value: object) -> pa.Array:
    return array.fill_null(value) if array.null_count else array


def _numpy(array: pa.Array, kind: Any) -> NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(kind, copy=False)


def _is_text(array: pa.Array) -> bool:
    kind = array.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list_of_texts(array: pa.Array) -> bool:
    kind = array.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))
