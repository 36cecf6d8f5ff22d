"""The engine's results as the rows that leave it, where they lie: what engine.rows says as Arrow columns, without a copy.

26 columns cost 1.3 ms to make, however few rows they have; a worker's turn has few rows of many partitions.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa

from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import CLOSED
from marketpulse.engine.rows import with_quotes
from marketpulse.engine.state import PartitionState
from marketpulse.indicators.declaration import Floats
from marketpulse.model.market import StringTable
from marketpulse.model.record_rows import ALWAYS, RecordRows, RowField, ValueKind
from marketpulse.model.rows import BAR, ENGINE_VERSION, indicators_schema

_BARS, _PLACE, _VALUES = range(3)
"""The blocks: bars as CLOSED, what all rows of a partition have in common, indicator values."""

_ORIGIN_NAMES = ("topic", "engine_version", "partition")
_ORIGIN = np.dtype([(name, "i4") for name in _ORIGIN_NAMES])
_TABLES = {"symbol": 0, "timeframe": 1, "source": 2, "venue": 3, "topic": 4, "engine_version": 4}
_NAMES = {"timeframe": "frame", "open_time_ns": "open_ns", "close_time_ns": "close_ns"}
"""Fields of CLOSED that have another name in a row."""
_ABSENT = {
    **{name: name for name in ("trade_count", "source", "venue")},
    **dict.fromkeys(("first_offset", "first_row", "last_offset", "last_row"), "first_offset"),
}
"""Values that are null where the field of CLOSED is negative."""


class ResultRows:
    """Rows of BAR and of indicators, for a writer that was given `bar_fields` or `indicator_fields`."""

    def __init__(self, config: EngineConfig, topic: str) -> None:
        """`topic`: what the engine reads."""
        self.bar_fields = list(_fields(BAR))
        self.indicator_fields = list(_fields(indicators_schema(config.columns()), config.columns()))
        self._frames = StringTable([frame.name for frame in config.frames])
        self._origin = StringTable([topic, ENGINE_VERSION])

    def bars(self, state: PartitionState, closed: np.ndarray, partition: int) -> RecordRows:
        """As engine.rows.bar_rows."""
        return RecordRows((closed, _place(partition)), self._tables(state))

    def indicators(
        self, state: PartitionState, closed: np.ndarray, values: Floats, partition: int
    ) -> RecordRows:
        """As engine.rows.indicator_rows."""
        return RecordRows(
            (with_quotes(closed), _place(partition), np.ascontiguousarray(values)), self._tables(state)
        )

    def _tables(self, state: PartitionState) -> tuple[StringTable, ...]:
        return state.symbols, self._frames, state.sources, state.venues, self._origin


def _place(partition: int) -> np.ndarray:
    return np.array([(0, 1, partition)], _ORIGIN)


def _fields(schema: pa.Schema, columns: list[str] | None = None) -> Iterator[RowField]:
    """The schema's fields in their order; those that `columns` names are indicator values."""
    of_value = {name: 8 * place for place, name in enumerate(columns or [])}
    for field in schema:
        if pa.types.is_struct(field.type):
            for inner in field.type:
                yield _of_record(inner, field.name)
        elif field.name in of_value:
            yield RowField(field.name, ValueKind.DOUBLE, _VALUES, of_value[field.name])
        else:
            yield _of_record(field, "")


def _of_record(field: pa.Field, inside: str) -> RowField:
    name = _NAMES.get(field.name, field.name)
    block, record = (_PLACE, _ORIGIN) if name in _ORIGIN_NAMES else (_BARS, CLOSED)
    kind, offset = _part(record, name)
    absent = _ABSENT.get(name)
    return RowField(
        field.name, _kind(field.type, kind), block, offset, inside, _TABLES.get(field.name, 0),
        ALWAYS if absent is None else _sign_byte(absent),
    )  # fmt: skip


def _part(record: np.dtype[np.void], name: str) -> tuple[np.dtype[Any], int]:
    """A field's type, and where it begins in the record."""
    kind, offset = cast("Mapping[str, Any]", record.fields)[name][:2]
    return kind, offset


def _kind(shown: pa.DataType, kind: np.dtype[Any]) -> ValueKind:
    if pa.types.is_string(shown):
        return ValueKind.NAME
    if pa.types.is_date(shown):
        return ValueKind.DATE
    return {"f8": ValueKind.DOUBLE, "i8": ValueKind.LONG, "i4": ValueKind.INT}[kind.str[1:]]


def _sign_byte(name: str) -> int:
    """The byte of a record that holds the field's sign: its last, as words are little-endian."""
    kind, offset = _part(CLOSED, name)
    return offset + kind.itemsize - 1
