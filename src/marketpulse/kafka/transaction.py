"""Exactly once: read `market`, write outputs, and commit both with the state's place in one transaction.

    poll -> (the engine) -> write -> commit: snapshots, offsets with pointers, outputs: all or nothing

Two producers take turns: while one's transaction is flushed and committed by a thread, the engine goes on and
writes into the other's.

What keeps it exact, learnt by killing it:

- The input is read `read_committed`, so the group's offsets are stable before they are fetched.
- Two `transactional.id`s per worker slot: a restarted worker fences its former self at once, both of them.
- A transaction is handed to the thread when the one before has committed, never earlier. When it fails, the one that
  was written meanwhile is given up with it.
- What is written meanwhile waits in memory until the former transaction's rows are acknowledged: in each partition
  rows stand in the order in which they were made.
- Each commit carries, as the offset's metadata, where the newest snapshot of that partition lies and
  which offset it covers. Recovery reads it, loads the snapshot and replays with its outputs muted.
- An aborted transaction makes every state in memory wrong; a new worker loads them again.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client import client_config
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.group import judging, leave
from marketpulse.kafka.record_queue import RecordQueue
from marketpulse.kafka.records import Records
from marketpulse.kafka.snapshot import Pointer, SnapshotReader, chunks_of
from marketpulse.kafka.transactional_producer import (
    CALL_S,
    AbortedTransaction,
    TransactionalProducer,
    judge,
)
from marketpulse.settings import Settings
from marketpulse.telemetry import COMMIT_SECONDS, STATE_SNAPSHOTS

__all__ = ["BEGINNING", "AbortedTransaction", "Taken", "TransactionalLog"]

_SESSION_MS = 6_000
_WAITING_MOST = 32_000_000  # bytes of rows; then the engine waits for the commit under way


BEGINNING = OFFSET_BEGINNING
"""Read from the first record that the log still holds."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition that this worker owns from now on.

    `committed` is the next offset whose outputs are not committed yet (None: nothing was ever
    committed); everything before it must be replayed muted. `pointer` names the snapshot.
    """

    partition: int
    committed: int | None
    pointer: Pointer | None


class TransactionalLog:
    """One worker's hold on the log. All methods are called from one thread.

    `on_take` is called with partitions that come, and returns the offset to read from for each;
    `on_give` is called with those that go, after their transaction was committed (or aborted, when
    they were lost).
    """

    def __init__(
        self,
        settings: Settings,
        slot: int,
        on_take: Callable[[Sequence[Taken]], dict[int, int]],
        on_give: Callable[[Sequence[int]], None],
        before_commit: Callable[[], dict[int, tuple[int, Pointer | None]]],
    ) -> None:
        self._settings = settings
        self._topic = settings.topic("market")
        self._state_topic = settings.topic("state")
        self._group = settings.group(settings.process.group)
        self._on_take, self._on_give, self._before_commit = on_take, on_give, before_commit
        member = {"group_instance_id": f"{self._group}-{slot}"} if settings.process.static_membership else {}
        self._writing = TransactionalProducer(settings, f"{self._group}-{slot}")
        self._resting = TransactionalProducer(settings, f"{self._group}-{slot}-second")
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._under_way: Future[None] | None = None  # the commit of the one that does not write
        self._member = ""  # who the consumer was in the group when partitions last came
        self._consumer = Consumer(
            client_config(
                settings, "consumer", group_id=self._group, isolation_level="read_committed",
                auto_offset_reset="error", session_timeout_ms=_SESSION_MS, heartbeat_interval_ms=500,
                partition_assignment_strategy="cooperative-sticky", max_poll_interval_ms=300_000, **member,
            )
        )  # fmt: skip
        self._queue = RecordQueue(self._consumer)
        self._snapshots = SnapshotReader(settings)

    def start(self) -> None:
        """Fence a former self and join the group. Raises Retryable while the broker is away."""
        self._writing.start()
        self._resting.start()
        self._consumer.subscribe(
            [self._topic],
            on_assign=judging(self._assigned, _of_rebalance),
            on_revoke=judging(self._revoked, _of_rebalance),
            on_lost=judging(self._lost, _of_rebalance),
        )

    def poll(self, timeout_s: float, most: int) -> list[Records]:
        """What has come: waits for a first record, then drains. The records of each partition in order.

        Raises Retryable while the log cannot be read, AbortedTransaction when partitions were lost,
        and whatever `on_take`, `on_give` and `before_commit` raise while partitions move.
        """
        beside = self._consumer.poll(0)  # what is no record: partitions that move, faults
        if beside is not None and (error := beside.error()) is not None:
            raise Retryable(f"the log could not be read: {error.str()}")
        if beside is not None:
            raise Fatal(f"partition {beside.partition()}: a record came past the queue of its partition")
        return self._queue.take(timeout_s, most)

    def write_rows(self, topic: str, rows: RowRecords) -> None:
        """Put rows into the open transaction; begins one when none is open.

        Raises AbortedTransaction when nothing of it counts any more, Fatal when fenced.
        """
        self._writing.begin()
        self._writing.write_rows(self._settings.topic(topic), rows)
        self._wait_for_room()

    def write(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> None:
        """As write_rows, for single records."""
        self._writing.begin()
        self._writing.write(self._settings.topic(topic), records)
        self._wait_for_room()

    def begin(self) -> None:
        """Open a transaction if none is open."""
        self._writing.begin()

    @property
    def in_transaction(self) -> bool:
        """Whether one is open that has not been handed to its commit."""
        return self._writing.in_transaction

    @property
    def committing(self) -> bool:
        """Whether a commit is under way, or has ended and `serve` has not been called since."""
        return self._under_way is not None

    def serve(self) -> None:
        """Hear what became of deliveries and of a commit; raises AbortedTransaction when it does not count."""
        if self._under_way is not None and self._under_way.done():
            self._await_commit()
        self._writing.serve()
        if self._under_way is None:
            self._resting.serve()

    def commit(self) -> None:
        """Commit outputs, snapshots and input offsets together, and wait until that is done.

        `before_commit` writes the snapshots that are due and gives, per partition, the next offset
        and its pointer. Raises AbortedTransaction when nothing of it counts, Fatal when fenced.
        """
        self.begin_commit()
        self._await_commit()

    def begin_commit(self) -> None:
        """As `commit`, but what is written by now is committed by a thread; `serve` tells when it failed.

        Waits for the commit before it. What is written from now on belongs to the next one.
        """
        self._await_commit()
        if not self._writing.in_transaction:
            return
        began = time.monotonic()
        offsets = [
            TopicPartition(self._topic, partition, offset, metadata=str(pointer) if pointer else "")
            for partition, (offset, pointer) in self._before_commit().items()
        ]
        self._writing, self._resting = self._resting, self._writing
        self._writing.hold_back()
        self._under_way = self._committer.submit(self._finish, self._resting, self._writing, offsets, began)

    def abort(self) -> None:
        """Give up what is not committed; a commit under way comes to its end first."""
        try:
            with contextlib.suppress(Retryable):  # it failed: that is given up as well
                self._await_commit()
        finally:
            self._writing.abort()

    def write_snapshot(self, partition: int, covered: int, data: bytes, load: str | None = None) -> Pointer:
        """Write a state in chunks into the open transaction; returns where it begins. `load`: which one it ends."""
        self.begin()
        chunks = chunks_of(self._group, partition, covered, data, load)
        place = self._writing.write_chunks(self._state_topic, partition, chunks)
        STATE_SNAPSHOTS.inc()
        return Pointer(place, covered)

    def read_snapshot(self, partition: int, pointer: Pointer) -> bytes:
        """The state that a commit pointed at. Raises SnapshotGone when it is not there any more."""
        return self._snapshots.read(partition, pointer)

    def close(self) -> None:
        """Leave. An open transaction is given up; commit first. Raises what `on_give` raises."""
        try:
            self.abort()
        finally:
            try:
                with contextlib.suppress(AbortedTransaction):  # of lost partitions: nothing is open any more
                    leave(self._consumer, before_close=self._queue.close)
            finally:
                self._committer.shutdown()
                self._writing.close()
                self._resting.close()
                self._snapshots.close()

    def _finish(
        self,
        committed: TransactionalProducer,
        writing: TransactionalProducer,
        offsets: list[TopicPartition],
        began: float,
    ) -> None:
        """The commit, in the order that keeps rows in theirs."""
        committed.flush()  # 1. its rows have their places in the log
        writing.let_go()  # 2. so those behind them may go
        committed.commit(offsets, self._consumer, self._member)  # 3. it counts: the next one may be committed
        COMMIT_SECONDS.observe(time.monotonic() - began)

    def _await_commit(self) -> None:
        """Wait for the commit under way, if there is one. When it failed, nothing that was written since counts."""
        if self._under_way is None:
            return
        under_way, self._under_way = self._under_way, None
        try:
            under_way.result()
        except BaseException:
            with contextlib.suppress(Retryable):
                self._writing.abort()
            raise

    def _wait_for_room(self) -> None:
        if self._writing.waiting_bytes > _WAITING_MOST:
            self._await_commit()

    def _committed(self, partitions: Sequence[int]) -> list[Taken]:
        asked = [TopicPartition(self._topic, p) for p in partitions]
        taken = []
        for found in self._consumer.committed(asked, timeout=CALL_S):
            if found.error is not None:
                raise KafkaException(found.error)
            known = found.offset >= 0
            taken.append(
                Taken(
                    found.partition,
                    found.offset if known else None,
                    Pointer.parse(found.metadata) if known else None,
                )
            )
        return taken

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            consumer.incremental_assign([])
            return
        self.commit()  # new partitions never join a half-done transaction
        offsets = self._on_take(self._committed([tp.partition for tp in partitions]))
        self._queue.lead_here(self._topic, offsets)
        consumer.incremental_assign([TopicPartition(self._topic, p, offset) for p, offset in offsets.items()])
        self._member = consumer.memberid() or ""

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            self.commit()
            self._on_give([tp.partition for tp in partitions])
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.abort()
        self._on_give([tp.partition for tp in partitions])
        consumer.incremental_unassign(partitions)
        raise AbortedTransaction("the group gave this worker's partitions to another")


def _of_rebalance(error: KafkaException) -> Exception:
    return judge(error, "rebalance")
