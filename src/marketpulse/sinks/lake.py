"""The lake: Iceberg tables on a disk or on S3, each row exactly once.

Rows wait in memory until `flush`; then each table's rows become visible in one snapshot, whose summary says up to which
offset of every partition the table holds them. What was not committed is read from the topic again.

The steps of a flush, and what a process killed between two of them leaves:

    for each table that has new rows:
    1. look          whether its partitions stand where this process thinks
    2. data files    left over: files that no snapshot names, removed by the chores when they are old
    3. commit        the rows are stored, their offsets with them
    behind the last:
    4. chores        merge small files, expire old snapshots, remove left-over files: each a commit, or nothing
"""

import threading
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import pyarrow as pa

from marketpulse.catalog.lake import Lake, open_lake
from marketpulse.catalog.offsets import Offsets, group_of, positions
from marketpulse.clock import Clock
from marketpulse.errors import MarketPulseError, Retryable
from marketpulse.model.tables import LOADED_TOPIC, TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks.held import HeldSink, Key, from_offset
from marketpulse.sinks.lake_chores import Chores
from marketpulse.sinks.lake_commits import Change, commit, retried
from marketpulse.sinks.lake_files import discard, write_rows
from marketpulse.telemetry import ROWS_STORED

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_POSITION_EVERY_S = 60.0  # a snapshot that only says how far the topics were read
_NS_PER_MS = 1_000_000


class LakeSink(HeldSink):
    """ports.Sink over the lake's tables. Several processes may write the same tables, each its own partitions."""

    def __init__(self, lake: Lake, settings: Settings, clock: Clock) -> None:
        super().__init__("lake", lake.where, TABLES)
        self._lake, self._clock = lake, clock
        self._seen: dict[str, dict[Key, int | None]] = {}  # where each table stood when we last wrote it
        self._tried: dict[str, tuple[int, dict[Key, int]]] = {}  # a commit whose answer may have got lost
        self._told_at: dict[str, float] = {}  # when a topic's position was last committed alone
        self._chores = Chores(lake, settings, clock)

    def resume(self) -> Mapping[Key, int]:
        """The next offset wanted by (topic, partition). Rows that were not flushed are forgotten."""
        self.close()
        if not self._lake.exists():
            # The first flush, some seconds from now, finds the library there.
            threading.Thread(target=import_module, args=("pyiceberg.catalog.sql",), daemon=True).start()
        stand = {name: self._offsets(table) for name, table in self._lake.tables(self.tables).items()}
        for name in self.tables:
            self._seen[name] = dict(stand.get(name, Offsets()).next)
        return self._held.begin(positions(stand))

    def flush(self) -> None:
        """Make all that waits durable, table by table. Raises the first fault; rows that are not stored by then wait
        on, but for those of partitions that another process has taken over."""
        with self._flushing():
            _Flush(self).run()
            self._held.check_whole()
        self._chores.step()

    def close(self) -> None:
        super().close()
        self._seen.clear()
        self._tried.clear()
        self._told_at.clear()

    def _offsets(self, table: "Table") -> Offsets:
        return Offsets.of(table.metadata, f"{self.where}, table {table.name()[-1]}")


class _Flush:
    """One flush of all that waits."""

    def __init__(self, sink: LakeSink) -> None:
        self._sink, self._held, self._lake = sink, sink._held, sink._lake
        self._fault: MarketPulseError | None = None
        self._keys = self._held.keys()
        self._reached: dict[Key, dict[str, int]] = {}  # how far each table holds all rows by now

    def run(self) -> None:
        keys = self._keys
        if not keys:
            return
        with_rows = [name for name in self._held.tables if self._has_rows(name)]
        for key in keys:
            self._reached[key] = {**self._held.known(key), **{
                name: batches[-1].next_offset
                for name, batches in self._held.of(key).items() if not any(b.rows.num_rows for b in batches)
            }}  # fmt: skip
        for name in with_rows:
            self._store(name)
        told = {topic for name in with_rows for topic in [TABLES[name][0]]}
        self._tell_positions(told)
        for key in keys:
            if self._held.of(key):
                self._held.stored(key, self._reached[key])
        if self._fault is not None:
            raise self._fault

    def _has_rows(self, name: str) -> bool:
        return any(b.rows.num_rows for key in self._keys for b in self._held.of(key).get(name, ()))

    def _tell_positions(self, told: set[str]) -> None:
        """Of topics that brought no row at all: at most once a minute, by the first of their tables. What a loaded
        file gives is told at once, since nothing may come after it."""
        now = self._sink._clock.monotonic()
        for topic in dict.fromkeys(TABLES[name][0] for name in self._held.tables):
            waits = [name for name in group_of_topic(topic) if any(self._held.of(k).get(name) for k in self._keys)]
            if not waits or topic in told:
                continue
            last = self._sink._told_at.get(topic)
            loaded = any(key[0].startswith(LOADED_TOPIC) for key in self._keys)
            if loaded or last is None or now - last >= _POSITION_EVERY_S:
                self._store(waits[0])
                self._sink._told_at[topic] = now

    def _store(self, name: str) -> None:
        """One table's rows of all partitions, or its position alone."""
        written: dict[frozenset[Key], list[DataFile]] = {}
        table: Table | None = None

        def attempt() -> bool:
            nonlocal table
            table = self._lake.ensure(name, self._columns(name))
            stand = self._sink._offsets(table)
            batches = self._batches(name, table, stand)
            keys = frozenset(key for key, own in batches.items() if own)
            if not keys:
                return False
            if keys not in written:
                for stale in written.values():
                    discard(table, stale)
                written.clear()
                written[keys] = self._write(table, name, [b for key in sorted(keys) for b in batches[key]])
            moved = {key: batches[key][-1].next_offset for key in keys}
            held = {key: offset for key in keys if (offset := self._held_after(key, name, moved[key])) is not None}
            commit(
                table, Change(written[keys]), stand.moved(moved, held), self._lake.where,
                lambda snapshot_id: self._sink._tried.__setitem__(name, (snapshot_id, moved)),
            )  # fmt: skip
            self._committed(name, moved)
            for key in keys:
                for batch in batches[key]:
                    ROWS_STORED.labels(self._sink.name, name).inc(batch.rows.num_rows)
            return True

        try:
            stored = retried(f"{self._lake.where}, table {name}", attempt)
        except MarketPulseError as fault:
            # Whether the last commit came through is not known: its files stay, and are an orphan's at worst.
            self._fault = self._fault or fault
            raise
        if not stored and table is not None:
            for stale in written.values():
                discard(table, stale)

    def _write(self, table: "Table", name: str, batches: list[SinkBatch]) -> "list[DataFile]":
        with_rows = [pa.Table.from_batches([b.rows]) for b in batches if b.rows.num_rows]
        if not with_rows:
            return []
        rows = pa.concat_tables(with_rows, promote_options="default")
        now_ms = self._sink._clock.now_ns() // _NS_PER_MS
        return write_rows(table, name, rows, now_ms, self._lake.where)

    def _batches(self, name: str, table: "Table", stand: Offsets) -> dict[Key, list[SinkBatch]]:
        """What of the table's waiting rows goes on top of where it stands, by partition."""
        self._recognize(name, table)
        seen = self._sink._seen.setdefault(name, {})
        found: dict[Key, list[SinkBatch]] = {}
        for key in self._keys:
            waiting = self._held.of(key).get(name)
            if not waiting:
                continue
            have = stand.next.get(key)
            try:
                if seen.setdefault(key, have) != have:
                    raise Retryable(
                        f"lake: {name} of {key[0]}/{key[1]} stands at {have}, not at {seen[key]}: another process took "
                        "the partition over, or the table was changed; reading again from where it stands"
                    )
                found[key] = [rest for b in waiting if (rest := from_offset(b, have)) is not None]
            except Retryable as fault:
                self._held.drop(key)
                self._fault = self._fault or fault
                continue
            if not found[key]:
                self._reached[key][name] = max(self._reached[key].get(name, 0), waiting[-1].next_offset)
        return found

    def _recognize(self, name: str, table: "Table") -> None:
        """A commit of ours came through although its answer got lost."""
        snapshot_id, moved = self._sink._tried.pop(name, (None, {}))
        if snapshot_id is not None and table.metadata.snapshot_by_id(snapshot_id) is not None:
            self._sink._seen.setdefault(name, {}).update(moved)

    def _committed(self, name: str, moved: Mapping[Key, int]) -> None:
        self._sink._tried.pop(name, None)
        self._sink._seen.setdefault(name, {}).update(moved)
        for key, offset in moved.items():
            self._reached[key][name] = offset

    def _held_after(self, key: Key, name: str, offset: int) -> int | None:
        """Before which offset all tables of the topic hold their rows, once this one holds its own."""
        reached = {**self._reached[key], name: offset}
        group = [other for other in group_of(name) if other in self._held.tables]
        return min(reached[other] for other in group) if all(other in reached for other in group) else None

    def _columns(self, name: str) -> list[str]:
        batches = (b for key in self._keys for b in self._held.of(key).get(name, ()) if b.rows.num_rows)
        return list(dict.fromkeys(column for b in batches for column in b.rows.schema.names))


def group_of_topic(topic: str) -> list[str]:
    return [name for name, (fed_by, _) in TABLES.items() if fed_by == topic]


def open_lake_sink(settings: Settings, clock: Clock) -> LakeSink:
    """The lake of these settings."""
    return LakeSink(open_lake(settings), settings, clock)
