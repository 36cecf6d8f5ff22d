"""Rows of files as the engine takes them: checked by the wire's own rules, partition by partition, without a log between.

What this gives is what the decoder would give of the same rows in the log, with the numbers of their lines for offsets.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from marketpulse.kafka.columns import EVENT_TIME, INGEST_TIME, OFFSET, ROW, SYMBOL, Columns, joined
from marketpulse.kafka.frame_reader import RefusedRow, read_frames
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.model.market import ABSENT, ROW_BITS_MASK, DeadLetter, Ids, Ints, MarketBatch, StringTable

IS_STORED = 0
"""Instead of an ingest time: the lake has the row already."""

_FIRST_FRAME = np.zeros(1, np.int64)


class LoadedRows:
    """Rows of one source as batches of `topic`, which names their file."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.strings = StringTable()
        self._topic, self._partitions = topic, partitions
        self._partition_of: Ids = np.empty(0, np.int32)  # by a string's id

    def batches(
        self, tables: Sequence[pa.Table], numbers: Sequence[Ints], parts: Sequence[Ids], stored: Sequence[np.ndarray],
        end_ns: Mapping[str, int],
    ) -> tuple[dict[int, MarketBatch], list[DeadLetter], int]:  # fmt: skip
        """One stretch of time: by kind, in the order of rank, tables with columns of TRADE, QUOTE, BAR_IN or EVENT,
        and the number of each row's line, its place among those of the same number, and whether the lake has it.

        Gives the rows by partition in order of time, a dead letter for each row that was refused, and how many rows
        were left out because they lie at or after their symbol's time in `end_ns`; none of those that the lake has.
        """
        found: list[Columns] = []
        letters: list[DeadLetter] = []
        for table, number, part, there in zip(tables, numbers, parts, stored, strict=True):
            columns, refused = read_frames([table], _FIRST_FRAME, self.strings)
            letters += [self._letter(one, number, part) for one in refused]
            place = columns.ids[ROW].copy()
            columns.longs[OFFSET], columns.ids[ROW] = number[place], part[place]
            columns.longs[INGEST_TIME, there[place]] = IS_STORED
            found.append(columns)
        whole = found[0] if len(found) == 1 else _merged(found)
        before = len(whole)
        if end_ns:
            whole = self._before(whole, end_ns)
        return dict(self._by_partition(whole)), letters, before - len(whole)

    def partition_of(self, symbols: Sequence[str]) -> Ids:
        """(n,) the partition of each symbol."""
        return partitions_of([symbol.encode() for symbol in symbols], self._partitions)

    def _by_partition(self, whole: Columns) -> list[tuple[int, MarketBatch]]:
        new = self.strings.texts()[len(self._partition_of) :]
        if new:
            self._partition_of = np.concatenate([self._partition_of, self.partition_of(new)])
        partition = self._partition_of[whole.ids[SYMBOL]]
        ends = np.cumsum(np.bincount(partition, minlength=self._partitions)).tolist()
        # Of 16 bits they are sorted without comparing; there are never so many partitions.
        sorted_out = whole.taken(np.argsort(partition.astype(np.uint16), kind="stable"))
        found = []
        for number, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > begin:
                own = _slice(sorted_out, begin, end)
                found.append((number, own.to_batch(self._topic, number, self.strings)))
        return found

    def _before(self, whole: Columns, end_ns: Mapping[str, int]) -> Columns:
        ends = np.array([end_ns.get(text, 2**63 - 1) for text in self.strings.texts()], np.int64)
        kept = (whole.longs[EVENT_TIME] < ends[whole.ids[SYMBOL]]) | (whole.longs[INGEST_TIME] == IS_STORED)
        return whole if kept.all() else whole.taken(np.flatnonzero(kept))

    def _letter(self, row: RefusedRow, number: Ints, part: Ids) -> DeadLetter:
        symbol = row.refusal.symbol
        partition = int(self.partition_of([symbol])[0]) if symbol else 0
        return DeadLetter(
            row.refusal.reason, row.refusal.detail, self._topic, partition, int(number[row.row] & ROW_BITS_MASK),
            int(part[row.row]) or ABSENT, None, row.shown, symbol,
        )  # fmt: skip


def _slice(whole: Columns, begin: int, end: int) -> Columns:
    """These rows, on the same memory."""
    rare = {row - begin: record for row, record in whole.rare.items() if begin <= row < end}
    rows = slice(begin, end)
    return Columns(
        whole.floats[:, rows], whole.longs[:, rows], whole.ids[:, rows], whole.flags[:, rows], whole.data, rare
    )  # fmt: skip


def _merged(parts: list[Columns]) -> Columns:
    """All rows in order of time; of one time, in the order of the parts, then of their numbers."""
    times = np.concatenate([part.longs[EVENT_TIME] for part in parts])
    numbers = np.concatenate([part.longs[OFFSET] for part in parts])
    rank = np.concatenate([np.full(len(part), i) for i, part in enumerate(parts)])
    order = np.lexsort((rank, times))  # stable: each part is in order already
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    begin = 0
    for part in parts:
        part.longs[OFFSET] = place[begin : begin + len(part)]
        begin += len(part)
    whole = joined(parts)
    whole.longs[OFFSET] = numbers[order]
    return whole
