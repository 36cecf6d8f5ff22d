"""A stretch of a foreign topic, `[start, stop)` of every partition, as one tape in order of event time.

Records come keyed or not, so a symbol's rows lie in several partitions and in no order between them.
Within a window that is mended: the same stretch always gives the same rows in the same order, however
it was polled, so a place in it (`row`) means something after a restart.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from marketpulse.errors import Fatal, ParameterError
from marketpulse.model.market import Ints
from marketpulse.model.timeframe import Timeframe
from marketpulse.ports import ForeignRecords, RejectedInput
from marketpulse.settings import Mapping
from marketpulse.sources import bars
from marketpulse.sources.dataset import concat_rows
from marketpulse.sources.inference import describe, describe_columns, reader_for
from marketpulse.sources.json_rows import from_records
from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.mapping import NoSuchColumn, NotUnderstood, Plan
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.raw import RawRows
from marketpulse.sources.tape import Tape, build
from marketpulse.telemetry import get_logger

Decode = Callable[[Sequence[bytes], str, Sequence[int]], tuple[RawRows, list[int]]]
"""(values, the topic's name, offsets) -> rows, and for each row the index of its record."""


_REVISED_UNTIL_ROWS = 1_000
_LABELS_MAX = 1_000
_SYMBOLS_MAX = 10_000


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
    """Understands windows. Fields are inferred for every set of names met: a topic may mix records.

    What was inferred from the first rows is revised while few have come: each of them is looked at together with those
    before. `day_first` and `timeframe` are what a restart has to know.
    """

    def __init__(self, topic: str, mapping: Mapping, where: str = "", decode: Decode = from_records) -> None:
        self._topic = topic
        self._decode = decode
        self._where = where or f"topic {topic}"  # for people
        self._mapping = mapping
        self._clock = LocalClock(mapping.timezone)
        self._readers: dict[frozenset[str], Reader] = {}
        self._heads: dict[frozenset[str], pl.DataFrame] = {}
        self._labels: Rows | None = None  # the newest of bars
        self._symbols: set[str] = set()
        self._kinds: set[str] = set()
        self.timeframe: str | None = mapping.timeframe  # of bars, once it is known
        self.day_first: bool | None = None
        self.understood = ""  # a sentence for people, changed when what it says is revised

    def read(self, window: Window, live: bool, *, lone: bool = False) -> Understood | None:
        """None: its bars' timeframe cannot be told yet, more records are needed.

        `live`: a bar that has not closed when its record arrived is still forming; `lone`: no other row has come for so
        long that a single label at midnight is taken for a day. Raises Fatal (NotUnderstood, NoSuchColumn) when nothing
        at all of the topic can be understood.
        """
        order = window.in_order()
        values = [window.values[i] for i in order]
        raw, of_record = self._decode(values, self._topic, [window.offsets[i] for i in order])
        arrived_ns = np.array(window.timestamps_ms, np.int64)[order] * 1_000_000
        return self.understand(raw, arrived_ns[np.array(of_record, np.int64)], live, lone=lone)

    def understand(self, raw: RawRows, arrived_ns: Ints, live: bool, *, lone: bool = True) -> Understood | None:
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
            finished = self._bars(parts["bar"][0], arrived_ns, live, lone)
            if finished is None:
                return None
            parts["bar"] = [finished]
        self._note_understood(reader.plan, raw, parts)
        delays = [arrived_ns[rows.raw] - rows.time_ns for kind, (rows,) in parts.items() if kind != "event"]
        return Understood(build(parts), block.rejected, np.concatenate(delays) if delays else np.empty(0, np.int64))

    def _reader(self, raw: RawRows) -> Reader | None:
        """The reader of rows with these names, inferred again while few of them have come; None: nothing is known of them."""
        names = frozenset(raw.frame.columns)
        reader, head = self._readers.get(names), self._heads.get(names)
        if head is not None and len(head) >= _REVISED_UNTIL_ROWS:
            return reader
        with contextlib.suppress(pl.exceptions.PolarsError):  # lists and numbers under one name
            head = (
                pl.concat([head, raw.frame.select(head.columns)], how="vertical_relaxed") if head is not None else None
            )
        head = raw.frame if head is None else head
        self._heads[names] = head.head(max(_REVISED_UNTIL_ROWS, len(raw.frame)))
        try:
            new = reader_for(replace(raw, frame=head), self._mapping, self._where, self._topic.upper())
        except (NotUnderstood, NoSuchColumn):
            if not self._readers:
                raise
            return reader
        if new.day_first is None:
            new.day_first = self.day_first
        self.day_first = new.day_first
        if reader is None:
            new.clock = self._clock
            self._readers[names] = reader = new
        elif reader.inferred() != new.inferred():
            reader.plan, reader.decimal_comma, reader.day_first = new.inferred()
            self.understood = ""
        return reader

    def _bars(self, rows: Rows, arrived_ns: Ints, live: bool, lone: bool) -> Rows | None:
        if self._mapping.timeframe is None and rows.frame["timeframe"].null_count():
            self._infer_timeframe(rows, lone)
            if self.timeframe is None:
                return None
        done = bars.finish(rows, self._mapping, self._where, self.timeframe)
        return _forming(done, arrived_ns[done.raw]) if live else done

    def _infer_timeframe(self, rows: Rows, lone: bool) -> None:
        """Take a smaller one than before where the labels say so: a larger one may only have gaps between them."""
        labels = Rows(rows.frame.select("symbol", "has_clock"), rows.time_ns, rows.local_ns, rows.raw)
        if self._labels is not None:
            labels = concat_rows([self._labels, labels])
        self._labels = labels.take(np.arange(max(0, len(labels) - _LABELS_MAX), len(labels)))
        known = self.timeframe
        if not lone and known is None and bars.is_lone_midnight(labels):
            return
        try:
            inferred = bars.infer_timeframe(labels, sparse=True)
        except ParameterError as error:
            raise Fatal(f"{self._where}: {error}") from None
        if inferred is not None and (
            known is None or (_is_shorter(inferred, known) and bars.contradict(labels, known))
        ):
            self.timeframe, self.understood = inferred, ""

    def _note_understood(self, plan: Plan, raw: RawRows, parts: dict[str, list[Rows]]) -> None:
        """Make the sentence of what came until now, and say it in the log, where none holds any more."""
        for kind, (rows,) in parts.items():
            self._kinds.add(kind)
            if len(self._symbols) < _SYMBOLS_MAX:
                self._symbols.update(rows.frame["symbol"].unique().to_list())
        if self.understood or not parts:
            return
        frames = parts["bar"][0].frame["timeframe"].unique().sort().to_list() if "bar" in parts else []
        columns = describe_columns(plan, raw.frame.columns)
        self.understood = f"{describe(self._kinds, frames, self._symbols)}: {columns}"
        get_logger().info("rows_understood", origin=self._where, rows=self.understood)


def _is_shorter(one: str, other: str) -> bool:
    return Timeframe.parse(one).length < Timeframe.parse(other).length


def _forming(rows: Rows, arrived_ns: Ints) -> Rows:
    """Bars whose close was still to come when they arrived may change: not final, and known since then."""
    forming = rows.time_ns > arrived_ns
    times = np.where(forming, arrived_ns, rows.time_ns)
    return Rows(rows.frame.with_columns(final=pl.Series(~forming)), times, rows.local_ns, rows.raw)
