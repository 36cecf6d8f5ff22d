"""Recomputed rows of a replay, and what may be concluded where the store has no such row, or another one."""

from dataclasses import dataclass, field

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


def output_partitions(symbols: pa.ChunkedArray, outputs: int) -> Ints:
    """(n,) where the rows of these symbols go to; each to a place of its own where the topic is unknown."""
    encoded = pc.dictionary_encode(symbols.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = [text.encode() for text in encoded.dictionary.to_pylist()]
    numbers = partitions_of(names, outputs) if outputs else np.arange(len(names))
    found: Ints = numbers.astype(np.int64)[encoded.indices.to_numpy()]
    return found
