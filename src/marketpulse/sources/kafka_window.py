"""A stretch of a foreign topic, `[start, stop)` of every partition, as one tape in order of event time.

Records come keyed or not, so a symbol's rows lie in several partitions and in no order between them.
Within a window that is mended: the same stretch always gives the same rows in the same order, however
it was polled, so a place in it (`row`) means something after a restart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from marketpulse.errors import Fatal, ParameterError
from marketpulse.model.market import Ints
from marketpulse.ports import ForeignRecords, RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.dataset import reader_for
from marketpulse.sources.json_rows import from_records
from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.raw import RawRows
from marketpulse.sources.tape import Tape, build

Decode = Callable[[Sequence[bytes], str, Sequence[int]], tuple[RawRows, list[int]]]
"""(values, the topic's name, offsets) -> rows, and for each row the index of its record."""


@dataclass(slots=True)
class Window:
    """Records of one topic as they come in. `start`, `stop`: next offsets by partition."""

    start: dict[int, int]
    stop: dict[int, int] = field(default_factory=dict)
    values: list[bytes] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps_ms: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stop = dict(self.start)

    def __len__(self) -> int:
        return len(self.values)

    def add(self, found: Sequence[ForeignRecords], until: dict[int, int] | None = None) -> None:
        """Take records in; with `until`, only those before its offsets. Tombstones hold no row."""
        for records in found:
            end = None if until is None else until.get(records.partition, 0)
            for offset, at_ms, value in zip(records.offsets, records.timestamps_ms, records.values, strict=True):
                if end is not None and offset >= end:
                    break
                self.stop[records.partition] = offset + 1
                if value is not None:
                    self.values.append(value)
                    self.partitions.append(records.partition)
                    self.offsets.append(offset)
                    self.timestamps_ms.append(at_ms)

    def in_order(self) -> Ints:
        """Indices of the records by time of arrival, partition and offset."""
        return np.lexsort((self.offsets, self.partitions, self.timestamps_ms))


@dataclass(frozen=True, slots=True)
class Understood:
    """A window's rows. `delays_ns` (n,): from each row's event time to its record's arrival."""

    tape: Tape
    rejected: list[RejectedInput]
    delays_ns: Ints


class TopicReader:
    """Understands windows. Fields are guessed anew for every set of names met: a topic may mix records."""

    def __init__(self, topic: str, mapping: Mapping, where: str = "", decode: Decode = from_records) -> None:
        self._topic = topic
        self._decode = decode
        self._where = where or f"topic {topic}"  # for people
        self._mapping = mapping
        self._clock = LocalClock(mapping.timezone)
        self._readers: dict[frozenset[str], Reader] = {}
        self.timeframe: str | None = mapping.timeframe  # of bars, once it is known

    def read(self, window: Window, live: bool) -> Understood | None:
        """None: its bars' timeframe cannot be told yet, more records are needed.

        `live`: a bar that has not closed when its record arrived is still forming. Raises Fatal when
        nothing at all of the topic can be understood.
        """
        order = window.in_order()
        values = [window.values[i] for i in order]
        raw, of_record = self._decode(values, self._topic, [window.offsets[i] for i in order])
        arrived_ns = np.array(window.timestamps_ms, np.int64)[order] * 1_000_000
        return self.understand(raw, arrived_ns[np.array(of_record, np.int64)], live)

    def understand(self, raw: RawRows, arrived_ns: Ints, live: bool) -> Understood | None:
        """The same of rows that are split into fields; `arrived_ns` (n,) is when each of them came."""
        if not len(raw.frame):
            return Understood(build({}), list(raw.broken), np.empty(0, np.int64))
        reader = self._reader(raw)
        if reader is None:
            faults = [
                raw.rejected(i, "missing_field", f"nothing we know in its fields: {', '.join(raw.frame.columns)}")
                for i in range(len(raw.frame))
            ]
            return Understood(build({}), [*raw.broken, *faults], np.empty(0, np.int64))
        block = reader.read(raw)
        parts = {kind: [rows] for kind, rows in block.rows.items()}
        if "bar" in parts:
            finished = self._bars(parts["bar"][0], arrived_ns, live)
            if finished is None:
                return None
            parts["bar"] = [finished]
        delays = [arrived_ns[rows.raw] - rows.time_ns for kind, (rows,) in parts.items() if kind != "event"]
        return Understood(build(parts), block.rejected, np.concatenate(delays) if delays else np.empty(0, np.int64))

    def _reader(self, raw: RawRows) -> Reader | None:
        names = frozenset(raw.frame.columns)
        if names not in self._readers:
            try:
                reader = reader_for(raw, self._mapping, self._where, self._topic.upper())
            except Fatal:
                if not self._readers:
                    raise
                return None
            reader.clock = self._clock
            self._readers[names] = reader
        return self._readers[names]

    def _bars(self, rows: Rows, arrived_ns: Ints, live: bool) -> Rows | None:
        if self.timeframe is None and rows.frame["timeframe"].null_count():
            try:
                self.timeframe = bars.infer_timeframe(rows)
            except ParameterError as error:
                raise Fatal(f"{self._where}: {error}") from None
            if self.timeframe is None:
                return None
        done = bars.finish(rows, self._mapping, self._where, self.timeframe)
        if live:
            done = _forming(done, arrived_ns[done.raw])
        # Pollers send the same bars again and again: within a window the newest word on a bar holds.
        keys = done.frame.select("symbol", "timeframe", "open_time_ns")
        newest = keys.with_row_index("at").unique(["symbol", "timeframe", "open_time_ns"], keep="last")
        return done.take(newest["at"].sort().to_numpy().astype(np.int64))


def _forming(rows: Rows, arrived_ns: Ints) -> Rows:
    """Bars whose close was still to come when they arrived may change: not final, and known since then."""
    forming = rows.time_ns > arrived_ns
    times = np.where(forming, arrived_ns, rows.time_ns)
    return Rows(rows.frame.with_columns(final=pl.Series(~forming)), times, rows.local_ns, rows.raw)
