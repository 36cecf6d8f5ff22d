"""Recomputed rows of a replay, and what may be concluded where the store has no such row, or another one."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.compare import Comparison, Ints, Mask, Table, flat
from marketpulse.app.receipts.replay import Rows, Start
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.layout import NEVER
from marketpulse.engine.state import PartitionState
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.model.rows import ALERT
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.model.timeframe import Cut


@dataclass(frozen=True, slots=True)
class ToldBefore:
    """What was told before a replay's first record: nothing, where it began with the log."""

    offset: int
    closed_until: dict[tuple[str, str], int]
    counted: frozenset[str]  # timeframes cut by count, whose bars have no time at which they are closed

    @classmethod
    def of(cls, start: Start, config: EngineConfig) -> "ToldBefore":
        counted = frozenset(f.name for f in config.frames if f.cut == Cut.TICKS)
        return cls(start.offset, closed_until(start.state, config) if start.from_snapshot else {}, counted)

    def before(self, rows: pa.Table) -> Mask:
        """(n,) which stored rows may have been told before: their inputs and their bars' ends lie before."""
        if not self.closed_until or not rows.num_rows:
            return np.zeros(rows.num_rows, np.bool_)
        reaches = pc.fill_null(rows["receipt.last_offset"], -1).to_numpy() < self.offset
        end = "close_time_ns" if "close_time_ns" in rows.column_names else "event_time_ns"  # of an alert's bar
        columns = (rows[name].to_pylist() for name in ("symbol", "timeframe", end))
        closed = np.array([
            frame in self.counted or close <= self.closed_until.get((symbol, frame), NEVER)
            for symbol, frame, close in zip(*columns, strict=True)
        ])  # fmt: skip
        mask: Mask = reaches & closed
        return mask


def closed_until(state: PartitionState, config: EngineConfig) -> dict[tuple[str, str], int]:
    """By symbol and timeframe, up to where bars have closed."""
    until = state.tables.closed_until
    return {
        (symbol, frame.name): int(until[i, f])
        for i, symbol in enumerate(state.symbols.texts())
        for f, frame in enumerate(config.frames)
    }


_SERIES_PLACE = ("symbol", "timeframe", "open_time_ns")
_NO_ALERTS = pa.RecordBatch.from_pylist([], ALERT)


@dataclass(slots=True)
class Gathered:
    """Recomputed rows, in order of emission."""

    bars: list[pa.RecordBatch] = field(default_factory=list)
    indicators: list[pa.RecordBatch] = field(default_factory=list)
    alerts: list[pa.RecordBatch] = field(default_factory=lambda: [_NO_ALERTS])

    def take(self, rows: Rows) -> None:
        for mine, batch in ((self.bars, rows.bars), (self.indicators, rows.indicators)):
            if batch.num_rows or not mine:
                mine.append(batch)
        self.alerts += rows.alerts

    def table(self, table: Table) -> pa.Table:
        """All of them, flat."""
        batches = {"bars": self.bars, "indicators": self.indicators, "alerts": self.alerts}[table]
        return flat(pa.Table.from_batches(batches)) if batches else pa.table({})


def missing_rows(recomputed: pa.Table, found: Comparison, outputs: int) -> Ints:
    """Places of recomputed rows that are not stored although a later one of the same output partition is: a
    store holds the beginning of each partition, without a gap. What comes behind is not stored yet."""
    if not len(found.only_recomputed):
        return found.only_recomputed
    groups = output_partitions(recomputed["symbol"], outputs)
    newest = np.full(int(groups.max()) + 1, -1)
    np.maximum.at(newest, groups[found.matched], found.matched)
    return found.only_recomputed[found.only_recomputed < newest[groups[found.only_recomputed]]]


def holes(recomputed: pa.Table, stored: pa.Table, grace_ns: int) -> pa.Table:
    """Of last revisions recomputed from the lake's trades, of bars or indicators, those of which no revision is stored although
    rows around them are: of the same series, or where a load brought them, of any timeframe of the symbol (a load stores
    all of them at once). Inputs newer than all that the table reaches may still be on their way."""
    if not recomputed.num_rows or not stored.num_rows:
        return recomputed.slice(0, 0)
    reached = pc.max(stored["receipt.last_offset"]).as_py()
    loaded = pc.fill_null(pc.starts_with(stored["receipt.topic"], LOADED_TOPIC), False)
    bounds = [("open_time_ns", "min"), ("open_time_ns", "max"), ("close_time_ns", "max")]
    lost = recomputed.join(stored.select(_SERIES_PLACE).combine_chunks(), list(_SERIES_PLACE), join_type="left anti")
    series = {
        (r["symbol"], r["timeframe"]): r for r in stored.group_by(_SERIES_PLACE[:2]).aggregate(bounds).to_pylist()
    }
    loads = {r["symbol"]: r for r in stored.filter(loaded).group_by(["symbol"]).aggregate(bounds).to_pylist()}

    def is_missing(row: dict[str, Any]) -> bool:
        own, load = series.get((row["symbol"], row["timeframe"])), loads.get(row["symbol"])
        if own is None:
            return False
        between = own["open_time_ns_min"] < row["open_time_ns"] < own["open_time_ns_max"]
        last_offset = row["receipt.last_offset"]
        if load is not None and (last_offset is None or row["receipt.topic"].startswith(LOADED_TOPIC)):
            ended = row["close_time_ns"] + grace_ns <= load["close_time_ns_max"]
            return bool(between or (ended and row["open_time_ns"] >= load["open_time_ns_min"]))
        return bool(between and (last_offset is None or (reached is not None and last_offset <= reached)))

    columns = [*_SERIES_PLACE, "close_time_ns", "receipt.last_offset", "receipt.topic"]
    return lost.filter(pa.array([is_missing(row) for row in lost.select(columns).to_pylist()], pa.bool_()))


def output_partitions(symbols: pa.ChunkedArray, outputs: int) -> Ints:
    """(n,) where the rows of these symbols go to; each to a place of its own where the topic is unknown."""
    encoded = pc.dictionary_encode(symbols.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = [text.encode() for text in encoded.dictionary.to_pylist()]
    numbers = partitions_of(names, outputs) if outputs else np.arange(len(names))
    found: Ints = numbers.astype(np.int64)[encoded.indices.to_numpy()]
    return found
