"""One of the two producers by which a worker commits in turn: its client, its open transaction, and the rows that wait.

begin -> write -> flush: all is acknowledged -> the offsets -> commit
                        └> only then the other one sends: rows of one key never overtake each other
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client import LogProducer, client_config
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.row_sender import RowSender
from marketpulse.settings import Settings
from marketpulse.telemetry import TRANSACTIONS, get_logger

CALL_S = 30.0
_TRANSACTION_MS = 10_000

_Kept = tuple[Callable[[], None], int]  # what sends it, and its bytes


class AbortedTransaction(Retryable):
    """Nothing of the open transaction counts; every state must be loaded again, by a new worker."""


class TransactionalProducer:
    """A client with a transactional id of its own.

    One thread writes and another may commit, but never both in one transaction. What the client refuses is raised
    as AbortedTransaction, or as Fatal when another worker took this one's place.
    """

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._client = LogProducer(
            client_config(
                settings, "producer", transactional_id=transactional_id, transaction_timeout_ms=_TRANSACTION_MS
            )
        )  # fmt: skip
        self._sender = RowSender(self._client)
        self._in_transaction = False
        self._refused: KafkaError | None = None
        self._waiting: list[Callable[[], None]] | None = (
            None  # None: what is written goes to the client at once
        )
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # of what waits

    def start(self) -> None:
        """Fence a former self. Raises Retryable while the broker is away."""
        try:
            self._client.init_transactions(CALL_S)
        except KafkaException as error:
            raise judge(error, "init_transactions") from None

    @property
    def in_transaction(self) -> bool:
        return self._in_transaction

    @property
    def waiting_bytes(self) -> int:
        """What is held back, in bytes of memory."""
        return self._waiting_bytes

    def begin(self) -> None:
        """Open a transaction if none is open."""
        if not self._in_transaction:
            try:
                self._client.begin_transaction()
            except KafkaException as error:
                self._abort_after(error, "begin")
            self._in_transaction = True

    def hold_back(self) -> None:
        """What is written from now on waits for `let_go`."""
        self._waiting = []

    def let_go(self) -> None:
        """Send what waits, in order; what is written from then on goes at once.

        Called by another thread than the one that writes. What the client refuses now is raised there.
        """
        while True:
            with self._lock:
                waiting = self._waiting
                self._waiting, self._waiting_bytes = ([] if waiting else None), 0
            if not waiting:
                return
            try:
                for send in waiting:
                    send()
            except KafkaException as error:
                self._refused = error.args[0]

    def write_rows(self, topic: str, rows: RowRecords) -> None:
        """Put rows into the open transaction. They may be overwritten afterwards."""
        if not self._waits(lambda: self._kept(topic, rows)):
            self._now(partial(self._sender.send, topic, rows))

    def write(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> None:
        """As write_rows, for single records: (key, value)."""
        send = partial(self._send, topic, records)
        if not self._waits(lambda: (send, sum(len(value) for _, value in records))):
            self._now(send)

    def write_chunks(self, topic: str, partition: int, chunks: Sequence[tuple[bytes, bytes]]) -> int:
        """Put records into the partition and wait until they are there; returns the first one's offset."""
        places: list[int] = []
        faults: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            place = message.offset()
            if error is None and place is not None:
                places.append(place)
            elif error is not None:
                faults.append(error)

        try:
            for key, value in chunks:
                self._client.produce(topic, value, key, partition=partition, on_delivery=delivered)
            self._client.flush(CALL_S)
        except KafkaException as error:
            self._abort_after(error, "write")
        if faults or len(places) != len(chunks):
            self.abort()
            raise AbortedTransaction(
                f"the state of partition {partition} was not written: {faults or 'timed out'}"
            )
        return min(places)

    def serve(self) -> None:
        """Let the client report deliveries; raises AbortedTransaction when an output was refused."""
        try:
            self._client.poll(0)
        except KafkaException as error:
            self._abort_after(error, "write")
        if self._refused is not None:
            self._abort_after(KafkaException(self._refused), "write")

    def flush(self) -> None:
        """Wait until all that was written is acknowledged: before offsets are sent, in any case.

        Where records are refused while the client waits for the answer to them, it never returns.
        """
        try:
            if left := self._client.flush(CALL_S):
                self._abort_after(
                    KafkaException(
                        KafkaError(KafkaError._TIMED_OUT, f"{left} records are not acknowledged")
                    ),
                    "flush",
                )  # fmt: skip
        except KafkaException as error:
            self._abort_after(error, "flush")

    def commit(self, offsets: list[TopicPartition], consumer: Consumer, member: str) -> None:
        """Commit what was written, all of it acknowledged, and the consumer's offsets together.

        `member` is who the consumer was in its group when its partitions came: a consumer that the group has put
        out since then owns nothing, though it may not have heard of it, and commits nothing.
        """
        try:
            if offsets:
                group = consumer.consumer_group_metadata()
                if (
                    not member or consumer.memberid() != member
                ):  # asked for later: what the group says is not older
                    raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))
                self._client.send_offsets_to_transaction(offsets, group, CALL_S)
            self._client.commit_transaction(CALL_S)
        except KafkaException as error:
            self._abort_after(error, "commit")
        self._in_transaction = False
        TRANSACTIONS.labels("committed").inc()

    def abort(self) -> None:
        """Give the open transaction up, and what waits. Raises Retryable when the broker does not answer."""
        with self._lock:
            self._waiting, self._waiting_bytes = None, 0
        self._refused = None
        if self._in_transaction:
            try:
                self._client.abort_transaction(CALL_S)
            except KafkaException as error:
                raise judge(error, "abort_transaction") from None
            finally:
                self._in_transaction = False
            TRANSACTIONS.labels("aborted").inc()

    def close(self) -> None:
        """An open transaction must have been given up."""
        self._sender.close()

    def _waits(self, kept: Callable[[], _Kept]) -> bool:
        """Whether it must wait: then it does."""
        with self._lock:
            if self._waiting is None:
                return False
            send, size = kept()
            self._waiting.append(send)
            self._waiting_bytes += size
        return True

    def _kept(self, topic: str, rows: RowRecords) -> _Kept:
        own = rows.copy()
        return partial(self._sender.send, topic, own), own.values.nbytes + own.keys.nbytes

    def _now(self, send: Callable[[], None]) -> None:
        try:
            send()
        except KafkaException as error:
            self._abort_after(error, "write")

    def _send(self, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> None:
        for key, value in records:
            while True:
                try:
                    self._client.produce(topic, value, key, on_delivery=self._delivered)
                    break
                except BufferError:
                    self._client.poll(0.05)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002
        if error is not None and error.code() not in _PURGED:
            self._refused = error

    def _abort_after(self, error: KafkaException, during: str) -> NoReturn:
        fault: KafkaError = error.args[0]
        get_logger().warning("transaction_failed", during=during, error=fault.str(), code=fault.name())
        if fault.fatal():
            self._in_transaction = False  # there is nothing left to abort
            raise Fatal(f"another worker took this one's place ({fault.str()}): it stops here") from None
        self.abort()
        raise AbortedTransaction(f"{during} failed: {fault.str()}") from None


_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


def judge(error: KafkaException, during: str) -> Exception:
    """Whether a fault of the client passes: Retryable, or Fatal."""
    fault: KafkaError = error.args[0]
    if fault.fatal():
        return Fatal(f"{during}: {fault.str()}")
    return Retryable(f"{during}: {fault.str()}")
