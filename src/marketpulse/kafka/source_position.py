"""Transactions of one source: its rows, and the position to resume at, together or not at all.

The consumer group `marketpulse-source-NAME` commits, in every transaction, an offset on partition 0
of `market`: the offset is a counter of commits, its metadata says `owner:position`. So after any
fault one look tells whether the last commit held, or whether another process took the source over.
"""

import time
import uuid
from collections.abc import Callable
from typing import NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.kafka.client import LogProducer, client_config, error_of, send_offsets, source_config
from marketpulse.settings import Settings
from marketpulse.telemetry import COMMIT_SECONDS, TRANSACTIONS, get_logger

POSITION_BYTES_MAX = 4_000  # brokers keep 4,096 bytes (offset.metadata.max.bytes); the owner needs ten
_TRANSACTION_MS = 10_000  # a killed source that never returns holds up committed readers that long
_CALL_S = 5.0
_INIT_S = 15.0

_LOST = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH,
         KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._STATE, KafkaError._FATAL}  # fmt: skip
"""The transaction is gone: it timed out while the broker was away, or another process took over. The last
two say that the client had noticed before it was asked; its reason stands in the log."""


class PositionedTransactions:
    """At most one open transaction. After a fault `producer` is None until `recover` has made a new one."""

    def __init__(
        self, settings: Settings, source: str, delivered: Callable[[KafkaError | None, Message], None]
    ) -> None:
        self._settings = settings
        self._source = source
        self._name = f"{settings.kafka.topic_prefix}marketpulse-source-{source}"
        self._place = settings.topic("market")
        self._delivered = delivered
        self._owner = uuid.uuid4().hex[:8]
        self._consumer = Consumer(
            client_config(
                settings, "consumer", group_id=self._name, isolation_level="read_committed",
                auto_offset_reset="earliest",
            )
        )  # fmt: skip
        self.producer: LogProducer | None = None
        self._replace_because = ""  # why only a new producer may begin a transaction: it fences what may come late
        self._opened_at: float | None = None
        self._asked = False  # for a commit whose answer has not come
        self._commits: int | None = None  # the counter on the broker; None: not ours yet
        self._position = ""  # as committed; empty: none
        self._waiting: str | None = None  # the newest position that is not committed yet

    def check(self, position: str) -> None:
        """Raises ParameterError for a position that the broker would not keep."""
        size = len(position.encode())
        if not 0 < size <= POSITION_BYTES_MAX:
            raise ParameterError(
                f"a source's position has 1 to {POSITION_BYTES_MAX:,} bytes, found {size:,}: write it shorter"
            )

    def move_to(self, position: str) -> None:
        """The next commit carries this position."""
        self._waiting = position

    def last_position(self) -> str | None:
        """What the newest commit carried."""
        return self._position or None

    def wants_commit(self) -> bool:
        return self._waiting is not None

    def is_open(self) -> bool:
        return self._opened_at is not None

    def open_for_s(self) -> float:
        """Seconds since the open transaction began; 0 when none is open."""
        return 0.0 if self._opened_at is None else time.monotonic() - self._opened_at

    def recover(self) -> bool:
        """Make a producer where there is none: at first, and after a fault. True when it turns out that
        the commit that was last asked for held; else nothing of that transaction counts.

        Taking a source over ends what a former process had open, and leaves our name in the group.
        Raises Retryable while the broker is away, Fatal when another process took over from us.
        """
        if self.producer is not None:
            return False
        self.producer = producer = LogProducer(
            source_config(
                self._settings, transactional_id=self._name, transaction_timeout_ms=_TRANSACTION_MS,
                delivery_report_only_error=True, on_delivery=self._delivered,
            )
        )  # fmt: skip
        try:
            producer.init_transactions(_INIT_S)
            commits, owner, position = self._read()
            if self._commits is None:
                self._position = position
                producer.begin_transaction()
                self._commit(producer, commits + 1, position)
                self._commits = commits + 1
                return False
        except KafkaException as error:
            self.fail(error, "taking the source over")
        held = self._asked and commits == self._commits + 1 and owner == self._owner
        if not held and (commits, owner) != (self._commits, self._owner):
            raise Fatal(
                f"another process of the source {self._source} took over: run only one, or give it another name"
            )
        if held:
            self._committed()
        self._asked = False
        return held

    def begin(self) -> None:
        """Open a transaction. Raises Retryable when that takes a new producer."""
        producer = self.working()
        try:
            if self._replace_because:
                raise KafkaException(KafkaError(KafkaError._TRANSPORT, self._replace_because))
            producer.begin_transaction()
        except KafkaException as error:
            self.fail(error, "begin")
        self._opened_at = time.monotonic()

    def commit(self) -> None:
        """Rows and position become visible together. Raises Retryable when they did not, or when it is
        not known yet (`recover` tells)."""
        began = time.monotonic()
        position = self._position if self._waiting is None else self._waiting
        try:
            self._commit(self.working(), (self._commits or 0) + 1, position)
        except KafkaException as error:
            self.fail(error, "commit")
        self._committed()
        COMMIT_SECONDS.observe(time.monotonic() - began)

    def fail(self, error: KafkaException, during: str) -> NoReturn:
        """Give the transaction up; then raise Retryable, or Fatal where doing it again cannot help."""
        fault: KafkaError = error.args[0]
        TRANSACTIONS.labels("aborted").inc()
        get_logger().warning("transaction_given_up", source=self._source, during=during, error=fault.str())
        self._drop()
        judged = error_of(fault)
        if isinstance(judged, Fatal) and not fault.fatal() and not is_lost(fault):
            raise judged from None
        raise Retryable(f"{during}: {fault.str()}") from None

    def close(self) -> None:
        """An open transaction is aborted."""
        if self.producer is not None and self.is_open():
            try:
                self.producer.abort_transaction(_CALL_S)
            except KafkaException as error:
                get_logger().info("abort_unanswered", source=self._source, error=error.args[0].str())
        self._drop()
        self._consumer.close()

    def working(self) -> LogProducer:
        """The producer. Raises Retryable when there is none now."""
        if self.producer is None:
            raise Retryable(f"the source {self._source} has no connection to the broker: call again")
        return self.producer

    def _drop(self) -> None:
        if self.producer is not None:
            self.producer.purge()
            self.producer = None
        self._opened_at, self._replace_because = None, ""

    def _commit(self, producer: LogProducer, commits: int, position: str) -> None:
        place = TopicPartition(self._place, 0, commits, metadata=f"{self._owner}:{position}")
        send_offsets(producer, [place], self._consumer, _CALL_S)
        self._asked = True
        producer.commit_transaction(_CALL_S)
        self._asked = False
        self._replace_because = producer.lost_connection()

    def _committed(self) -> None:
        self._opened_at = None
        self._commits = (self._commits or 0) + 1
        if self._waiting is not None:
            self._position, self._waiting = self._waiting, None
        TRANSACTIONS.labels("committed").inc()

    def _read(self) -> tuple[int, str, str]:
        """(counter, owner, position) as committed; (0, "", "") when there is nothing yet."""
        found = self._consumer.committed([TopicPartition(self._place, 0)], timeout=_INIT_S)[0]
        if found.error is not None:
            raise KafkaException(found.error)
        owner, _, position = (found.metadata or "").partition(":")
        return max(found.offset, 0), owner, position


def is_lost(error: KafkaError) -> bool:
    """Whether the error says that the transaction is gone, and nothing about the record it came with."""
    return error.code() in _LOST
