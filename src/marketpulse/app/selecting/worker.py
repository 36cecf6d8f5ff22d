"""One selecting worker: reads its partitions of `feeds`, and writes what counts into `market`, exactly once.

poll -> decode -> select -> write -> (every commit_ms) snapshots, offsets, rows: one transaction
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from marketpulse.app.pace import Pace
from marketpulse.app.selecting.selection import Frame, Passed, Piece, Rows, Selection, Switched
from marketpulse.clock import Clock
from marketpulse.errors import Fatal, Retryable
from marketpulse.failover.config import FailoverConfig
from marketpulse.failover.rules import unfed
from marketpulse.failover.state import ForeignSelection, known_symbols, new_state, state_from_bytes, state_to_bytes
from marketpulse.kafka.market_reader import Decoded, MarketReader
from marketpulse.kafka.passing import joined_rows
from marketpulse.kafka.records import Records
from marketpulse.kafka.snapshot import Pointer, SnapshotGone
from marketpulse.kafka.transaction import BEGINNING, Taken, TransactionalLog
from marketpulse.settings import Settings
from marketpulse.telemetry import (
    DEAD_LETTERS,
    FAILOVER_HELD_ROWS,
    FAILOVER_OWNED_SYMBOLS,
    FAILOVER_ROWS,
    FAILOVER_UNFED_SYMBOLS,
    RECORDS_CONSUMED,
    STANDBY_SILENCE_SECONDS,
    SWITCHES,
    get_logger,
)

_POLL_S = 0.02
_BEATS_COMMIT = 4  # heartbeats alone are committed at so many times the interval of rows
_MEASURE_S = 1.0
_DRAIN_S, _IDLE_TURNS = 3.0, 5
_SILENCE_S = 15.0
"""Sources write four times a second; when nothing comes, it may be the client (app.worker)."""


@dataclass(slots=True)
class OwnedFeed:
    """One partition: `next_offset` is the next record to take; the state covers those before `covered`, and those before
    `muted_until` were forwarded by an earlier worker."""

    number: int
    selection: Selection
    next_offset: int
    covered: int
    muted_until: int
    pointer: Pointer | None
    moved: bool = False
    unsaved: int = 0


class SelectWorker:
    """Owns the partitions that the group gives it. `turn` does one round; nothing runs in between."""

    def __init__(self, settings: Settings, config: FailoverConfig, slot: int, clock: Clock, pace: Pace) -> None:
        self._settings, self._config, self._clock, self._pace = settings, config, clock, pace
        self._owned: dict[int, OwnedFeed] = {}
        self._reader = MarketReader(settings.topic("feeds"))
        self._log = TransactionalLog(
            settings, slot, self._take, self._give, self._places, topic="feeds", group=settings.failover.group,
            transaction_s=pace.transaction_s,
        )  # fmt: skip
        self._wrote_at: float | None = None
        self._beat_at: float | None = None
        self._committed_at = self._heard_at = self._measured_at = clock.monotonic()
        self._stopping = False

    def start(self) -> None:
        """Raises Fatal when the two topics differ in their partitions: a symbol would change its place."""
        self._log.start()
        feeds, market = (self._log.partitions(topic) for topic in ("feeds", "market"))
        if feeds != market:
            raise Fatal(
                f"the topic {self._settings.topic('feeds')} has {feeds} partitions and {self._settings.topic('market')} "
                f"{market}: give them the same number"
            )

    def turn(self) -> int:
        """Take what has come, commit when it is time. Returns the records taken.

        Raises Retryable when nothing of the open transaction counts, or when records wait and none comes.
        """
        taken = size = 0
        waiting = self._log.poll(_POLL_S, self._pace.records, self._pace.bytes)
        began = self._clock.monotonic()
        for records in waiting:
            taken += self._take_records(records)
            size += len(records.data)
        self._log.serve()
        self._commit_when_due(self._clock.monotonic())
        now = self._clock.monotonic()
        self._pace.note(self._pace.share_of(taken, size), now - began)
        if taken or not self._owned:
            self._heard_at = now
        elif now - self._heard_at > _SILENCE_S:
            self._heard_at = now
            if any(self._log.newest(owned.number) > owned.next_offset for owned in self._owned.values()):
                raise Retryable(f"nothing has come for {_SILENCE_S:g} s, though records wait in `feeds`")
        if now - self._measured_at >= _MEASURE_S:
            self._measured_at = now
            self._measure()
        return taken

    def _drain(self) -> None:
        """Take what the sources wrote last, for some seconds at most: they have stopped before."""
        give_up = self._clock.monotonic() + _DRAIN_S
        idle = 0
        while self._owned and idle < _IDLE_TURNS and self._clock.monotonic() < give_up:
            idle = 0 if self.turn() else idle + 1

    def stop(self) -> None:
        """Take the sources' last rows, save every state, commit, and leave the group."""
        try:
            self._drain()
            self._stopping = True
            if any(owned.unsaved or owned.moved for owned in self._owned.values()):
                self._log.begin()
                self._log.commit()
        finally:
            self.close()

    def close(self) -> None:
        """Leave without committing."""
        self._log.close()

    # --- partitions ---

    def _take(self, partitions: Sequence[Taken]) -> dict[int, int]:
        begins = {}
        for taken in partitions:
            owned = self._owned[taken.partition] = self._recover(taken)
            begins[taken.partition] = owned.next_offset or BEGINNING
        return begins

    def _recover(self, taken: Taken) -> OwnedFeed:
        """The state that the commit names, from where its held rows begin; muted up to the commit."""
        committed, pointer = taken.committed, taken.pointer
        oldest = self._log.oldest(taken.partition)
        state, covered = new_state(self._config), 0
        if pointer is not None and committed is not None:
            try:
                data = self._log.read_snapshot(taken.partition, pointer)
                state, covered = state_from_bytes(data, self._config), pointer.covered
            except (ForeignSelection, SnapshotGone) as error:
                get_logger().warning("selection_begins_anew", partition=taken.partition, reason=str(error))
                pointer = None
        if committed is not None and oldest > committed:
            get_logger().warning(
                "records_deleted_unselected", partition=taken.partition, records=oldest - committed,
                note="rows of `feeds` were deleted before they were selected: `select` was away for too long",
            )  # fmt: skip
        begin = covered if state.hold_from < 0 else min(state.hold_from, covered)
        selection = Selection(state, self._config, self._settings.engine.symbols_max)
        return OwnedFeed(taken.partition, selection, max(begin, oldest), covered, committed or 0, pointer)

    def _give(self, partitions: Sequence[int]) -> None:
        for number in partitions:
            self._owned.pop(number, None)

    # --- records ---

    def _take_records(self, records: Records) -> int:
        owned = self._owned.get(records.partition)
        if owned is None:
            raise Fatal(f"records of partition {records.partition} came, which this worker does not own")
        cut = records.at(owned.covered)
        for part in (records.part(0, cut), records.part(cut, len(records))):
            if len(part):
                for decoded in self._reader.decode(part, owned.next_offset, owned.muted_until):
                    self._select(owned, decoded)
        return len(records)

    def _select(self, owned: OwnedFeed, decoded: Decoded) -> None:
        again, muted = owned.next_offset < owned.covered, owned.next_offset < owned.muted_until
        pieces = owned.selection.take(decoded, again=again)
        owned.next_offset = decoded.next_offset
        if again:
            return
        owned.moved = True
        owned.unsaved += len(decoded.records)
        if muted:
            owned.selection.counts.clear()
            return
        self._write(owned, pieces)
        self._count(owned)
        if decoded.rejected:
            for letter in decoded.rejected:
                DEAD_LETTERS.labels(letter.reason).inc()
            self._log.write("dead-letters", self._reader.encode_dead_letters(decoded.rejected))
            self._note_rows()
        RECORDS_CONSUMED.labels("feeds").inc(len(decoded.records))

    def _write(self, owned: OwnedFeed, pieces: Sequence[Piece]) -> None:
        """In order; rows that follow each other go as one."""
        waiting: list[Rows] = []
        for piece in pieces:
            if isinstance(piece, Rows):
                waiting.append(piece)
                continue
            self._write_rows(waiting)
            waiting = []
            match piece:
                case Frame(key, value):
                    self._log.write("market", [(key, value)], owned.number, frames=True)
                    self._note_rows()
                case Switched(record):
                    self._log.write("market", [(record["symbol"].encode(), orjson.dumps(record))])
                    get_logger().info("switched", **{k: v for k, v in record.items() if k != "type"})
                    self._note_rows()
                case Passed(value):
                    self._log.write("market", [(None, value)], owned.number)
                    self._beat_at = self._beat_at or self._clock.monotonic()
        self._write_rows(waiting)

    def _write_rows(self, parts: Sequence[Rows]) -> None:
        if parts:
            self._log.write_rows("market", joined_rows([part.rows for part in parts]))
            self._note_rows()

    def _note_rows(self) -> None:
        if self._wrote_at is None:
            self._wrote_at = self._clock.monotonic()

    def _count(self, owned: OwnedFeed) -> None:
        counts = owned.selection.counts
        for fate, count in counts.fates.items():
            FAILOVER_ROWS.labels(fate).inc(count)
        for reason, count in counts.switches.items():
            SWITCHES.labels(reason).inc(count)
        counts.clear()

    # --- commits ---

    def _commit_when_due(self, now: float) -> None:
        every_s = self._settings.failover.commit_ms / 1_000
        rows_due = self._wrote_at is not None and now - self._wrote_at >= every_s
        beats_due = self._beat_at is not None and now - self._beat_at >= _BEATS_COMMIT * every_s
        idle = now - self._committed_at >= _MEASURE_S and any(owned.moved for owned in self._owned.values())
        if rows_due or beats_due or idle:
            self._log.begin()
            self._log.commit()
            self._wrote_at = self._beat_at = None
            self._committed_at = now

    def _places(self) -> dict[int, tuple[int, Pointer | None]]:
        """Called inside the commit: saves what is due, and says how far each partition has come."""
        places: dict[int, tuple[int, Pointer | None]] = {}
        for owned in self._owned.values():
            muted = owned.next_offset < max(owned.muted_until, owned.covered)
            if muted or not (owned.moved or self._stopping):
                continue
            due = owned.selection.changed or owned.unsaved >= self._settings.failover.snapshot_records
            if due or (self._stopping and owned.unsaved) or owned.pointer is None:
                owned.selection.state.hold_from = owned.selection.held.oldest()
                data = state_to_bytes(owned.selection.state)
                owned.pointer = self._log.write_snapshot(owned.number, owned.next_offset, data)
                owned.unsaved, owned.selection.changed = 0, False
            owned.moved = False
            places[owned.number] = (owned.next_offset, owned.pointer)
        return places

    def _measure(self) -> None:
        """What these partitions' symbols and candidates are doing."""
        states = [owned.selection.state for owned in self._owned.values()]
        FAILOVER_HELD_ROWS.set(sum(len(owned.selection.held) for owned in self._owned.values()))
        FAILOVER_UNFED_SYMBOLS.set(sum(unfed(known_symbols(state), self._config) for state in states))
        for source in self._config.sources():
            fed, silent_ns = 0, 0
            for state in states:
                place = state.sources.index(source)
                fed += int(np.count_nonzero(known_symbols(state).owner == place))
                silent_ns = max(silent_ns, int(state.owners.now_ns[0] - state.owners.heard_ns[place]))
            FAILOVER_OWNED_SYMBOLS.labels(source).set(fed)
            STANDBY_SILENCE_SECONDS.labels(source).set(silent_ns / 1e9)
