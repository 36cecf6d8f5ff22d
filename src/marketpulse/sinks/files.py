"""A sink that keeps rows in files, exactly once.

Rows wait in memory, by partition, until `flush`; then each partition's rows and offsets become
visible in one commit (commits.py). What was not committed is read from the topic again.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.clock import Clock
from marketpulse.errors import Fatal, MarketPulseError, Retryable, SettingsError
from marketpulse.model.commit_log import StoredFile
from marketpulse.model.tables import LOADED_TOPIC, TABLES
from marketpulse.ports import SinkBatch
from marketpulse.sinks.commits import READERS, PartitionLog, read_states
from marketpulse.sinks.compaction import Merge, plan
from marketpulse.sinks.filing import BY_DATE_ALONE, Layout, Place, series_of, split_by_period, split_by_series
from marketpulse.sinks.formats import FileFormat
from marketpulse.sinks.held import HeldSink, Key, from_offset
from marketpulse.sinks.storage import Storage
from marketpulse.telemetry import ROWS_STORED, get_logger

_POSITION_EVERY_S = 600.0  # a commit that only says how far a partition was read
_THREADS = 4  # partitions flushed at a time: they wait for the disk or the network, not for each other


class FileSink(HeldSink):
    """ports.Sink over a store of files. One process owns a partition at a time; a second is fenced off."""

    def __init__(
        self,
        name: str,
        storage: Storage,
        file_format: FileFormat,
        clock: Clock,
        tables: Iterable[str] = TABLES,
        layout: Layout = "date",
    ) -> None:
        super().__init__(name, storage.where, tables)
        self._layout: Layout = layout
        self._storage, self._format, self._clock = storage, file_format, clock
        self._logs: dict[Key, PartitionLog] = {}  # the partitions that this process has claimed
        self._failed: set[Key] = set()  # to be claimed and cleaned by the next flush, rows or not
        self._stands: dict[Key, Mapping[str, int]] = {}  # next offsets by table, as last seen in the store
        self._committed_at: dict[Key, float] = {}

    def resume(self) -> dict[Key, int]:
        """The next offset wanted by (topic, partition). Rows that were not flushed are forgotten.

        Raises SettingsError when the store holds files of another format or layout.
        """
        self.close()
        with self._counting_faults():
            states = read_states(self._storage)
        for state in states.values():
            self._check_files(state.files.values())
        self._stands = {key: state.next_offsets for key, state in states.items()}
        return self._held.begin(self._stands)

    def flush(self) -> None:
        """Make all that waits durable. Partitions succeed one by one; raises the first one's fault.

        A partition that failed keeps its rows and is claimed anew by the next flush.
        """
        keys = sorted(set(self._held.keys()) | self._failed)
        with self._flushing():
            self._claim([key for key in keys if key not in self._logs])
            with ThreadPoolExecutor(_THREADS, thread_name_prefix=self.name) as pool:
                faults = [fault for fault in pool.map(self._store, keys) if fault is not None]
            if faults:
                raise faults[0]
            self._held.check_whole()

    def close(self) -> None:
        super().close()
        self._logs.clear()
        self._failed.clear()

    def _claim(self, keys: list[Key]) -> None:
        """Take partitions over and remove what their last owners left unfinished."""
        if not keys:
            return
        claimed = {key: PartitionLog(self._storage, *key) for key in keys}
        with ThreadPoolExecutor(READERS, thread_name_prefix=self.name) as pool:
            list(pool.map(PartitionLog.claim, claimed.values()))
        paths = self._storage.find()
        for key, log in claimed.items():
            log.clean(paths)
            behind = {t for t, n in self._stands.get(key, {}).items() if log.state.next_offsets.get(t, -1) < n}
            if behind:
                self._held.drop(key)
                raise Retryable(
                    f"{self.name}: the store has lost rows of {log.name} that it held before: reading them again"
                )
            self._logs[key] = log

    def _store(self, key: Key) -> MarketPulseError | None:
        """One partition's flush. Its fault is handed back, so that the other partitions go on."""
        log = self._logs[key]
        try:
            self._commit_rows(log, key)
            self._compact(log)
        except MarketPulseError as fault:
            self._logs.pop(key, None)
            self._failed.add(key)
            return fault
        self._failed.discard(key)
        return None

    def _commit_rows(self, log: PartitionLog, key: Key) -> None:
        stored = log.state.next_offsets
        try:
            fresh = {
                table: [rest for b in batches if (rest := from_offset(b, stored.get(table))) is not None]
                for table, batches in self._held.of(key).items()
            }
        except Retryable:
            self._held.drop(key)
            raise
        new = {table: batches for table, batches in fresh.items() if batches}
        moved = {table: batches[-1].next_offset for table, batches in new.items()}
        if self._can_wait(key, new):
            self._held.stored(key, {**self._held.known(key), **moved})
            return
        if new:
            files = dict(self._encoded(table, batches) for table, batches in new.items())
            added = [file for contents in files.values() for file, _ in contents]
            self._storage.put({f.path: data for contents in files.values() for f, data in contents}, log.name)
            reached = {table: max(n, stored.get(table, n)) for table, n in self._held.known(key).items()}
            log.commit({**stored, **reached, **moved}, added)
            self._committed_at[key] = self._clock.monotonic()
            for file in added:
                ROWS_STORED.labels(self.name, file.table).inc(file.rows)
        self._stands[key] = log.state.next_offsets
        self._held.stored(key, log.state.next_offsets)

    def _can_wait(self, key: Key, new: Mapping[str, Sequence[SinkBatch]]) -> bool:
        """Whether only the position moves, and was told lately: a reader that starts goes over records without rows again. After
        what was loaded nothing may come."""
        if not new or key[0].startswith(LOADED_TOPIC) or any(b.rows.num_rows for own in new.values() for b in own):
            return False
        last = self._committed_at.get(key)
        return last is not None and self._clock.monotonic() - last < _POSITION_EVERY_S

    def _encoded(self, table: str, batches: list[SinkBatch]) -> tuple[str, list[tuple[StoredFile, bytes]]]:
        """The files of one table's rows, one per period, with their content."""
        rows = pa.concat_tables([pa.Table.from_batches([b.rows]) for b in batches], promote_options="default")
        first, end = batches[0].first_offset, batches[-1].next_offset
        files = []
        for series, own in split_by_series(table, rows, self._layout).items():
            for period, part in split_by_period(table, own, self._clock.now_ns()).items():
                place = Place(table, period, batches[0].topic, batches[0].partition, first, end, series=series)
                data = self._format.encode(part)
                stored = self._stored(place, part.num_rows, data, _extra(table, part))
                files.append((replace(stored, revised=_revised(part)), data))
        return table, files

    def _stored(self, place: Place, rows: int, data: bytes, columns: tuple[str, ...]) -> StoredFile:
        return StoredFile(
            place.path(self._format.suffix), place.table, place.period, place.first_offset, place.next_offset,
            rows, len(data), columns,
        )  # fmt: skip

    def _compact(self, log: PartitionLog) -> None:
        """Merge small files, where there are many. Each merge is one commit; the rows stay the same."""
        for merge in plan(log.state.files.values()):
            try:
                contents = [self._storage.read(file.path) for file in merge.sources]
            except FileNotFoundError as error:
                # A person removed old data. The commits follow, so that the rest goes on being merged.
                get_logger().warning("stored_file_is_gone", sink=self.name, fault=str(error))
                self._forget_missing(log, merge)
                continue
            data, rows = self._format.merge(contents)
            if rows != sum(file.rows for file in merge.sources):
                raise Fatal(
                    f"{self.name}: the files of {merge.table} {merge.period} ({log.name}) hold {rows} rows, "
                    f"their commits say {sum(f.rows for f in merge.sources)}: a file was changed; nothing was merged"
                )
            first, end = merge.span
            place = Place(
                merge.table, merge.period, log.topic, log.partition, first, end, log.state.number + 1, merge.series
            )
            columns = tuple(dict.fromkeys(c for file in merge.sources for c in file.columns))
            revised = sum(file.revised for file in merge.sources)
            file = replace(self._stored(place, rows, data, columns), revised=revised)
            self._storage.put({file.path: data}, log.name)
            gone = [source.path for source in merge.sources]
            log.commit(log.state.next_offsets, [file], gone)
            self._storage.delete(gone)

    def _check_files(self, files: Iterable[StoredFile]) -> None:
        by_symbol = self._layout == "symbol/date"
        for file in files:
            known = file.path.endswith(self._format.suffix)
            known &= file.table in BY_DATE_ALONE or bool(series_of(file.path)) == by_symbol
            if not known:
                raise SettingsError(
                    f"{self.where} holds files of another format or layout, such as {file.path}: set sinks.{self.name}.format "
                    f"and .layout as they were, or another sinks.{self.name}.url, which is then filled from the topics"
                )

    def _forget_missing(self, log: PartitionLog, merge: Merge) -> None:
        there = set(self._storage.find())
        gone = [file.path for file in merge.sources if file.path not in there]
        log.commit(log.state.next_offsets, (), gone)


def _extra(table: str, rows: pa.Table) -> tuple[str, ...]:
    """Columns beyond the table's schema: the names of indicators."""
    return tuple(name for name in rows.column_names if name not in TABLES[table][1].names and name != "receipt")


def _revised(rows: pa.Table) -> int:
    """How many of the rows replace an earlier one."""
    if "revision" not in rows.column_names:
        return 0
    return int(pc.sum(pc.greater(rows.column("revision"), 0)).as_py() or 0)
