"""Rows of several kinds in one order of time, cut into batches as the log wants them.

Ties keep the order: events, quotes, trades, bars; then the order of the files and of their rows.
Each kind lies sorted in one table, so a stretch of the tape is one slice of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.model.market import BAR_IN, EVENT, QUOTE, TRADE, Ints
from marketpulse.model.timeframe import DAY_NS
from marketpulse.sources.normalise import Rows

KINDS = ("event", "quote", "trade", "bar")
SCHEMA = {"event": EVENT, "quote": QUOTE, "trade": TRADE, "bar": BAR_IN}
_EXTRA = "extra"
_STAMPED = {"source", "event_time_ns", "ingest_time_ns"}  # put on when rows leave, not stored


@dataclass(frozen=True, slots=True)
class Tape:
    """n rows in order of `time_ns` (n,). `kind_of` (n,) indexes KINDS; None: all rows are of `only`."""

    time_ns: Ints
    tables: dict[str, pa.Table]
    kind_of: NDArray[np.int8] | None
    only: str = ""

    def __len__(self) -> int:
        return len(self.time_ns)

    def batches(
        self, start: int, stop: int, source: str, now_ns: int, shifted_ns: Ints | None = None, again: int = 0,
        window_ns: int = 0,
    ) -> list[pa.RecordBatch]:  # fmt: skip
        """Rows `[start, stop)` as batches of the log's schemas, in the order in which to write them.

        Rows of one kind make one batch as far as they follow each other; within a window of event
        time of `window_ns`, rows of other kinds between them are let pass (no more than a source's
        lateness allows). `shifted_ns` (stop - start,): other event times, for the `again`-th round.
        """
        times = self.time_ns[start:stop] if shifted_ns is None else shifted_ns
        if self.kind_of is None:
            return [self._batch(self.only, start, stop, times, self.time_ns[start:stop], source, now_ns, again)]
        kinds = self.kind_of[start:stop]
        order = _grouped(kinds, times // window_ns) if window_ns else np.arange(stop - start)
        edges = np.flatnonzero(np.diff(kinds[order])) + 1
        row = {kind: int(np.count_nonzero(self.kind_of[:start] == i)) for i, kind in enumerate(KINDS)}
        found = []
        for run in np.split(order, edges):
            kind = KINDS[kinds[run[0]]]
            first, row[kind] = row[kind], row[kind] + len(run)
            found.append(
                self._batch(kind, first, row[kind], times[run], self.time_ns[start:stop][run], source, now_ns, again)
            )
        return found

    def _batch(
        self, kind: str, start: int, stop: int, times: Ints, own: Ints, source: str, now_ns: int, again: int
    ) -> pa.RecordBatch:
        rows = self.tables[kind].slice(start, stop - start)
        return stamp(kind, rows, times, source, now_ns, shift_ns=times - own, again=again)


def _grouped(kinds: NDArray[np.int8], window: Ints) -> Ints:
    """An order in which rows of one kind lie together within each window; an event keeps its place."""
    event = kinds == KINDS.index("event")
    stretch = np.cumsum(event) + np.cumsum(np.append(False, event[:-1]))
    return np.lexsort((kinds, window, stretch))


def stamp(
    kind: str, rows: pa.Table | pa.RecordBatch, times: Ints, source: str, now_ns: int, shift_ns: Ints | None = None,
    again: int = 0,
) -> pa.RecordBatch:  # fmt: skip
    """Rows of one kind with type, source, event time and ingest time; other times moved by `shift_ns`. Bars with `extra` come as
    whole records."""
    shift = np.zeros(len(times), np.int64) if shift_ns is None else shift_ns
    moved = bool(np.any(shift))
    columns: list[pa.Array] = []
    for field in SCHEMA[kind]:
        if field.name in _STAMPED or (field.name == "type" and kind != "event"):
            columns.append(_stamped(field.name, kind, times, source, now_ns))
            continue
        column = _one(rows.column(field.name))
        if moved:
            column = _moved(field.name, column, shift)
        if again and field.name == "trade_id":
            column = _apart(column, again)
        columns.append(column)
    if kind == "bar" and _EXTRA in rows.column_names:
        return _with_extra(pa.RecordBatch.from_arrays(columns, schema=BAR_IN), rows.column(_EXTRA).to_pylist())
    if kind == "event":
        place = EVENT.get_field_index("body")
        columns[place] = _bodies(columns, shift)
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA[kind])


def _with_extra(bars: pa.RecordBatch, extra: list[str | None]) -> pa.RecordBatch:
    """The bars as whole records, which have room for columns that are not ours."""
    bodies = []
    for row, others in zip(bars.to_pylist(), extra, strict=True):
        record = {name: value for name, value in row.items() if value is not None}
        if others is not None:
            record[_EXTRA] = orjson.Fragment(others)
        bodies.append(orjson.dumps(record).decode())
    own = [bars.column(name) for name in EVENT.names if name != "body"]
    return pa.RecordBatch.from_arrays([*own, pa.array(bodies, pa.string())], schema=EVENT)


def _stamped(name: str, kind: str, times: Ints, source: str, now_ns: int) -> pa.Array:
    if name == "event_time_ns":
        return pa.array(times)
    if name == "ingest_time_ns":
        return pa.array(np.full(len(times), now_ns, np.int64))
    return pa.repeat(kind if name == "type" else source, len(times))


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _moved(name: str, column: pa.Array, shift_ns: Ints) -> pa.Array:
    if name in {"open_time_ns", "close_time_ns"}:
        return pa.array(column.to_numpy() + shift_ns)
    if name == "session_date":
        days = column.cast(pa.int32())
        moved = pl.Series(pl.from_arrow(days)) + pl.Series(shift_ns // DAY_NS)
        return moved.cast(pl.Int32).to_arrow().cast(pa.date32())
    return column


def _apart(trade_id: pa.Array, again: int) -> pa.Array:
    """Ids of a later round: the same id within the window would pass for a duplicate."""
    ids = pl.Series(pl.from_arrow(trade_id))
    return (ids + f"~{again}").to_arrow().cast(pa.string())


def _bodies(columns: Sequence[pa.Array], shift_ns: Ints) -> pa.Array:
    """Whole records as JSON text. Events are few: one object each."""
    kinds, symbols, sources, times, bodies = (column.to_pylist() for column in columns)
    texts = []
    for kind, symbol, source, at, body, shift in zip(
        kinds, symbols, sources, times, bodies, shift_ns.tolist(), strict=True
    ):
        fields = {k: v + shift if k.endswith("_ns") else v for k, v in orjson.loads(body).items()}
        record = {"type": kind, "symbol": symbol, "source": source, "event_time_ns": at, **fields}
        texts.append(orjson.dumps(record).decode())
    return pa.array(texts, pa.string())


def build(parts: dict[str, list[Rows]]) -> Tape:
    """Lay rows by kind out in one order. `parts`: kind -> blocks, bars finished."""
    kinds = [kind for kind in KINDS if parts.get(kind)]
    tables, times = {}, {}
    for kind in kinds:
        tables[kind], times[kind] = _sorted(kind, parts[kind])
    if len(kinds) <= 1:
        only = kinds[0] if kinds else "trade"
        return Tape(times.get(only, np.empty(0, np.int64)), tables, None, only)
    every = np.concatenate([times[kind] for kind in kinds])
    kind_of = np.concatenate([np.full(len(times[kind]), KINDS.index(kind), np.int8) for kind in kinds])
    order = np.argsort(every, kind="stable")
    return Tape(every[order], tables, kind_of[order])


def _sorted(kind: str, blocks: list[Rows]) -> tuple[pa.Table, Ints]:
    times = np.concatenate([rows.time_ns for rows in blocks])
    table = pa.concat_tables([table_of(kind, rows.frame) for rows in blocks])
    if np.all(times[:-1] <= times[1:]):
        return table, times
    order = np.argsort(times, kind="stable")
    return table.combine_chunks().take(pa.array(order)), times[order]


def table_of(kind: str, frame: pl.DataFrame) -> pa.Table:
    """The kind's own columns as Arrow, without those that every row of a batch shares; of bars also `extra` where they have it."""
    n = len(frame)
    columns = {}
    for field in SCHEMA[kind]:
        if field.name in _STAMPED or (field.name == "type" and kind != "event"):
            continue
        there = field.name in frame.columns
        column = frame[field.name].to_arrow() if there else pa.nulls(n, field.type)
        columns[field.name] = column if column.type == field.type else column.cast(field.type)
    if kind == "bar" and _EXTRA in frame.columns:
        columns[_EXTRA] = frame[_EXTRA].to_arrow().cast(pa.string())
    return pa.table(columns)
