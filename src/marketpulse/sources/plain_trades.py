"""Blocks of nothing but plain trades, as nearly all of a file are: taken as Arrow, a column at a time, without a frame between.

Every column must be what it seems: whole epoch times of one unit, or times with their zone; names without blanks around them;
prices and sizes as numbers that can be. Of such a block the general reader (sources.normalise) would make the same rows; any other
block is his.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS, TRADE, Ints
from marketpulse.sources.normalise import Reader
from marketpulse.sources.raw import Block
from marketpulse.sources.times import ns_of_epoch, parse_times

NAMES = pa.dictionary(pa.int32(), pa.string())
_KINDS = {
    "time": pa.int64(), "symbol": NAMES, "venue": NAMES, "price": pa.float64(), "size": pa.float64(), "trade_id": pa.string(),
    "conditions": pa.string(),
}  # fmt: skip
_BLANK, _ASCII_END = 0x20, 0x7F


@dataclass(frozen=True, slots=True)
class PlainTrades:
    """n rows of one block in their order: TRADE's own columns, names as dictionaries; `time_ns` and `numbers` (n,)."""

    table: pa.Table
    time_ns: Ints
    numbers: Ints


@dataclass(frozen=True, slots=True)
class PlainReader:
    """Takes plain trades from the blocks of one file; `kinds` by column. It may serve several threads."""

    reader: Reader
    kinds: Mapping[str, pa.DataType]

    def read(self, block: Block) -> PlainTrades | None:
        """The block's rows when all of them are plain trades; else None: nobody has looked at them then."""
        plain = block.plain(self.kinds)
        if plain is None:
            return None
        table, numbers = plain
        n, columns, mapping = table.num_rows, self.reader.plan.columns, self.reader.mapping
        given = {name: _one(table[columns[name]]) for name in _KINDS if name in columns}
        fallback = mapping.symbol if mapping.symbol is not None else self.reader.fallback_symbol
        symbol, venue = _names(given, "symbol", n, fallback), _names(given, "venue", n, mapping.venue)
        price = _numbers(given["price"], above=True)
        size = _numbers(given["size"], above=False) if "size" in given else pa.array(np.zeros(n))
        trade_id = _ids(given["trade_id"]) if "trade_id" in given else pa.nulls(n, pa.string())
        found = {"symbol": symbol, "venue": venue, "price": price, "size": size, "trade_id": trade_id}
        if None in found.values() or not _is_bare(given.get("conditions")):
            return None
        times = self._times(given["time"])
        if times is None:
            return None
        conditions = pa.nulls(n, TRADE.field("conditions").type)
        return PlainTrades(pa.table({**found, "conditions": conditions}), times, numbers)

    def _times(self, values: pa.Array) -> Ints | None:
        """Nanoseconds UTC, when all can be."""
        if values.null_count or not len(values):
            return None
        if _is_text(values.type):
            read = parse_times(pl.Series(pl.from_arrow(values)), None, self.reader.day_first)
            utc, valid = self.reader.clock.to_utc(read, np.zeros(len(values), np.int64), bars=False)
            return utc if valid.all() else None
        times: Ints | None = None
        if pa.types.is_timestamp(values.type):
            try:
                times = values.cast(pa.timestamp("ns", values.type.tz)).cast(pa.int64()).to_numpy()
            except pa.ArrowInvalid:  # centuries away
                return None
        elif values.type == pa.int64():
            times = ns_of_epoch(values.to_numpy())
        if times is None or times.min() < EARLIEST_TIME_NS or times.max() >= LATEST_TIME_NS:
            return None
        return times


def plain_reader(reader: Reader, head: pl.DataFrame) -> PlainReader | None:
    """For a file whose rows may be plain trades, by its first ones; None where they cannot be."""
    columns, mapping = reader.plan.columns, reader.mapping
    wanted = {columns[name]: kind for name, kind in _KINDS.items() if name in columns}
    if reader.plan.kinds != ("trade",) or "date" in columns or len(wanted) < sum(name in columns for name in _KINDS):
        return None
    if reader.decimal_comma or reader.clock.zone != "UTC" or mapping.time_format is not None:
        return None
    time = head[columns["time"]]
    if time.dtype == pl.String and time.cast(pl.Int64, strict=False).null_count():
        wanted[columns["time"]] = pa.string()
    return PlainReader(reader, wanted)


def _numbers(values: pa.Array, *, above: bool) -> pa.Array | None:
    """Prices (above 0) or sizes (not below), when all are."""
    if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return None
    try:
        values = values.cast(pa.float64())
    except pa.ArrowInvalid:  # more digits than a float has
        return None
    floats = values.to_numpy()
    right = (floats > 0 if above else floats >= 0) & (floats < np.inf)
    return values if right.all() else None


def _names(given: Mapping[str, pa.Array], name: str, n: int, otherwise: str | None) -> pa.Array | None:
    """A column of names, when every row has one without blanks around it; `otherwise` where there is no column."""
    values = given.get(name)
    if values is None:
        texts = pa.array([otherwise], pa.string())
        indices = pa.nulls(n, pa.int32()) if otherwise is None else pa.array(np.zeros(n, np.int32))
        return pa.DictionaryArray.from_arrays(indices, texts.drop_null())
    if values.null_count:
        return None
    if not pa.types.is_dictionary(values.type):
        if not _is_text(values.type):
            return None
        values = values.dictionary_encode()
    if not _is_text(values.type.value_type) or values.dictionary.null_count:
        return None
    if any(not text or text.strip() != text for text in values.dictionary.to_pylist()):
        return None
    return values.cast(NAMES)


def _ids(values: pa.Array) -> pa.Array | None:
    """Ids as texts, when none is empty and none has a blank, or what may be one, around it."""
    if pa.types.is_integer(values.type):
        return values.cast(pa.string())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.null_count or not _is_text(values.type):
        return values if values.null_count == len(values) and values.type == pa.string() else None
    values = values.cast(pa.string())
    ends = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4)
    if not (ends[1:] > ends[:-1]).all():
        return None
    content = np.frombuffer(values.buffers()[2], np.uint8)
    for at in (content[ends[:-1]], content[ends[1:] - 1]):
        if not ((at > _BLANK) & (at < _ASCII_END)).all():
            return None
    return values


def _is_bare(conditions: pa.Array | None) -> bool:
    """Whether no row has any."""
    if conditions is None or conditions.null_count == len(conditions):
        return True
    return bool(_is_text(conditions.type) and pc.max(pc.binary_length(conditions)).as_py() == 0)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
