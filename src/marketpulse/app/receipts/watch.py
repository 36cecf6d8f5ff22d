"""The continuous check: what the engine tells and the lake stores, again from the log, a little at a time.

    new files of the lake -> how far the engine has committed -> replay up to there -> compare

The lake is listed before the engine's place is asked for, so every row listed was told by then. A recomputed row
waits until the lake has it; one that the lake has passed over is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.receipts.compare import Difference, Table, compare, flat, only_one_side
from marketpulse.app.receipts.recomputed import Gathered, ToldBefore, missing_rows
from marketpulse.app.receipts.replay import Replay, Start
from marketpulse.app.receipts.report import TABLES
from marketpulse.app.receipts.running_rules import told_by
from marketpulse.catalog.visible import ALWAYS, StoredFile
from marketpulse.engine.checkpoint import ForeignState, state_from_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import new_state
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.snapshot import Pointer, SnapshotGone
from marketpulse.model.rows import ENGINE_VERSION
from marketpulse.query.stored_rows import Stored, StoredRows, united
from marketpulse.settings import Settings

BEHIND_MOST = 2_000_000  # records of a partition; further behind, it goes on at the engine's newest snapshot
WAITING_MOST = 1_000_000  # recomputed rows of a partition that the lake does not have yet
_SLACK_MS = 60_000  # between the clocks of those who wrote a record and its row
_MIXED = "mixed"  # whether a row's file also holds rows that were read before
_SUSPECT = "suspect"  # whether it was given by nothing at the last look already

Rest = Callable[[], bool]
"""Called after each piece of work; says whether to go on."""


@dataclass(slots=True)
class Found:
    """What one look has found."""

    checked: int = 0
    skipped_records: int = 0
    drift: list[Difference] = field(default_factory=list)  # one for each row, and column of it, that differs
    drift_rows: int = 0


@dataclass(slots=True)
class _Watched:
    """One partition of `market`: its replay, the rows that wait for the lake, and what was told before."""

    run: Replay
    next_offset: int
    known: ToldBefore  # at the start, or where rows were last let go
    checked: ToldBefore  # at the end of the last look
    waiting: dict[Table, pa.Table]
    stored: dict[Table, list[pa.Table]] = field(default_factory=lambda: {table: [] for table in TABLES})


class Watch:
    """Looks again and again. All methods are called from one thread; they raise what LogReader and StoredRows do."""

    def __init__(self, settings: Settings, config: EngineConfig, log: LogReader) -> None:
        self._settings, self._config, self._log = settings, config, log
        self._topic = settings.topic("market")
        self._lake = StoredRows(settings)
        self._watched: dict[int, _Watched] = {}
        self._listed: Mapping[str, Sequence[StoredFile]] = {}
        self._since_ms: dict[Table, int] = {}  # files that were flushed before are passed over
        self._done: set[str] = set()  # files that need no more reading
        self._read: set[str] = set()  # files that were ever read
        self._read_to_ms: dict[Table, int] = {}  # and when the youngest of them was flushed
        self._shapes: list[tuple[str, ...]] = []

    def look(self, rest: Rest) -> Found:
        """Check what is new. Ends early when `rest` says so; the next look goes on there."""
        found = Found()
        self._listed = self._lake.files()  # 1. what is stored
        committed = self._log.committed()  # 2. how far the engine has told
        for partition, (offset, pointer) in sorted(committed.items()):
            if partition not in self._watched and not self._begin(partition, offset, pointer):
                continue
            if not rest():
                return found
        self._read_lake()
        for partition, (offset, pointer) in sorted(committed.items()):
            if (watched := self._watched.get(partition)) is None:
                continue
            if offset - watched.next_offset > BEHIND_MOST and pointer and pointer.covered > watched.next_offset:
                found.skipped_records += pointer.covered - watched.next_offset
                del self._watched[partition]
                self._begin(partition, offset, pointer)
                continue
            if not self._advance(partition, watched, offset, rest):  # 3. the same again
                return found
            self._check(watched, found)  # 4. held against each other
        return found

    def _begin(self, partition: int, committed: int, pointer: Pointer | None) -> bool:
        """Start a partition: at the engine's own snapshot, else at the log's beginning. A state of another
        computation cannot be gone on with: then what was told until now is passed over."""
        start, muted = None, False
        if pointer is not None:
            try:
                state = state_from_bytes(self._log.read_snapshot(partition, pointer), self._config)
                start = Start(state, pointer.covered, from_snapshot=True)
            except (ForeignState, SnapshotGone):
                muted = True
        if start is None:
            if self._log.span(partition).first > 0:
                return False  # until the engine's next snapshot
            start = Start(new_state(self._config), 0, from_snapshot=False)
        run = Replay(self._config, self._topic, partition, start.state)
        offset = start.offset
        if muted:
            for decoded in self._log.read(partition, 0, committed):
                for _ in run.take(decoded.batch):
                    pass
            offset = committed
        known = ToldBefore.of(Start(run.state, offset, from_snapshot=start.from_snapshot or muted), self._config)
        self._watched[partition] = _Watched(run, offset, known, known, {table: pa.table({}) for table in TABLES})
        self._look_back(partition, offset)
        return True

    def _look_back(self, partition: int, offset: int) -> None:
        """Read the lake from where rows of this record on may stand."""
        appended = self._log.appended_ms(partition, offset) if offset else 0
        for table in TABLES:
            files = self._listed[table]
            # Without a record there yet, its rows come in files that are not there yet.
            since = appended
            if since is None:
                since = max((f.last_ms for f in files if f.last_ms < ALWAYS), default=0)
            since = max(0, since - _SLACK_MS)
            self._since_ms[table] = min(since, self._since_ms.get(table, since))
            self._done -= {f.path for f in files if f.last_ms >= since}

    def _read_lake(self) -> None:
        """Give the rows of files that were not read yet to the partitions of `market` that they are from."""
        there = {file.path for files in self._listed.values() for file in files}
        self._done &= there
        self._read &= there
        for table in TABLES:
            since = self._since_ms.get(table, ALWAYS)
            new = [f for f in self._listed[table] if f.path not in self._done and f.last_ms >= since]
            try:
                parts = [(file, self._lake.read(file)) for file in new]
            except FileNotFoundError:
                continue  # merged meanwhile: the next look finds all rows elsewhere
            read_to = self._read_to_ms.get(table, -1)
            for file, rows in parts:
                if file.columns not in self._shapes:
                    self._shapes.append(file.columns)
                read_before = file.path in self._read or (file.merged and file.first_ms <= read_to)
                self._hand_out(
                    table,
                    united([(c, rows if c == file.columns else rows.slice(0, 0)) for c in self._shapes]),
                    pa.array(np.full(rows.num_rows, read_before)),
                )
                self._done.add(file.path)
                self._read.add(file.path)
                if file.last_ms < ALWAYS:
                    self._read_to_ms[table] = max(self._read_to_ms.get(table, -1), file.last_ms)

    def _hand_out(self, table: Table, stored: Stored, mixed: pa.Array) -> None:
        rows = flat(stored.rows).append_column(_MIXED, mixed)
        rows = rows.append_column(_SUSPECT, pa.array(np.zeros(rows.num_rows, np.bool_)))
        rows = rows.filter(pc.and_(
            pc.equal(rows["receipt.topic"], self._topic), pc.equal(rows["receipt.engine_version"], ENGINE_VERSION),
        ))  # fmt: skip
        for partition in rows["receipt.partition"].unique().to_pylist():
            if (watched := self._watched.get(partition)) is not None:
                watched.stored[table].append(rows.filter(pc.equal(rows["receipt.partition"], partition)))

    def _advance(self, partition: int, watched: _Watched, end: int, rest: Rest) -> bool:
        """Replay up to `end`; whether it came there."""
        gathered = Gathered()
        try:
            for decoded in self._log.read(partition, watched.next_offset, end):
                for rows in watched.run.take(decoded.batch):
                    gathered.take(rows)
                watched.next_offset = decoded.next_offset
                if not rest():
                    return False
            watched.next_offset = max(watched.next_offset, end)
            return True
        finally:
            for table in TABLES:
                parts = [watched.waiting[table], gathered.table(table)]
                watched.waiting[table] = pa.concat_tables([p for p in parts if p.num_columns] or [pa.table({})])

    def _check(self, watched: _Watched, found: Found) -> None:
        for table in TABLES:
            parts, watched.stored[table] = watched.stored[table], []
            waiting = watched.waiting[table]
            if not parts:
                continue
            stored = pa.concat_tables(parts, promote_options="default")
            result = compare(table, waiting, stored, self._shapes)
            missing = missing_rows(waiting, result, self._log.partitions(table))
            rest = stored.take(pa.array(result.only_stored))
            old = watched.known.before(rest)
            old |= rest[_MIXED].to_numpy() & watched.checked.before(rest)
            # A long record's rows may be told before its offset is committed: they have one look's time.
            suspect = rest[_SUSPECT].to_numpy()
            if table == "alerts":  # of rules that a start of the pipeline has ended
                old |= ~told_by(rest, watched.run.rules, {})
            watched.stored[table] = [_as_suspects(rest.take(pa.array(np.flatnonzero(~old & ~suspect))))]
            extra = np.flatnonzero(~old & suspect)
            found.checked += result.same + result.differing
            found.drift_rows += result.differing + len(missing) + len(extra)
            found.drift += result.differences
            found.drift += only_one_side(table, waiting, missing, stored=False)
            found.drift += only_one_side(table, rest, extra, stored=True)
            watched.waiting[table] = waiting.take(pa.array(np.setdiff1d(result.only_recomputed, missing)))
        watched.checked = ToldBefore.of(Start(watched.run.state, watched.next_offset, from_snapshot=True), self._config)
        if sum(rows.num_rows for rows in watched.waiting.values()) > WAITING_MOST:
            watched.known = watched.checked
            watched.waiting = {table: pa.table({}) for table in TABLES}


def _as_suspects(rows: pa.Table) -> pa.Table:
    every = pa.array(np.ones(rows.num_rows, np.bool_))
    return rows.set_column(rows.column_names.index(_SUSPECT), _SUSPECT, every)
