"""Exactly once: read `market`, write outputs, and commit both with the state's place in one transaction.

    poll -> (the engine) -> write -> commit: snapshots, offsets with pointers, outputs: all or nothing

What keeps it exact, learnt by killing it:

- The input is read `read_committed`, so the group's offsets are stable before they are fetched.
- One `transactional.id` per worker slot: a restarted worker fences its former self at once.
- Each commit carries, as the offset's metadata, where the newest snapshot of that partition lies and
  which offset it covers. Recovery reads it, loads the snapshot and replays with its outputs muted.
- An aborted transaction makes every state in memory wrong; a new worker loads them again.
- No transaction begins on a producer whose requests may still be under way: after a time-out, an unknown end or a lost
  connection a new worker makes a new producer, whose epoch fences what comes late, and then loads state and place.
- The broker says the same word, fenced, to a worker whose transaction ran out of time and to one whose name another
  worker took. Which it was follows from how long the transaction was open.
"""

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from marketpulse.clock import SystemClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import native
from marketpulse.kafka.client import FENCED, LogProducer, client_config, send_offsets
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.frame_writer import FRAME_HEADERS
from marketpulse.kafka.group import Membership
from marketpulse.kafka.handle import handle_of
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.record_queue import BYTES_MOST, RecordQueue
from marketpulse.kafka.records import Records
from marketpulse.kafka.row_sender import RowSender
from marketpulse.kafka.snapshot import Pointer, SnapshotReader, chunks_of, join_metadata, split_metadata
from marketpulse.settings import Settings
from marketpulse.telemetry import COMMIT_SECONDS, STATE_SNAPSHOTS, TRANSACTIONS, get_logger

_SESSION_MS = 6_000
TRANSACTION_S = 10.0
_CALL_S = 30.0
_OTHERS_S = 5.0
_PURGE_S = 1.0
_FETCH_MS = 5  # every reader of results waits for the engine


BEGINNING = OFFSET_BEGINNING
"""Read from the first record that the log still holds."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition that this worker owns from now on.

    `committed` is the next offset whose outputs are not committed yet (None: nothing was ever
    committed); everything before it must be replayed muted. `pointer` names the snapshot, `metadata` is all that the
    commit says.
    """

    partition: int
    committed: int | None
    pointer: Pointer | None
    metadata: str = ""


class AbortedTransaction(Retryable):
    """Nothing of the open transaction counts, or nobody knows whether it does; a new worker must load every state again."""


class TransactionTimedOut(AbortedTransaction):
    """It was open for longer than the broker lets one be: what it held was too much, or this process too slow."""


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
        *,
        topic: str = "market",
        group: str | None = None,
        transaction_s: float = TRANSACTION_S,
    ) -> None:
        self._settings = settings
        self._topic = settings.topic(topic)
        self._state_topic = settings.topic("state")
        self._group = settings.group(group or settings.process.group)
        self._on_take, self._on_give, self._before_commit = on_take, on_give, before_commit
        self._in_transaction = False
        self._replace_because = ""  # why no transaction may begin on this producer any more
        self._is_closed = False
        self._transaction_s, self._clock, self._began_ns = transaction_s, SystemClock(), 0
        self._notes: dict[int, str] = {}
        self._undelivered: KafkaError | None = None
        self._name = f"{self._group}-{slot}"
        member = {"group_instance_id": self._name} if settings.process.static_membership else {}
        self._producer = LogProducer(
            client_config(
                settings, "producer", transactional_id=self._name, transaction_timeout_ms=round(1_000 * transaction_s),
            )
        )  # fmt: skip
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id=self._group, isolation_level="read_committed",
                auto_offset_reset="error", session_timeout_ms=_SESSION_MS, heartbeat_interval_ms=500,
                partition_assignment_strategy="cooperative-sticky", max_poll_interval_ms=300_000,
                fetch_wait_max_ms=_FETCH_MS, **member,
            )
        )  # fmt: skip
        self._membership = Membership(self._consumer, lambda error: self._judge(error, "rebalance"))
        self._queue = RecordQueue(self._consumer)
        self._sender = RowSender(self._producer)
        self._snapshots = SnapshotReader(settings)

    def start(self) -> None:
        """Fence a former self and join the group. Raises Retryable while the broker is away."""
        try:
            self._producer.init_transactions(_CALL_S)
        except KafkaException as error:
            raise self._judge(error, "init_transactions") from None
        self._membership.join([self._topic], self._assigned, self._revoked, self._lost)

    def poll(self, timeout_s: float, most: int, most_bytes: int = BYTES_MOST) -> list[Records]:
        """What has come: waits for a first record, then drains, as RecordQueue.take.

        Raises Retryable while the log cannot be read, AbortedTransaction when partitions were lost,
        and whatever `on_take`, `on_give` and `before_commit` raise while partitions move.
        """
        beside = self._consumer.poll(0)  # what is no record: partitions that move, faults
        if beside is not None and (error := beside.error()) is not None:
            raise Retryable(f"the log could not be read: {error.str()}")
        if beside is not None:
            raise Fatal(f"partition {beside.partition()}: a record came past the queue of its partition")
        return self._queue.take(timeout_s, most, most_bytes)

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Raises Retryable while the broker is away."""
        name = self._settings.topic(topic)
        try:
            return len(self._producer.list_topics(name, timeout=_CALL_S).topics[name].partitions)
        except KafkaException as error:
            raise self._judge(error, "list_topics") from None

    def oldest(self, partition: int) -> int:
        """The first offset of the partition that the log still holds. Raises KafkaException."""
        return self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_CALL_S)[0]

    def newest(self, partition: int) -> int:
        """Where the partition ends now. Raises Retryable while the broker is away."""
        place = TopicPartition(self._topic, partition)
        try:
            return self._consumer.get_watermark_offsets(place, timeout=_CALL_S)[1]
        except KafkaException as error:
            raise self._judge(error, "get_watermark_offsets") from None

    def write_rows(self, topic: str, rows: RowRecords) -> None:
        """Put rows into the open transaction; begins one when none is open.

        Raises AbortedTransaction when nothing of it counts any more, Fatal when fenced.
        """
        self.begin()
        try:
            self._sender.send(self._settings.topic(topic), rows)
        except KafkaException as error:
            self._fail(error, "write")

    def write(
        self, topic: str, rows: Sequence[tuple[bytes | None, bytes]], partition: int = -1, *, frames: bool = False
    ) -> None:
        """As write_rows, for single records: by their keys, or into this partition. `frames`: they are Arrow frames."""
        self.begin()
        produce, name = self._producer.produce, self._settings.topic(topic)
        headers: list[tuple[str, str | bytes | None]] | None = [*FRAME_HEADERS] if frames else None
        try:
            for key, value in rows:
                while True:
                    try:
                        produce(name, value, key, partition, headers=headers, on_delivery=self._delivered)
                        break
                    except BufferError:
                        self._producer.poll(0.05)
        except KafkaException as error:
            self._fail(error, "write")

    def begin(self) -> None:
        """Open a transaction if none is open. Raises AbortedTransaction when that takes a new producer."""
        if self._in_transaction:
            return
        try:
            if self._replace_because:
                raise AbortedTransaction(
                    f"begin: a request may come late, which only a new producer fences: {self._replace_because}"
                )
            self._producer.begin_transaction()
        except KafkaException as error:
            self._fail(error, "begin")
        self._in_transaction, self._began_ns = True, self._clock.now_ns()

    @property
    def in_transaction(self) -> bool:
        return self._in_transaction

    def serve(self) -> None:
        """Let the client report deliveries; raises AbortedTransaction when an output was refused."""
        try:
            self._producer.poll(0)
        except KafkaException as error:
            self._fail(error, "write")
        if self._undelivered is not None:
            refused, self._undelivered = self._undelivered, None
            self._fail(KafkaException(refused), "an output was not written")

    def note(self, partition: int, text: str) -> None:
        """Have the partition's commits say this from now on, behind the pointer; else they repeat the last one's."""
        self._notes[partition] = text

    def commit(self) -> None:
        """Commit outputs, snapshots and input offsets together.

        `before_commit` writes the snapshots that are due and gives, per partition, the next offset
        and its pointer. Raises AbortedTransaction when nothing of it counts or the broker has not said, Fatal when fenced.
        """
        if not self._in_transaction:
            return
        try:
            with COMMIT_SECONDS.time():
                places = self._before_commit()
                offsets = [
                    TopicPartition(
                        self._topic, partition, offset, metadata=join_metadata(pointer, self._notes.get(partition, ""))
                    )
                    for partition, (offset, pointer) in places.items()
                ]
                if offsets:
                    send_offsets(self._producer, offsets, self._consumer, _CALL_S)
                self._producer.commit_transaction(_CALL_S)
            self._in_transaction = False
            self._replace_because = self._producer.lost_connection()
            TRANSACTIONS.labels("committed").inc()
        except KafkaException as error:
            self._fail(error, "commit")

    def abort(self) -> None:
        """Give the open transaction up, and the producer with it.

        The broker ends the transaction when the next producer of this name is made, or when its time is over. It is not
        asked to: while the end of a transaction or its first rows are under way, that fails, or hangs
        (https://github.com/confluentinc/librdkafka/issues/4849).
        """
        self._replace_because = self._replace_because or "its transaction was given up"
        if self._in_transaction:
            self._in_transaction = False
            self._producer.purge(blocking=False)
            TRANSACTIONS.labels("aborted").inc()

    def write_snapshot(self, partition: int, covered: int, data: bytes, load: str | None = None) -> Pointer:
        """Write a state in chunks into the open transaction; returns where it begins. `load`: which one it ends."""
        self.begin()
        places: list[int] = []
        faults: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            place = message.offset()
            if error is None and place is not None:
                places.append(place)
            elif error is not None:
                faults.append(error)

        chunks = chunks_of(self._group, partition, covered, data, load)
        for key, value in chunks:
            self._producer.produce(self._state_topic, value, key, partition=partition, on_delivery=delivered)
        self._producer.flush(_CALL_S)
        if faults or len(places) != len(chunks):
            fault = faults[0] if faults else KafkaError(KafkaError._TIMED_OUT)
            self._fail(KafkaException(fault), f"the state of partition {partition} was not written")
        STATE_SNAPSHOTS.inc()
        return Pointer(min(places), covered)

    def read_snapshot(self, partition: int, pointer: Pointer) -> bytes:
        """The state that a commit pointed at. Raises SnapshotGone when it is not there any more."""
        return self._snapshots.read(partition, pointer)

    def close(self) -> None:
        """Leave. An open transaction is given up; commit first. Raises what `on_give` raises. Twice is fine."""
        self.abort()
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with contextlib.suppress(KafkaException):  # a client with records that it has not reported is never let go
                self._producer.flush(_PURGE_S)
            self._sender.close()
            self._queue.close()
            with contextlib.suppress(AbortedTransaction):  # of lost partitions: nothing is open any more
                self._membership.leave()
        finally:
            self._snapshots.close()

    def _committed(self, partitions: Sequence[int]) -> list[Taken]:
        asked = [TopicPartition(self._topic, p) for p in partitions]
        taken = []
        for found in self._consumer.committed(asked, timeout=_CALL_S):
            if found.error is not None:
                raise KafkaException(found.error)
            if found.offset < 0:
                taken.append(Taken(found.partition, None, None))
                continue
            _, self._notes[found.partition] = split_metadata(found.metadata)
            taken.append(Taken(found.partition, found.offset, Pointer.parse(found.metadata), found.metadata or ""))
        return taken

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            consumer.incremental_assign([])
            return
        self.commit()  # new partitions never join a half-done transaction
        offsets = self._on_take(self._committed([tp.partition for tp in partitions]))
        self._queue.lead_here(self._topic, offsets)
        consumer.incremental_assign([TopicPartition(self._topic, p, offset) for p, offset in offsets.items()])

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

    def _fail(self, error: KafkaException, during: str) -> NoReturn:
        fault: KafkaError = error.args[0]
        get_logger().warning("transaction_failed", during=during, error=fault.str(), code=fault.name())
        judged = self._judge(error, during)
        self.abort()
        raise judged from None

    def _judge(self, error: KafkaException, during: str) -> Retryable | Fatal:
        """What a client's error means here."""
        fault = self._fenced() or error.args[0]
        said, open_s = f"{during}: {fault.str()}", self._open_s()
        if open_s >= self._transaction_s:
            return TransactionTimedOut(
                f"{said}: its transaction was open for {open_s:.1f} s, and the broker ends one after {self._transaction_s:g} s"
            )
        if fault.code() in FENCED:
            return Fatal(
                f"{said}: another worker took the name {self._name} over, and this one stops: {self._others()}"
            )
        if fault.fatal():
            return Fatal(said)
        return AbortedTransaction(said) if self._in_transaction else Retryable(said)

    def _fenced(self) -> KafkaError | None:
        """The broker's word to a producer that was fenced, which the client's later errors leave out."""
        text = ctypes.create_string_buffer(512)
        code = native.fatal_error(handle_of(self._producer), text, len(text))
        return KafkaError(code, text.value.decode(errors="replace"), True) if code in FENCED else None

    def _open_s(self) -> float:
        """By the wall clock, as the broker counts: it goes on while the machine sleeps."""
        return (self._clock.now_ns() - self._began_ns) / 1e9 if self._in_transaction else 0.0

    def _others(self) -> str:
        """Who else is in the group, as far as the broker says."""
        me = self._consumer.memberid()
        try:
            admin = AdminClient(client_config(self._settings, "admin"))  # must outlive its answer
            asked = admin.describe_consumer_groups([self._group], request_timeout=_OTHERS_S)
            members = asked[self._group].result(_OTHERS_S).members
            others = [f"{m.member_id} at {m.host}" for m in members if m.member_id != me]
        except KafkaException as error:
            others = [f"unknown ({error.args[0].str()})"]
        return (
            f"give each worker a --slot of its own; other members of its group: {', '.join(others[:5]) or 'none yet'}"
        )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002
        if error is not None and error.code() not in _PURGED:
            self._undelivered = error


_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
