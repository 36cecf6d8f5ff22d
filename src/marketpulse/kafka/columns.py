"""The columns of a MarketBatch while it is being decoded: four matrices that kernels write into.

A row of a matrix is one column of the batch, so a batch is made without a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.model.market import ABSENT, NOT_ASKED, Bytes, Floats, Ids, Ints, MarketBatch, StringTable

# Rows of `floats`: a … f of MarketBatch.
A, B, C, D, E, F = range(6)
# Rows of `longs`.
EVENT_TIME, INGEST_TIME, OPEN_TIME, CLOSE_TIME, TRADE_COUNT, TRADE_ID_START, OFFSET, LOG_TIME = range(8)
CONDITIONS_START, CONDITIONS_END = OPEN_TIME, CLOSE_TIME  # of trades, between the scan and their parsing
# Rows of `ids`.
SYMBOL, SOURCE, VENUE, TIMEFRAME, SESSION_DATE, TRADE_ID_LENGTH, ROW = range(7)
# Rows of `flags`.
KIND, FINAL = range(2)

_RUN_LEAST = 16  # rows: shorter runs are quicker put one by one


@dataclass(slots=True)
class Columns:
    """n rows: floats (6, n), longs (8, n), ids (7, n), flags (2, n), and the bytes that spans point into."""

    floats: Floats
    longs: Ints
    ids: Ids
    flags: NDArray[np.int8]
    data: Bytes
    rare: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.flags.shape[1])

    @classmethod
    def undefined(cls, n: int, data: Bytes) -> "Columns":
        """Columns whose content is still to be written, all of it but row numbers and append times."""
        ids = np.empty((7, n), np.int32)
        ids[ROW] = 0
        longs = np.empty((8, n), np.int64)
        longs[LOG_TIME] = NOT_ASKED
        return cls(np.empty((6, n)), longs, ids, np.empty((2, n), np.int8), data)

    def blank(self, rows: Any) -> None:
        """Make every optional field of these rows missing."""
        self.floats[:, rows] = np.nan
        self.longs[:OFFSET, rows] = ABSENT
        self.longs[LOG_TIME, rows] = NOT_ASKED
        self.ids[:ROW, rows] = ABSENT
        self.flags[FINAL, rows] = 1

    def taken(self, rows: Ints) -> "Columns":
        """These rows, in this order."""
        rare = self.rare
        if rare:
            place = np.full(len(self), ABSENT)
            place[rows] = np.arange(len(rows))
            rare = {int(place[old]): value for old, value in rare.items() if place[old] != ABSENT}
        n = len(rows)
        floats, longs = np.empty((6, n)), np.empty((8, n), np.int64)
        ids, flags = np.empty((7, n), np.int32), np.empty((2, n), np.int8)
        _take(self.floats.view(np.int64), rows, floats.view(np.int64))
        _take(self.longs, rows, longs)
        _take(self.ids, rows, ids)
        _take(self.flags, rows, flags)
        return Columns(floats, longs, ids, flags, self.data, rare)

    def to_batch(self, topic: str, partition: int, strings: StringTable) -> MarketBatch:
        """The same memory as a MarketBatch: every column in one piece and `data` read-only, whatever the records
        were. The engine's kernels are compiled for each layout that they meet, which takes many seconds."""
        floats, longs, ids, flags = self.floats, self.longs, self.ids, self.flags
        data = self.data.view()
        data.flags.writeable = False
        return MarketBatch(
            topic, partition, strings, kind=flags[KIND], symbol=ids[SYMBOL], source=ids[SOURCE], venue=ids[VENUE],
            event_time_ns=longs[EVENT_TIME], ingest_time_ns=longs[INGEST_TIME], a=floats[A], b=floats[B],
            c=floats[C], d=floats[D], e=floats[E], f=floats[F], timeframe=ids[TIMEFRAME],
            open_time_ns=longs[OPEN_TIME], close_time_ns=longs[CLOSE_TIME], trade_count=longs[TRADE_COUNT],
            final=flags[FINAL], session_date=ids[SESSION_DATE], trade_id_start=longs[TRADE_ID_START],
            trade_id_length=ids[TRADE_ID_LENGTH], offset=longs[OFFSET], row=ids[ROW],
            log_time_ns=longs[LOG_TIME], data=data, rare=self.rare,
        )  # fmt: skip


@bare_kernel
def _take(columns: NDArray[Any], rows: Ints, out: NDArray[Any]) -> None:
    """These rows of each column. Most columns hold the same in all rows, and of these one look is enough."""
    for c in range(columns.shape[0]):
        column, taken = columns[c], out[c]
        one = column[0] if column.size else 0
        same = True
        for i in range(column.size):
            if column[i] != one:
                same = False
                break
        if same:
            taken[:] = one
        else:
            for i in range(rows.size):
                taken[i] = column[rows[i]]


def joined(parts: Sequence[Columns]) -> Columns:
    """All rows of all parts in the order of the log; rows of one offset stand in one part, and each part is in order."""
    parts = [part for part in parts if len(part)] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([p.longs[OFFSET] for p in parts]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    whole = Columns.undefined(len(order), np.concatenate([p.data for p in parts]))
    row, byte = 0, 0
    for part in parts:
        _put(part, place[row : row + len(part)], byte, whole)
        row, byte = row + len(part), byte + len(part.data)
    return whole


def _put(part: Columns, places: Ints, byte: int, whole: Columns) -> None:
    """The part's rows at these places of the whole, where its bytes begin at `byte`. They come in runs: long ones
    of frames, between records that each are a row."""
    part.longs[TRADE_ID_START] += byte
    ends = np.append(np.flatnonzero(np.diff(places) != 1) + 1, len(places))
    pairs: list[tuple[Any, Any]] = [
        (part.floats, whole.floats),
        (part.longs, whole.longs),
        (part.ids, whole.ids),
        (part.flags, whole.flags),
    ]
    if _RUN_LEAST * len(ends) > len(places):
        for ours, all_rows in pairs:
            all_rows[:, places] = ours
    else:
        begin = 0
        for end in ends.tolist():
            at = int(places[begin])
            for ours, all_rows in pairs:
                all_rows[:, at : at + end - begin] = ours[:, begin:end]
            begin = end
    whole.rare.update({int(places[row]): value for row, value in part.rare.items()})
