"""From records of `market` to columns: both wires, in the order of the log.

JSON objects go through the compiled scanner; what it leaves goes through the authority, one by one.
Arrow frames are read as columns. What cannot be used becomes a dead letter and the rest goes on.
"""

from collections.abc import Callable

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from marketpulse.kafka.columns import CONDITIONS_END, CONDITIONS_START, KIND, LOG_TIME, OFFSET, Columns, joined
from marketpulse.kafka.frame_bounds import bounded_table
from marketpulse.kafka.frame_reader import read_frames
from marketpulse.kafka.json_kernel import NO_OBJECT, TAKEN, ScanTables
from marketpulse.kafka.market_contract import Refused
from marketpulse.kafka.names import NameTable
from marketpulse.kafka.one_record import Writer, read_object
from marketpulse.kafka.records import Records
from marketpulse.model.market import ABSENT, DeadLetter, Ints, Kind, MarketBatch, StringTable

STRINGS_MAX = 300_000  # all symbols of twelve partitions at the default cap, and some
_REFUSED = 3  # a record's status once its dead letter is written
_TRADE, _HEARTBEAT, _CLOCK = (int(Kind.TRADE), int(Kind.HEARTBEAT), int(Kind.CLOCK))  # numpy compares an enum slowly


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

    def decode(self, topic: str, records: Records) -> tuple[MarketBatch, list[DeadLetter]]:
        """The rows of n records in the order of the log, and a dead letter for each that was refused."""
        if len(self.strings) > self._strings_max:
            self.strings = StringTable()
            self._names = NameTable(self.strings)
        columns, status = self._scan(records)
        columns.longs[OFFSET] = records.offsets
        letters: list[DeadLetter] = []

        def refuse(record: int, refusal: Refused, row: int = ABSENT, value: bytes | None = None) -> None:
            letters.append(
                DeadLetter(
                    refusal.reason,
                    refusal.detail,
                    topic,
                    records.partition,
                    int(records.offsets[record]),
                    row,
                    records.key(record),
                    records.value(record) if row == ABSENT else value,
                    refusal.symbol,
                )
            )

        _parse_conditions(columns, status)
        frames: list[Columns] = []
        if status.any():
            frames = self._take_rest(records, columns, status, refuse)
        _set_log_times(columns, np.flatnonzero(_marks(columns) & (status == TAKEN)), records)
        for frame in frames:
            _set_log_times(frame, np.flatnonzero(_marks(frame)), records)
        if frames or status.any():
            columns = joined([columns.taken(np.flatnonzero(status == TAKEN)), *frames])
            letters.sort(key=lambda letter: (letter.offset, letter.row))
        return columns.to_batch(topic, records.partition, self.strings), letters

    def _scan(self, records: Records) -> tuple[Columns, NDArray[np.int8]]:
        """Columns with every plain JSON record in its place, and each record's status."""
        n = len(records)
        columns, status = Columns.undefined(n, records.data), np.empty(n, np.int8)
        self._names.pull()
        done = self._tables.scan(records.data, records.ends, 0, status, columns, self._names)
        while done < n:
            self._names.grow()
            done = self._tables.scan(records.data, records.ends, done, status, columns, self._names)
        self._names.push()
        return columns, status

    def _take_rest(
        self, records: Records, columns: Columns, status: NDArray[np.int8], refuse: Callable[..., None]
    ) -> list[Columns]:
        """Put what the scan left into its place; returns the rows of the Arrow frames."""
        frames: dict[pa.Schema, list[tuple[int, pa.Table]]] = {}
        writer = Writer(columns, self.strings)
        for record in np.flatnonzero(status).tolist():
            value = records.value(record)
            try:
                if status[record] == NO_OBJECT and value is not None and records.is_frame(record):
                    status[record] = _REFUSED
                    frame = bounded_table(value)
                    frames.setdefault(frame.schema, []).append((record, frame))
                else:
                    writer.take(record, read_object(value))
                    status[record] = TAKEN
            except Refused as refusal:
                status[record] = _REFUSED
                refuse(record, refusal)
        writer.finish()
        return [self._take_frames(alike, records, refuse) for alike in frames.values()]

    def _take_frames(
        self, frames: list[tuple[int, pa.Table]], records: Records, refuse: Callable[..., None]
    ) -> Columns:
        """The rows of frames of one schema, each with the number of its record."""
        of_frame = np.array([record for record, _ in frames], np.int64)
        offsets = records.offsets[of_frame]
        columns, refused = read_frames([table for _, table in frames], offsets, self.strings)
        for row in refused:
            refuse(int(of_frame[row.frame]), row.refusal, row.row, row.shown)
        return columns


def _marks(columns: Columns) -> NDArray[np.bool_]:
    """(n,) which rows are heartbeats or clocks."""
    kind = columns.flags[KIND]
    return np.asarray((kind == _HEARTBEAT) | (kind == _CLOCK))


def _set_log_times(columns: Columns, rows: Ints, records: Records) -> None:
    """When the records of these rows were appended."""
    places = np.searchsorted(records.offsets, columns.longs[OFFSET, rows])
    columns.longs[LOG_TIME, rows] = records.appended_ms[places] * 1_000_000


def _parse_conditions(columns: Columns, status: NDArray[np.int8]) -> None:
    """Lists of conditions that the scan found: few different ones, so each is parsed once."""
    starts = columns.longs[CONDITIONS_START]
    rows = np.flatnonzero((status == TAKEN) & (columns.flags[KIND] == _TRADE) & (starts >= 0))
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
