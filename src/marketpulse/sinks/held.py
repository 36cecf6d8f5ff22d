"""Rows that a sink holds until its next flush, by partition and table, in the order of the log.

What is stored already is dropped as it comes, and a gap is refused: so whatever a sink takes from here
goes on exactly where its store stands.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pyarrow.compute as pc

from marketpulse.errors import Fatal, MarketPulseError, Retryable
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.telemetry import FLUSH_SECONDS, SINK_ERRORS

Key = tuple[str, int]  # topic, partition


class HeldRows:
    """The rows that wait. `name` and `tables` are the sink's."""

    def __init__(self, name: str, tables: Iterable[str]) -> None:
        self._name, self.tables = name, tuple(tables)
        self._waiting: dict[Key, dict[str, list[SinkBatch]]] = defaultdict(dict)
        self._sizes: dict[Key, tuple[int, int]] = {}  # rows and bytes that wait; asked for after every read
        self._known: dict[Key, Mapping[str, int]] = {}  # next offsets by table, as last seen in the store
        self._read_again: set[Key] = set()  # their rows were dropped: nothing follows until `begin`

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self._sizes.values())

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self._sizes.values())

    def begin(self, known: Mapping[Key, Mapping[str, int]]) -> dict[Key, int]:
        """Forget what waits: the store stands at these next offsets, by table. The offset wanted next of each
        partition; one of which a table has none is wanted from the start, and not named."""
        self.forget()
        self._known = dict(known)
        wanted = {key: position(offsets, self._beside(offsets)) for key, offsets in known.items()}
        return {key: offset for key, offset in wanted.items() if offset is not None}

    def forget(self) -> None:
        """Let go of what waits. What the store was last known to hold stays known."""
        self._waiting.clear()
        self._sizes.clear()
        self._read_again.clear()

    def known(self, key: Key) -> Mapping[str, int]:
        """The next offset of each of a partition's tables, as last seen in the store."""
        return self._known.get(key, {})

    def take(self, batch: SinkBatch) -> None:
        """Hold a batch's rows. Those that are stored or held already are dropped.

        Raises Retryable when rows before these are missing: go on from what the sink's `resume` says.
        """
        if batch.table not in self.tables:
            raise Fatal(f"{self._name} does not store the table {batch.table!r}, only {', '.join(self.tables)}")
        key = batch.topic, batch.partition
        earlier = self._waiting[key].get(batch.table)
        have = earlier[-1].next_offset if earlier else self.known(key).get(batch.table)
        if key in self._read_again or (have is not None and batch.first_offset > have):
            raise Retryable(
                f"{self._name}: {batch.table} of {batch.topic}/{batch.partition} came from offset {batch.first_offset} "
                f"on, rows before it are not stored: reading them again"
            )
        rest = from_offset(batch, have)
        if rest is not None:
            self._waiting[key].setdefault(batch.table, []).append(rest)
            rows, size = self._sizes.get(key, (0, 0))
            self._sizes[key] = rows + rest.rows.num_rows, size + rest.rows.nbytes

    def keys(self) -> list[Key]:
        """The partitions that have something waiting, if only a position."""
        return sorted(key for key, tables in self._waiting.items() if tables)

    def of(self, key: Key) -> Mapping[str, list[SinkBatch]]:
        """What waits of a partition, by table, oldest first."""
        return self._waiting.get(key, {})

    def stored(self, key: Key, next_offsets: Mapping[str, int]) -> None:
        """What waited of the partition is durable; its tables now stand at these offsets."""
        self._known[key] = next_offsets
        self._release(key)

    def drop(self, key: Key) -> None:
        """Forget rows that cannot be stored on top of what the store holds."""
        self._release(key)
        self._read_again.add(key)

    def check_whole(self) -> None:
        """Raises Retryable when rows were dropped: only what `resume` brings again makes the store whole. Every flush
        asks, since a partition that is quiet now would not be missed by its next rows."""
        if self._read_again:
            places = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(self._read_again))
            raise Retryable(
                f"{self._name}: the store no longer stands where this process left it in {places}: nothing is lost, "
                "reading again from where it stands"
            )

    def _beside(self, offsets: Mapping[str, int]) -> list[str]:
        """All tables that are fed by the topic of these: a position holds for them together."""
        topics = {TABLES[table][0] for table in offsets if table in TABLES}
        return [table for table in self.tables if TABLES[table][0] in topics]

    def _release(self, key: Key) -> None:
        self._waiting.pop(key, None)
        self._sizes.pop(key, None)


class HeldSink:
    """What every sink has of ports.Sink that holds rows until its flush; `resume` and `flush` are its own."""

    def __init__(self, name: str, where: str, tables: Iterable[str]) -> None:
        self.name, self.where, self.todo = name, where, ("", "")
        self._held = HeldRows(name, tables)

    @property
    def tables(self) -> tuple[str, ...]:
        return self._held.tables

    @property
    def waiting_rows(self) -> int:
        return self._held.rows

    @property
    def waiting_bytes(self) -> int:
        return self._held.bytes

    def write(self, batch: SinkBatch) -> None:
        """Take rows in. Rows that are stored or waiting already are dropped.

        Raises Retryable when rows before these are missing: go on from what `resume` says.
        """
        self._held.take(batch)

    def close(self) -> None:
        """Rows that were not flushed are forgotten: their offsets are not stored either."""
        self._held.forget()

    @contextmanager
    def _flushing(self) -> Iterator[None]:
        """Around a flush: its time, or its fault, is counted."""
        began = time.perf_counter()
        with self._counting_faults():
            yield
        FLUSH_SECONDS.labels(self.name).observe(time.perf_counter() - began)

    @contextmanager
    def _counting_faults(self) -> Iterator[None]:
        try:
            yield
        except MarketPulseError:
            SINK_ERRORS.labels(self.name).inc()
            raise


def position(offsets: Mapping[str, int], tables: Iterable[str]) -> int | None:
    """The lowest next offset over these tables; None when one of them has none: read from the start."""
    known = [offsets.get(table) for table in tables]
    there = [offset for offset in known if offset is not None]
    return min(there) if there and len(there) == len(known) else None


def from_offset(batch: SinkBatch, have: int | None) -> SinkBatch | None:
    """What of the batch lies at or after the offset `have`; None when nothing does.

    Raises Retryable when the batch begins before and ends after it, and its rows do not say which
    offsets they are from: then the reader must seek to what `resume` says.
    """
    if have is None or batch.first_offset >= have:
        return batch
    if batch.next_offset <= have:
        return None
    rows = batch.rows
    if rows.num_rows:
        if TABLES[batch.table][0] != "market":
            raise Retryable(
                f"{batch.table} of {batch.topic}/{batch.partition} came from offset {batch.first_offset} on, "
                f"stored is up to {have}: reading again from there"
            )
        rows = rows.filter(pc.greater_equal(rows.column("offset"), have))
    return replace(batch, first_offset=have, rows=rows)
