"""From records of `market` to columns: both wires, in the order of the log.

JSON objects go through the compiled scanner; what it leaves goes through the authority, one by one.
Arrow frames are read as columns. What cannot be used becomes a dead letter and the rest goes on.
"""

from collections.abc import Callable, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from marketpulse.kafka.columns import (
    CONDITIONS_END,
    CONDITIONS_START,
    KIND,
    LOG_TIME,
    OFFSET,
    Columns,
    joined,
)
from marketpulse.kafka.frame_reader import read_frame
from marketpulse.kafka.json_kernel import NO_OBJECT, TAKEN, ScanTables
from marketpulse.kafka.market_contract import Refused
from marketpulse.kafka.names import NameTable
from marketpulse.kafka.one_record import Writer, read_object
from marketpulse.kafka.words import PADDING
from marketpulse.model.market import (
    ABSENT,
    NOT_ASKED,
    Bytes,
    DeadLetter,
    Ints,
    Kind,
    MarketBatch,
    StringTable,
)

STRINGS_MAX = 300_000  # all symbols of twelve partitions at the default cap, and some
_REFUSED = 3  # a record's status once its dead letter is written


class MarketDecoder:
    """Decodes the records of `market`, partition by partition, with one table of strings for all.

    Ids mean what the batch's own `strings` says, and nothing about order. A table of more than
    `strings_max` strings is left behind for a new one, so that a flood of names does not stay in memory.
    """

    def __init__(self, strings: StringTable | None = None, strings_max: int = STRINGS_MAX) -> None:
        self._strings_max = strings_max
        self.strings = StringTable() if strings is None else strings
        self._names = NameTable(self.strings)
        self._tables = ScanTables()

    def decode(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes | None],
        offsets: Ints,
        log_time_ns: Callable[[int], int],
        keys: Callable[[int], bytes | None],
        is_frame: Callable[[int], bool],
    ) -> tuple[MarketBatch, list[DeadLetter]]:
        """The rows of n records in the order of the log, and a dead letter for each that was refused.

        offsets (n,) int64. The functions are asked by the record's index, and only where it matters:
        `log_time_ns` for heartbeats and clocks, `keys` for refused records, `is_frame` (whether the
        content-type header names an Arrow stream) for values that begin like no JSON object.
        """
        if len(self.strings) > self._strings_max:
            self.strings = StringTable()
            self._names = NameTable(self.strings)
        columns, status = self._scan(values)
        columns.longs[OFFSET] = offsets
        letters: list[DeadLetter] = []

        def refuse(record: int, refusal: Refused, row: int = ABSENT, value: bytes | None = None) -> None:
            whole = values[record] if row == ABSENT else value
            letters.append(
                DeadLetter(
                    refusal.reason,
                    refusal.detail,
                    topic,
                    partition,
                    int(offsets[record]),
                    row,
                    keys(record),
                    whole,
                    refusal.symbol,
                )
            )

        _parse_conditions(columns, status)
        frames: list[Columns] = []
        if status.any():
            frames = self._take_rest(values, columns, status, is_frame, refuse)
        _set_log_times(columns, np.flatnonzero(_marks(columns) & (status == TAKEN)), log_time_ns)
        for frame in frames:
            self._set_frame_log_times(frame, offsets, log_time_ns)
        if frames or status.any():
            columns = joined([columns.taken(np.flatnonzero(status == TAKEN)), *frames])
        return columns.to_batch(topic, partition, self.strings), letters

    def _scan(self, values: Sequence[bytes | None]) -> tuple[Columns, NDArray[np.int8]]:
        """Columns with every plain JSON record in its place, and each record's status."""
        n = len(values)
        ends, data = _laid_out(values)
        columns, status = Columns.undefined(n, data), np.empty(n, np.int8)
        self._names.pull()
        done = self._tables.scan(data, ends, 0, status, columns, self._names)
        while done < n:
            self._names.grow()
            done = self._tables.scan(data, ends, done, status, columns, self._names)
        self._names.push()
        return columns, status

    def _take_rest(
        self,
        values: Sequence[bytes | None],
        columns: Columns,
        status: NDArray[np.int8],
        is_frame: Callable[[int], bool],
        refuse: Callable[..., None],
    ) -> list[Columns]:
        """Put what the scan left into its place; returns the rows of the Arrow frames."""
        frames: list[Columns] = []
        writer = Writer(columns, self.strings)
        for record in np.flatnonzero(status).tolist():
            value = values[record]
            try:
                if status[record] == NO_OBJECT and value is not None and is_frame(record):
                    frame, refused_rows = read_frame(value, self.strings)
                    frame.longs[OFFSET] = columns.longs[OFFSET, record]
                    frames.append(frame)
                    status[record] = _REFUSED
                    for row, refusal, shown in refused_rows:
                        refuse(record, refusal, row, shown)
                else:
                    writer.take(record, read_object(value))
                    status[record] = TAKEN
            except Refused as refusal:
                status[record] = _REFUSED
                refuse(record, refusal)
        writer.finish()
        return frames

    @staticmethod
    def _set_frame_log_times(frame: Columns, offsets: Ints, log_time_ns: Callable[[int], int]) -> None:
        rows = np.flatnonzero(_marks(frame))
        if len(rows):
            record = int(np.searchsorted(offsets, frame.longs[OFFSET, rows[0]]))
            frame.longs[LOG_TIME, rows] = log_time_ns(record)


def _marks(columns: Columns) -> NDArray[np.bool_]:
    """(n,) which rows are heartbeats or clocks."""
    kind = columns.flags[KIND]
    return np.asarray((kind == Kind.HEARTBEAT) | (kind == Kind.CLOCK))


def _set_log_times(columns: Columns, rows: Ints, log_time_ns: Callable[[int], int]) -> None:
    columns.longs[LOG_TIME] = NOT_ASKED
    for record in rows.tolist():
        columns.longs[LOG_TIME, record] = log_time_ns(record)


def _parse_conditions(columns: Columns, status: NDArray[np.int8]) -> None:
    """Lists of conditions that the scan found: few different ones, so each is parsed once."""
    starts = columns.longs[CONDITIONS_START]
    rows = np.flatnonzero((status == TAKEN) & (columns.flags[KIND] == Kind.TRADE) & (starts >= 0))
    if not len(rows):
        return
    parsed: dict[bytes, list[str]] = {}
    data = columns.data.tobytes()
    for row, start, end in zip(
        rows.tolist(), starts[rows].tolist(), columns.longs[CONDITIONS_END, rows].tolist(), strict=True
    ):
        text = data[start:end]
        conditions = parsed.get(text)
        if conditions is None:
            conditions = parsed[text] = orjson.loads(text)
        if conditions:
            columns.rare[row] = {"conditions": conditions}


def _laid_out(values: Sequence[bytes | None]) -> tuple[Ints, Bytes]:
    """Where each value ends in the joined bytes (behind a 0), and these with their padding."""
    try:
        lengths = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]
    except TypeError:  # a tombstone: rare, so it is not looked for beforehand
        return _laid_out([value or b"" for value in values])
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends, np.frombuffer(b"".join([*values, PADDING]), np.uint8)  # type: ignore[list-item]
