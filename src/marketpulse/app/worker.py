"""One engine worker: reads its partitions of `market`, steps the engine, and commits exactly once.

poll -> decode -> step -> write rows -> (every commit_ms) snapshots, offsets, outputs: one transaction
                       └> live rows, outside transactions, conflated by the wall clock
"""

from collections.abc import Sequence

import numpy as np

from marketpulse.app.counts import count_alerts, count_findings, count_rows, count_sources, measure_watermarks
from marketpulse.app.late_notices import late_notices
from marketpulse.app.pace import Pace
from marketpulse.app.partition import OwnedPartition
from marketpulse.app.quality_notices import quality_notices
from marketpulse.clock import Clock
from marketpulse.engine.alerting import ToldAlerts
from marketpulse.engine.checkpoint import ForeignState, state_from_bytes, state_to_bytes
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.provisional import Looker, mark_shown
from marketpulse.engine.rebuild import ends_a_rebuild
from marketpulse.engine.record_rows import ResultRows
from marketpulse.engine.rows import told_alert_rows
from marketpulse.engine.state import kept_quotes, kept_trades, new_state
from marketpulse.engine.step import Stepper, StepResult
from marketpulse.engine.step_rows import Refusal
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.clock_writer import ClockWriter
from marketpulse.kafka.codec import lay_out_rows
from marketpulse.kafka.live_writer import LiveWriter
from marketpulse.kafka.market_reader import Decoded, MarketReader
from marketpulse.kafka.records import Records
from marketpulse.kafka.row_writer import RowWriter
from marketpulse.kafka.snapshot import Pointer, SnapshotGone
from marketpulse.kafka.source_counts import SourceCounts
from marketpulse.kafka.transaction import BEGINNING, Taken, TransactionalLog
from marketpulse.model.market import CAPS, DeadLetter, Kind
from marketpulse.model.record_rows import RecordRows
from marketpulse.settings import Settings
from marketpulse.telemetry import (
    BARS_CLOSED,
    BARS_REVISED,
    DEAD_LETTERS,
    RECORDS_CONSUMED,
    STATE_BYTES,
    STEP_SECONDS,
    SYMBOLS,
    WINDOW_QUOTES,
    WINDOW_TRADES,
    get_logger,
)

_POLL_S = 0.02
_BEHIND_SHARE = 0.25  # a turn that takes as much, or half of what it may, is one of catching up
_BEHIND_COMMIT_S = 0.5  # then nobody waits for single rows, and each commit stops the loop a while
_IDLE_COMMIT_S = 1.0  # without outputs, offsets alone are committed this often
_SHOW_EVERY_S = 0.02
_SILENCE_S = 15.0  # the clock of the worker with partition 0 writes four records a second everywhere


class Worker:
    """Owns the partitions that the group gives it. `turn` does one round; nothing runs in between."""

    def __init__(
        self, settings: Settings, config: EngineConfig, slot: int, clock: Clock, pace: Pace | None = None
    ) -> None:
        self._settings, self._config, self._clock = settings, config, clock
        self._pace = pace or Pace()
        self._stepper, self._looker = Stepper(config), Looker(config)
        self._owned: dict[int, OwnedPartition] = {}
        self._reader = MarketReader(settings.topic("market"))
        self._rows = ResultRows(config, settings.topic("market"))
        self._bar_writer = RowWriter(self._rows.bar_fields)
        self._indicator_writer = RowWriter(self._rows.indicator_fields)
        self._log = TransactionalLog(
            settings, slot, self._take, self._give, self._places, transaction_s=self._pace.transaction_s
        )
        self._live = (
            LiveWriter(settings, self._rows.live_fields, clock.now_ns()) if settings.process.live_per_s else None
        )
        self._pipeline_clock = ClockWriter(settings)
        self._wrote_at: float | None = None
        self._committed_at = clock.monotonic()
        self._showed_at = clock.monotonic()
        self._heard_at = clock.monotonic()
        self._behind = False
        self._stopping = False
        self._caps_told: set[str] = set()

    def start(self) -> None:
        self._log.start()

    @property
    def partitions(self) -> list[int]:
        return sorted(self._owned)

    @property
    def uncommitted(self) -> bool:
        """Whether rows have been written that the next commit will make count."""
        return self._wrote_at is not None

    def turn(self) -> int:
        """Take what has come, commit when it is time, show what forms. Returns the records taken.

        Raises Retryable when nothing of the open transaction counts, or when the log has fallen silent:
        a new worker then begins at the last commit. (A client that was in the middle of a rebalance when
        its broker was killed may own partitions and never fetch from them again.)
        """
        pace, taken, size = self._pace, 0, 0
        self._stepper.closed_most = pace.bars
        waiting = self._log.poll(_POLL_S, pace.records, pace.bytes)
        began = self._clock.monotonic()
        for records in waiting:
            if self._is_long_open():
                self._commit()
            taken += self._take_records(records)
            size += len(records.data)
        share = pace.share_of(taken, size)
        self._behind = share >= min(_BEHIND_SHARE, pace.share / 2)
        self._log.serve()
        self._commit_when_due(self._clock.monotonic())
        now = self._clock.monotonic()
        pace.note(share, now - began)
        if taken or not self._owned:
            self._heard_at = now
        elif now - self._heard_at > _SILENCE_S:
            raise Retryable(f"nothing has come for {_SILENCE_S:g} s, though the pipeline's clock writes")
        if self._live is not None and taken < pace.records and now - self._showed_at >= _SHOW_EVERY_S:
            self._show(now)
        return taken

    def stop(self) -> None:
        """Save every state, commit, and leave the group."""
        self._stopping = True
        self._pipeline_clock.close()
        try:
            if any(p.unsaved or p.moved for p in self._owned.values()):
                self._log.begin()
                self._log.commit()
        finally:
            self.close()

    def close(self) -> None:
        """Leave without committing."""
        self._pipeline_clock.close()
        try:
            self._log.close()
        finally:
            if self._live is not None:
                self._live.close()

    def _take(self, partitions: Sequence[Taken]) -> dict[int, int]:
        for taken in partitions:
            owned = self._owned[taken.partition] = self._recover(taken)
            owned.counts = SourceCounts.parse(taken.metadata)
            if owned.muted:
                get_logger().info("replaying", partition=taken.partition, records=owned.muted_until - owned.next_offset)
        self._pipeline_clock.run(0 in self._owned)
        self._measure()
        return {taken.partition: self._owned[taken.partition].next_offset or BEGINNING for taken in partitions}

    def _recover(self, taken: Taken) -> OwnedPartition:
        """The snapshot that the commit names, or the log from its start; muted up to the commit."""
        committed, pointer = taken.committed, taken.pointer
        if pointer is not None and committed is not None:
            try:
                state = state_from_bytes(self._log.read_snapshot(taken.partition, pointer), self._config)
                return OwnedPartition(taken.partition, state, pointer.covered, committed, pointer)
            except (ForeignState, SnapshotGone) as error:
                get_logger().warning("rebuilding_state", partition=taken.partition, reason=str(error))
        return OwnedPartition(taken.partition, new_state(self._config), 0, committed or 0, None)

    def _give(self, partitions: Sequence[int]) -> None:
        for number in partitions:
            if (owned := self._owned.pop(number, None)) is not None:
                self._stepper.forget(owned.state)
        self._pipeline_clock.run(0 in self._owned)
        self._measure()

    def _take_records(self, records: Records) -> int:
        owned = self._owned.get(records.partition)
        if owned is None:
            raise Fatal(f"records of partition {records.partition} came, which this worker does not own")
        for decoded in self._reader.decode(records, owned.next_offset, owned.muted_until):
            self._step(owned, decoded)
        return len(records)

    def _step(self, owned: OwnedPartition, decoded: Decoded) -> None:
        muted, letters = owned.muted, decoded.rejected
        if not muted and self._wrote_at is not None and ends_a_rebuild(decoded.batch):
            self._commit()  # it takes long, and a transaction that is open meanwhile would run out
        row, more = 0, True
        while more:  # one row may close more bars than should be held, or than a transaction may take
            with STEP_SECONDS.time():
                owned.state, result = self._stepper.step(owned.state, decoded.batch, row)
            first, row, more = row, result.next_row, result.more
            if muted:
                continue
            count_sources(owned.counts, owned.state, decoded.batch, first, result)
            self._write_rows(owned, result)
            count_findings(result, decoded.batch)
            self._write_notices(quality_notices(decoded.batch, result.found))
            behind = late_notices(self._config, decoded.batch, result.behind)
            self._write_notices(behind, decoded.batch.partition)
            self._write_dead_letters(
                [decoded.dead_letter(r.row, r.reason, r.timeframes, self._detail(decoded, r)) for r in result.refused]
            )
            if more and (offset := decoded.record_before(row)) is not None and self._is_long_open():
                self._write_dead_letters([letter for letter in letters if letter.offset < offset])
                letters = [letter for letter in letters if letter.offset >= offset]
                self._commit_midway(owned, offset)
        if not muted:
            self._write_dead_letters(letters)
        owned.take_in(decoded.next_offset, len(decoded.records), len(decoded.batch))
        if not muted:
            RECORDS_CONSUMED.labels("market").inc(len(decoded.records))

    def _detail(self, decoded: Decoded, refusal: Refusal) -> str:
        """What else there is to say of a refusal: of a live row that came too late, who brings it in."""
        if refusal.reason != "too_late" or decoded.batch.kind[refusal.row] == Kind.BAR:
            return refusal.detail
        return f"{'`marketpulse up` brings' if self._settings.heals_by_itself else 'run `marketpulse heal`, which brings'} it in"

    def _is_long_open(self) -> bool:
        return self._wrote_at is not None and self._clock.monotonic() - self._wrote_at >= self._pace.turn_s

    def _commit_midway(self, owned: OwnedPartition, next_offset: int) -> None:
        """Commit while the record `next_offset` is half done, with the state as it stands: who recovers
        goes on with the closings that are left, since a step begins with what is due."""
        owned.next_offset, owned.moved, owned.midway = next_offset, True, True
        self._commit()
        owned.midway = False

    def _write_rows(self, owned: OwnedPartition, result: StepResult) -> None:
        count_rows(result)
        for told in result.alerts:
            self._write_alerts(owned, told)
        if not len(result.indicated):
            return
        revised = result.closed["revision"] > 0
        BARS_REVISED.inc(int(np.count_nonzero(revised)))
        for frame, count in enumerate(
            np.bincount(result.closed["frame"][~revised], minlength=len(self._config.frames))
        ):
            BARS_CLOSED.labels(self._config.frames[frame].name).inc(int(count))
        bars = self._rows.bars(owned.state, result.closed, owned.number)
        self._write("bars", self._bar_writer, bars)
        values = self._rows.indicators(owned.state, result.indicated, result.values, owned.number)
        self._write("indicators", self._indicator_writer, values)

    def _write_alerts(self, owned: OwnedPartition, told: ToldAlerts) -> None:
        rows = told_alert_rows(owned.state, self._config, told, self._settings.topic("market"), owned.number)
        count_alerts(rows)
        self._log.write_rows("alerts", lay_out_rows(rows))
        self._note_written()

    def _write(self, topic: str, writer: RowWriter, rows: RecordRows) -> None:
        done, count = 0, len(rows)
        while done < count:
            records, done = writer.lay_out(rows, done)
            self._log.write_rows(topic, records)
        self._note_written()

    def _write_dead_letters(self, letters: list[DeadLetter]) -> None:
        if not letters:
            return
        for letter in letters:
            DEAD_LETTERS.labels(letter.reason).inc()
            if letter.reason in CAPS and letter.reason not in self._caps_told:
                self._caps_told.add(letter.reason)  # once: a flood is no reason to flood the log
                get_logger().warning(letter.reason, partition=letter.partition, detail=letter.detail)
        self._log.write("dead-letters", self._reader.encode_dead_letters(letters))
        self._note_written()

    def _write_notices(self, notices: list[tuple[bytes, bytes]], partition: int = -1) -> None:
        """Into `market`, where whoever reads the rows reads what was said of them: by their keys, or into the partition
        whose offsets they name."""
        if notices:
            self._log.write("market", notices, partition)
            self._note_written()

    def _note_written(self) -> None:
        if self._wrote_at is None:
            self._wrote_at = self._clock.monotonic()

    def _commit_when_due(self, now: float) -> None:
        if self._wrote_at is not None:
            patience = self._settings.process.commit_ms / 1_000
            patience = max(patience, _BEHIND_COMMIT_S) if self._behind else patience
            due = now - self._wrote_at >= min(patience, self._pace.turn_s)
        else:
            due = now - self._committed_at >= _IDLE_COMMIT_S and any(p.moved for p in self._owned.values())
        if due:
            self._commit()
            self._save_due()
            self._measure()

    def _commit(self) -> None:
        self._log.begin()
        self._log.commit()
        self._wrote_at, self._committed_at = None, self._clock.monotonic()

    def _save_due(self) -> None:
        """Save the state that was saved longest ago, if it is due, in a transaction of its own, which begins when its bytes
        are ready: with the rows, or with other states, it can take longer than a transaction may."""
        due = [p for p in self._owned.values() if p.unsaved >= self._settings.process.snapshot_records and not p.muted]
        if due:
            owned = max(due, key=lambda p: p.unsaved)
            owned.snapshot, owned.moved = self._snapshot_of(owned), True
            self._commit()

    def _snapshot_of(self, owned: OwnedPartition) -> bytes:
        owned.state = self._stepper.trim(owned.state)
        return state_to_bytes(owned.state, self._config)

    def _places(self) -> dict[int, tuple[int, Pointer | None]]:
        """Called inside the commit: saves what is due, and says how far each partition has come."""
        places: dict[int, tuple[int, Pointer | None]] = {}
        for owned in self._owned.values():
            if owned.muted or not (owned.moved or self._stopping):
                continue
            if owned.snapshot or owned.midway or (self._stopping and owned.unsaved):
                data = owned.snapshot or self._snapshot_of(owned)
                owned.pointer = self._log.write_snapshot(owned.number, owned.next_offset, data)
                owned.unsaved, owned.snapshot = 0, b""
            owned.moved = False
            self._log.note(owned.number, owned.counts.text())
            places[owned.number] = (owned.next_offset, owned.pointer)
        return places

    def _show(self, now: float) -> None:
        self._showed_at = now
        interval = 1 / self._settings.process.live_per_s
        for owned in self._owned.values():
            if owned.muted or self._live is None:
                continue
            symbols = owned.due_to_show(now, interval)
            if symbols.size:
                forming, values = self._looker.forming_bars(owned.state, symbols)
                mark_shown(owned.state, symbols)
                rows, ingested_ns = self._rows.live(owned.state, forming, values)
                self._live.write(rows, ingested_ns, self._clock.now_ns())

    def _measure(self) -> None:
        SYMBOLS.set(sum(len(p.state.symbols) for p in self._owned.values()))
        STATE_BYTES.set(sum(p.state.size_bytes() for p in self._owned.values()))
        WINDOW_TRADES.set(sum(len(kept_trades(p.state)) for p in self._owned.values()))
        WINDOW_QUOTES.set(sum(kept_quotes(p.state) for p in self._owned.values()))
        measure_watermarks([p.state for p in self._owned.values()])
