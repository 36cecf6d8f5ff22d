"""The engine's results as the rows that leave it, where they lie: what engine.rows says as Arrow columns, without a copy.

26 columns cost what they cost, however few rows they have, and a worker's turn has few rows of many partitions: with them
it took four times as long (bench/small_turns.py).
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
from marketpulse.model.market import Ints, StringTable
from marketpulse.model.record_rows import ALWAYS, RecordRows, RowField, ValueKind
from marketpulse.model.rows import BAR, ENGINE_VERSION, LIVE_NAME, indicators_schema, live_schema

_BARS, _PLACE, _VALUES = range(3)
"""The blocks: bars as CLOSED, what all rows of a partition have in common, indicator values."""
_TIMES = _PLACE
"""Instead of it, of live rows: event time and ingest time of the symbol's newest rows, (n, 2) int64."""

_ORIGIN_NAMES = ("topic", "engine_version", "partition")
_ORIGIN = np.dtype([(name, "i4") for name in _ORIGIN_NAMES])
_TABLES = {"symbol": 0, "timeframe": 1, "source": 2, "venue": 3, "topic": 4, "engine_version": 4}
_OF_TIMES = {"event_time_ns": 0, "ingest_time_ns": 8}
_NAMES = {"timeframe": "frame", "open_time_ns": "open_ns", "close_time_ns": "close_ns"}
"""Fields of CLOSED that have another name in a row."""
_ABSENT = {
    **{name: name for name in ("trade_count", "source", "venue")},
    **{f"{end}_{part}": f"{end}_offset" for end in ("first", "last") for part in ("offset", "row")},
}
"""Values that are null where the field of CLOSED is negative."""


class ResultRows:
    """Rows of BAR, of indicators and of `live`, for a writer that was given `bar_fields`, `indicator_fields` or
    `live_fields`."""

    def __init__(self, config: EngineConfig, topic: str) -> None:
        """`topic`: what the engine reads."""
        self.bar_fields = list(_fields(BAR))
        columns = config.columns()
        self.indicator_fields = list(_fields(indicators_schema(columns), columns))
        self.live_fields = list(_fields(live_schema(columns), [LIVE_NAME.get(name, name) for name in columns]))
        self._frames = StringTable([frame.name for frame in config.frames])
        self._origin = StringTable([topic, ENGINE_VERSION])

    def bars(self, state: PartitionState, closed: np.ndarray, partition: int) -> RecordRows:
        """As engine.rows.bar_rows."""
        return RecordRows((closed, _place(partition)), self._tables(state))

    def indicators(self, state: PartitionState, closed: np.ndarray, values: Floats, partition: int) -> RecordRows:
        """As engine.rows.indicator_rows."""
        return RecordRows((with_quotes(closed), _place(partition), np.ascontiguousarray(values)), self._tables(state))

    def live(self, state: PartitionState, forming: np.ndarray, values: Floats) -> tuple[RecordRows, Ints]:
        """Forming bars with their symbols' newest quotes and their provisional values (n, columns); and (n,) when the
        newest row of each one's symbol was first held, 0: unknown."""
        symbols, of = state.tables.symbols, forming["symbol"]
        times = np.stack([symbols["event_ns"][of], np.maximum(symbols["ingest_ns"][of], 0)], axis=1)
        rows = RecordRows((forming, times, np.ascontiguousarray(values)), self._tables(state))
        return rows, times[:, 1]

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
        elif field.name in _OF_TIMES:
            yield RowField(field.name, ValueKind.LONG, _TIMES, _OF_TIMES[field.name])
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
