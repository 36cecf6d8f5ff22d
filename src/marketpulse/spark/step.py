"""One partition's records through the engine, when another system than our worker holds the state:

    (what is kept, records) -> (what is kept, rows)

Between two calls there is nothing but `Kept`: no stepper, no state in memory, no decoder. So whoever calls
may do so in any process, and again from an older `Kept`, as Spark does after a failed task.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from marketpulse.engine.checkpoint import ForeignState, state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows, indicator_rows, told_alert_rows
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import Fatal
from marketpulse.model.market import DeadLetter, MarketBatch


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of `market` as the log holds it; `content_type` is that header's value."""

    offset: int
    append_time_ms: int
    key: bytes | None
    value: bytes | None
    content_type: bytes | None


class Decoded(Protocol):
    """A batch, what of its records could not be read, and the way back from a row to its record."""

    @property
    def batch(self) -> MarketBatch: ...
    @property
    def rejected(self) -> Sequence[DeadLetter]: ...
    def dead_letter(self, row: int, reason: str, timeframes: tuple[str, ...], further: str = "") -> DeadLetter: ...


Record = tuple[bytes | None, bytes]
"""The (key, value) of a record to be written."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Bytes to batches and rows to bytes, which this room does not do itself.

    `decode` takes the records of one partition (its number, and n > 0 of them in order of their offsets).
    """

    decode: Callable[[int, Sequence[LogRecord]], Decoded]
    encode_rows: Callable[[pa.RecordBatch], Sequence[Record]]
    encode_dead_letter: Callable[[DeadLetter], Record]


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept of a partition between two batches: the state as engine.checkpoint writes it, the
    next record to take, and how many rows have left."""

    state: bytes
    next_offset: int
    rows: int


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A record for the topic `topic`; `sequence` counts the partition's rows from 0, in order of emission.

    Within each topic that order is the log's, for any cut; how the topics' rows alternate depends on the cut."""

    sequence: int
    topic: str
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class PartitionStep:
    """The engine's way from one batch of a partition to the next; `topic` is the log's name in receipts."""

    config: EngineConfig
    topic: str
    wire: Wire

    def __call__(self, partition: int, kept: Kept | None, records: Sequence[LogRecord]) -> tuple[Kept, list[OutputRow]]:
        """Take the records in. They may come in any order, but a batch holds all that the log has between
        its first and its last one. `kept` is None before a partition's first batch; no records change nothing.

        Raises Fatal when records were taken before, or when the state is of another computation.
        """
        state = self._state_of(partition, kept)
        next_offset, sent = (0, 0) if kept is None else (kept.next_offset, kept.rows)
        ordered = sorted(records, key=lambda record: record.offset)
        if ordered:
            if ordered[0].offset < next_offset:
                raise Fatal(
                    f"partition {partition}: record {next_offset} was expected, {ordered[0].offset} came: two writers "
                    "share a checkpoint, or its log was made anew: start with a new checkpoint"
                )
            next_offset = ordered[-1].offset + 1
            state, found = self._take(partition, state, ordered)
        else:
            found = []
        rows = [OutputRow(sent + i, topic, *record) for i, (topic, record) in enumerate(found)]
        return Kept(state_to_bytes(state, self.config), next_offset, sent + len(rows)), rows

    def _state_of(self, partition: int, kept: Kept | None) -> PartitionState:
        if kept is None:
            return new_state(self.config)
        try:
            return state_from_bytes(kept.state, self.config)
        except ForeignState as error:
            raise Fatal(
                f"partition {partition}: the kept state is {error}: start with a new checkpoint, at the log's beginning"
            ) from None

    def _take(
        self, partition: int, state: PartitionState, records: Sequence[LogRecord]
    ) -> tuple[PartitionState, list[tuple[str, Record]]]:
        """The records' rows by topic. Dead letters come last, in order of the log."""
        decoded = self.wire.decode(partition, records)
        stepper = Stepper(self.config)
        found: list[tuple[str, Record]] = []
        letters = list(decoded.rejected)
        for after, result in stepper.steps(state, decoded.batch):
            state = after
            bars = bar_rows(state, self.config, result.closed, self.topic, partition)
            values = indicator_rows(state, self.config, result.indicated, result.values, self.topic, partition)
            alerts = [told_alert_rows(state, self.config, told, self.topic, partition) for told in result.alerts]
            for topic, rows in (("bars", bars), ("indicators", values), *(("alerts", a) for a in alerts)):
                found += [(topic, record) for record in self.wire.encode_rows(rows)]
            letters += [
                decoded.dead_letter(r.row, r.reason, r.timeframes, r.detail)
                for r in result.set_aside(self.config, decoded.batch)
            ]
        letters.sort(key=lambda letter: (letter.offset, letter.row))
        found += [("dead-letters", self.wire.encode_dead_letter(letter)) for letter in letters]
        return stepper.trim(state), found
