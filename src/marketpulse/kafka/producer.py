"""The writing end of `market`: what sources bring, in order, exactly once where the source can resume.

    write -> take (encode, keep) -> send -> commit: rows and position in one transaction
                                 \\-> or, for a source without positions, an idempotent queue

What was handed over belongs to the log: after Retryable it is kept and sent again by the next call.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.kafka.client import LogProducer, error_of, source_config
from marketpulse.kafka.client_names import max_block_s
from marketpulse.kafka.market_records import MarketRecords, Outgoing, OutgoingRows, count_by_type
from marketpulse.kafka.row_sender import RowSender
from marketpulse.kafka.source_position import PositionedTransactions, is_lost
from marketpulse.ports import Polled
from marketpulse.settings import Settings
from marketpulse.telemetry import INPUT_REJECTED, ROWS_PRODUCED, get_logger

_COMMIT_S = 0.1  # a commit takes 7 ms: one for each row would be the whole time
_BULK_COMMIT_S = 0.5  # while much is written: a commit waits until all of it is acknowledged
_BULK_BYTES = 2 * 1024 * 1024  # that a live source does not bring in a tenth of a second
_PENDING_BYTES_MAX = 32 * 1024 * 1024  # then commit at once: a lost transaction is sent again from memory
_FLUSH_S = 10.0
_PARTITIONS_S = 60.0  # how often the topic is asked for new partitions
_BACKLOG_MAX = 2_000  # undelivered records beyond which a heartbeat is left out: the next one says more


class KafkaMarketLog:
    """One source's MarketLog. All methods are called from one thread.

    With `exactly_once` every row is in a transaction that also commits the newest `position`. A
    transaction that is 100 ms old (500 ms where it holds over 2 MiB) is committed by the next call of any
    kind, so call something (`heartbeat`, or `write(Polled())`) several times a second, or `flush`.

    `topic`: `market`, or `feeds` for one of several sources that can bring the same symbols.

    Without it rows go through an idempotent queue: no duplicate, no reordering, and no loss while
    this process lives, but a killed process loses what the broker had not acknowledged.

    After Retryable call again. The same `Polled` object is not written twice; another call (a new
    `Polled`, `heartbeat`, `flush`) first finishes what is held. So nothing is lost or doubled either
    way: a transaction that was lost with the broker is sent again from memory, and only a new
    process begins at `last_position()`.
    """

    def __init__(self, settings: Settings, source: str, *, exactly_once: bool, topic: str = "market") -> None:
        self._source = source
        self._market = settings.topic(topic)
        self._records = MarketRecords(settings, source, in_rows=exactly_once, topic=topic)
        self._block_s = max_block_s({**settings.kafka.client, **settings.kafka.producer.properties})
        self._pending: list[Outgoing | OutgoingRows] = []
        self._pending_bytes = 0
        self._pending_rows: Counter[str] = Counter()
        self._sent = 0  # how many of `_pending` the client has taken
        self._sent_rows = 0  # and how many rows of the next one
        self._sender: RowSender | None = None
        self._taken: Polled | None = None
        self._failure: KafkaError | None = None
        self._partitions = 0
        self._partitions_at = 0.0
        self._transactions: PositionedTransactions | None = None
        self._queue: Producer | None = None
        if exactly_once:
            self._transactions = PositionedTransactions(settings, source, self._delivered)
        else:
            # 0: a record waits for the broker as long as it takes; the queue's bound stops the source.
            config = source_config(settings, message_timeout_ms=0)
            self._queue = LogProducer({**config, "delivery.report.only.error": True, "on_delivery": self._delivered})

    @property
    def sender(self) -> str:
        """The id under which the engine counts what this object writes."""
        return self._records.sender

    def last_position(self) -> str | None:
        """The position committed with this source's newest rows; None when there is none.

        It first takes the source over from a former process, so that nobody moves the position
        after it was read. Raises Retryable while the broker is away.
        """
        if self._transactions is None:
            return None
        self._recover()
        return self._transactions.last_position()

    def committed_position(self) -> str | None:
        """The position of the newest commit that this process knows of; nobody is asked."""
        return None if self._transactions is None else self._transactions.last_position()

    def clock(self) -> None:
        """Move the log's time to now, in every partition: while the broker was away it stood still, and rows would be ahead
        of it. Raises Retryable."""
        self._settle()
        self._add(self._records.clock(self._partition_count()))
        self._send()

    def write(self, polled: Polled) -> None:
        """Take everything of `polled`: hello, rows, rejected rows, goodbye, position.

        An empty one only commits what is due. Raises Retryable (see above); Fatal when another
        process of this source took over, when a record is larger than the topic takes, or when the
        broker refuses; ParameterError for a position that cannot be committed.
        """
        if polled is not self._taken:
            self._settle()
            self._take(polled)
            self._taken = polled
        self._send()
        ending = polled.ended or polled.goodbye_watermark_ns is not None
        if ending or self._pending_bytes >= _PENDING_BYTES_MAX or self._due():
            self._commit()
        self._taken = None

    def heartbeat(self, source: str, event_time_ns: int) -> None:
        """Promise, in every partition, that no row older than this will come. Also commits what is due."""
        self._settle()
        if self._queue is None or len(self._queue) < _BACKLOG_MAX:
            self._add(self._records.heartbeat(source, event_time_ns, self._partition_count()))
        self._send()
        if self._due():
            self._commit()

    def flush(self) -> None:
        """Return when everything taken so far is durable. Raises Retryable when that takes over 10 s."""
        self._settle()
        self._send()
        self._commit()
        if self._queue is None:
            return
        try:
            left = self._queue.flush(_FLUSH_S)
        except KafkaException as error:
            self._raise_failure()
            raise error_of(error) from None
        self._raise_failure()
        if left:
            raise Retryable(f"{left} records are not acknowledged yet: the broker is away or slow")

    def close(self) -> None:
        """Flush, and let go. What could not be flushed raises: with positions it is read again by the
        next process, without them it is lost."""
        try:
            self.flush()
        except Retryable:
            if self._queue is not None:
                get_logger().error("rows_lost", source=self._source, records=len(self._queue))
            raise
        finally:
            if self._sender is not None:
                self._sender.close()
            if self._transactions is not None:
                self._transactions.close()

    # --- taking ---

    def _take(self, polled: Polled) -> None:
        """Take all of it or, when this raises, nothing."""
        if polled.position is not None:
            if self._transactions is None:
                raise ParameterError(f"{self._source}: a position needs a log opened with exactly_once")
            self._transactions.check(polled.position)
        self._add(self._records.of(polled, self._partition_count()))
        if polled.position is not None and self._transactions is not None:
            self._transactions.move_to(polled.position)
        self._pending_rows += count_by_type(polled)
        for item in polled.rejected:
            INPUT_REJECTED.labels(self._source, item.reason).inc()

    def _add(self, records: Sequence[Outgoing | OutgoingRows]) -> None:
        self._pending += records
        self._pending_bytes += sum(
            len(record.value) if isinstance(record, Outgoing) else record.rows.values.nbytes for record in records
        )

    def _partition_count(self) -> int:
        """Asked of the broker now and then; what is known serves while it is away."""
        now = time.monotonic()
        if self._partitions and now - self._partitions_at < _PARTITIONS_S:
            return self._partitions
        try:
            topic = self._client().list_topics(self._market, timeout=self._block_s).topics[self._market]
            if topic.error is not None:
                raise KafkaException(topic.error)
        except KafkaException as error:
            if self._partitions:
                return self._partitions
            raise error_of(error) from None
        self._partitions, self._partitions_at = len(topic.partitions), now
        return self._partitions

    # --- sending ---

    def _client(self) -> Producer:
        """The client to send with: the queue, or that of the transactions."""
        if self._transactions is not None:
            self._recover()
            return self._transactions.working()
        return cast(Producer, self._queue)

    def _recover(self) -> None:
        """After a fault: a new client, and the knowledge of whether the last commit held."""
        if self._transactions is not None and self._transactions.producer is None:
            self._sent = self._sent_rows = 0
            self._sender = None
            if self._transactions.recover():
                self._forget_pending()

    def _due(self) -> bool:
        if self._transactions is None:
            return True
        wait_s = _BULK_COMMIT_S if self._pending_bytes >= _BULK_BYTES else _COMMIT_S
        return self._transactions.open_for_s() >= wait_s

    def _settle(self) -> None:
        """Finish what an earlier call could not: rows that the client has not taken, or that a lost
        transaction had."""
        self._raise_failure()
        self._recover()
        if self._sent < len(self._pending):
            self._send()
            self._commit()

    def _send(self) -> None:
        """Give the client what it has not taken yet. Raises Retryable when its queue stays full."""
        client = self._client()
        if self._transactions is not None and not self._transactions.is_open():
            self._sent = self._sent_rows = 0
            if self._pending or self._transactions.wants_commit():
                self._transactions.begin()
        deadline = time.monotonic() + self._block_s
        while self._sent < len(self._pending):
            try:
                if self._took(client, self._pending[self._sent]):
                    self._sent += 1
                    continue
                self._serve(client, 0.05)
                if time.monotonic() > deadline:
                    raise Retryable(
                        f"the queue to the broker has been full for {self._block_s:g} s: it is away or slow"
                    )
            except KafkaException as error:
                self._raise_failure()
                if self._transactions is not None:
                    self._transactions.fail(error, "write")
                raise error_of(error) from None
        self._serve(client, 0)
        if self._transactions is None:
            self._forget_pending()

    def _took(self, client: Producer, record: Outgoing | OutgoingRows) -> bool:
        """Whether the client's queue had room for all of it; of rows it takes what it has room for."""
        if isinstance(record, Outgoing):
            try:
                client.produce(record.topic, record.value, record.key, record.partition, headers=record.headers)
            except BufferError:
                return False
            return True
        if self._sender is None:
            self._sender = RowSender(client)
        self._sent_rows = self._sender.offer(record.topic, record.rows, self._sent_rows)
        if self._sent_rows < len(record.rows):
            return False
        self._sent_rows = 0
        return True

    def _serve(self, client: Producer, timeout_s: float) -> None:
        """Let the client report what became of its records."""
        try:
            client.poll(timeout_s)
        except KafkaException as error:
            self._raise_failure()
            if self._transactions is not None:
                self._transactions.fail(error, "write")
            raise error_of(error) from None
        self._raise_failure()

    def _commit(self) -> None:
        if self._transactions is None or not self._transactions.is_open():
            return
        try:
            self._transactions.commit()
        except Retryable:
            self._raise_failure()
            raise
        self._forget_pending()

    def _forget_pending(self) -> None:
        for kind, count in self._pending_rows.items():
            ROWS_PRODUCED.labels(self._source, kind).inc(count)
        self._pending.clear()
        self._pending_rows.clear()
        self._pending_bytes = self._sent = self._sent_rows = 0

    def _delivered(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002
        """A record that was refused for good; those of a lost transaction are sent again."""
        if error is None or not isinstance(error_of(error), Fatal):
            return
        if self._transactions is None or not (is_lost(error) or error.fatal()):
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise error_of(self._failure)
