"""The reading end for stores: whole stretches of the log as rows of tables, from where each store stands.

The store's own positions are the truth: they are asked for at every assignment, and what the group
has committed only serves to show the lag. A store that keeps none goes on where the group has committed. Partitions move all at once (the eager protocol): what is
held is flushed before they go, so nothing is stored twice or by two.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import cast

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.codec import MarketDecoder, decode_rows, to_tables
from marketpulse.kafka.group import Membership
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.records import is_frame, records_of_messages
from marketpulse.kafka.unreadable_letters import write_dead_letters
from marketpulse.model.market import ABSENT, REASONS, DeadLetter
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.telemetry import RECORDS_CONSUMED, get_logger

Place = tuple[str, int]  # topic, as the broker names it, and partition
_RECORDS_MAX = 20_000
_CALL_S = 10.0


class TableReader:
    """Rows of `tables`, shared among the members of `group`. All methods are called from one thread.

    `start` gives the next offset wanted by (topic, partition), as a sink's `resume` does; a place
    that it does not name starts at the beginning, and None leaves all to the group. It is called at every assignment, after the
    callback of `on_revoke` has made durable what was held.
    """

    def __init__(
        self,
        settings: Settings,
        tables: Sequence[str],
        group: str,
        start: Mapping[Place, int] | Callable[[], Mapping[Place, int] | None],
    ) -> None:
        self._settings = settings
        self._tables: dict[str, list[str]] = {}  # by topic
        self._name: dict[str, str] = {}  # the contract's name of each topic
        for table in tables:
            contract_name = TABLES[table][0]
            topic = settings.topic(contract_name)
            self._tables.setdefault(topic, []).append(table)
            self._name[topic] = contract_name
        self._start = start if callable(start) else lambda: start
        self._flush: Callable[[], None] = lambda: None
        self._decoder = MarketDecoder()
        self._next: dict[Place, int | None] = {}  # assigned places; None until the first record
        self._unplaced: list[Place] = []  # assigned, but not begun yet
        self._generation = 0  # counts what moved
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id=group, isolation_level="read_committed",
                auto_offset_reset="earliest", enable_partition_eof=True,
                partition_assignment_strategy="roundrobin", max_poll_interval_ms=300_000,
                # A killed member's partitions are given on after this; the client's own default is 45 s.
                session_timeout_ms=6_000, heartbeat_interval_ms=1_000,
            )
        )  # fmt: skip
        self._membership = Membership(self._consumer, error_of)
        self._membership.join(list(self._tables), self._assigned, self._revoked, self._lost)

    def on_revoke(self, callback: Callable[[], None]) -> None:
        """Called before partitions go to another member: make everything polled durable in it."""
        self._flush = callback

    @property
    def has_joined(self) -> bool:
        """Whether the group has told it once which partitions it reads."""
        return self._generation > 0

    def poll(self, timeout_s: float) -> list[SinkBatch]:
        """What has come: waits for a first record at most `timeout_s`, then drains.

        The batches of a place and table follow each other without a gap: marks of transactions and
        refused records are covered by the stretch that they stand in. Raises Retryable while the
        broker is away, Fatal when a position cannot be right.
        """
        if self._unplaced:
            self._place()
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        generation = self._generation
        messages = [first, *self._consumer.consume(_RECORDS_MAX - 1, 0)]
        if self._generation != generation:  # some of them are from before partitions moved: read all again
            self._unplaced = list(self._next)
            return []
        batches: list[SinkBatch] = []
        ordered = sorted(messages, key=_place)  # stable: each place keeps its order
        for place, run in groupby(ordered, key=_place):
            if place in self._next:
                batches += self._batches(place, list(run))
        return batches

    def commit(self) -> None:
        """Tell the group how far everything polled is, for its lag. Its loss is no harm."""
        places = [TopicPartition(t, p, offset) for (t, p), offset in self._next.items() if offset is not None]
        if not places:
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            get_logger().info("commit_failed", error=str(error))

    def lag(self) -> int:
        """How many records stand behind what was polled, as the client last heard; places not read yet count 0."""
        total = 0
        for (topic, partition), offset in self._next.items():
            if offset is not None:
                _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
                total += max(0, high - offset)
        return total

    def close(self) -> None:
        """Leave the group; the callback of `on_revoke` is called for what is still held."""
        self._membership.leave()

    def _batches(self, place: Place, run: list[Message]) -> list[SinkBatch]:
        topic, partition = place
        records: list[Message] = []
        begin = self._next[place]
        end = begin or 0
        for message in run:
            error, offset = message.error(), cast(int, message.offset())
            if error is None:
                records.append(message)
                end = max(end, offset + 1)
            elif error.code() == KafkaError._PARTITION_EOF:
                end = max(end, offset)  # behind the marks of transactions
            else:
                raise error_of(error)
        if begin is None:
            begin = cast(int, records[0].offset()) if records else end
        self._next[place] = end
        if end <= begin:
            return []
        RECORDS_CONSUMED.labels(self._name[topic]).inc(len(records))
        rows = self._rows(topic, partition, records)
        return [SinkBatch(table, topic, partition, begin, end, rows[table]) for table in self._tables[topic]]

    def _rows(self, topic: str, partition: int, records: list[Message]) -> dict[str, pa.RecordBatch]:
        """The records' rows by table; a table without rows has an empty batch."""
        if self._name[topic] != "market":
            unreadable: list[int] = []
            values = [message.value() for message in records]
            rows = decode_rows(self._name[topic], values, lambda i: is_frame(records[i]), unreadable)
            if unreadable:
                get_logger().warning("rows_unreadable", topic=topic, partition=partition, records=len(unreadable))
                self._note_unreadable(topic, partition, [records[i] for i in unreadable])
            return dict.fromkeys(self._tables[topic], rows)
        batch, _ = self._decoder.decode(topic, records_of_messages(partition, records))
        # What was refused the engine writes to the dead letters.
        found = to_tables(batch)
        return {
            table: found[table] if table in found else pa.RecordBatch.from_pylist([], schema=TABLES[table][1])
            for table in self._tables[topic]
        }

    def _note_unreadable(self, topic: str, partition: int, records: list[Message]) -> None:
        """One dead letter for each, whichever store comes first; they stay in the topic, so the letters leave them out."""
        letters = [
            DeadLetter(
                "unreadable_row", f"{REASONS['unreadable_row']} ({len(record):,} bytes)", topic, partition,
                cast(int, record.offset()), ABSENT, None, None,
            )
            for record in records
        ]  # fmt: skip
        try:
            write_dead_letters(self._settings, letters)
        except (Retryable, Fatal) as error:  # the rows beside them are not held up
            get_logger().error("dead_letter_unwritten", error=str(error))

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._generation += 1
        consumer.assign([])  # else the client begins at the committed offsets by itself
        self._unplaced = [(place.topic, place.partition) for place in partitions]
        self._place()

    def _place(self) -> None:
        """Begin the partitions that came where the store stands. What fails is tried by the next poll."""
        wanted = self._start()
        if wanted is None:
            wanted = self._committed()
        for place in self._unplaced:
            if place in wanted:
                self._check_offset(place, wanted[place])
        self._next = {place: wanted.get(place) for place in self._unplaced}
        self._unplaced = []
        self._consumer.assign(
            [TopicPartition(*p, OFFSET_BEGINNING if offset is None else offset) for p, offset in self._next.items()]
        )

    def _committed(self) -> dict[Place, int]:
        """Where the group stands in the partitions that came."""
        try:
            places = self._consumer.committed([TopicPartition(*p) for p in self._unplaced], timeout=_CALL_S)
        except KafkaException as error:
            raise error_of(error) from None
        return {(p.topic, p.partition): p.offset for p in places if p.offset >= 0}

    def _check_offset(self, place: Place, offset: int) -> None:
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_CALL_S)
        except KafkaException as error:
            raise error_of(error) from None
        topic, partition = place
        if offset > high:
            raise Fatal(
                f"{topic}/{partition} ends at {high}, but the store stands at {offset}: the topic was made anew. "
                "Give the store another place, or move what it holds away"
            )
        if offset < low:
            get_logger().warning("records_deleted_unstored", topic=topic, partition=partition, records=low - offset)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002
        self._generation += 1
        self._unplaced = []
        try:
            self._flush()
        finally:
            self._next = {}

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002
        """Another member may own them already: what is held is forgotten, and read again by whoever does."""
        self._generation += 1
        self._next, self._unplaced = {}, []


def _place(message: Message) -> Place:
    return cast(str, message.topic()), cast(int, message.partition())
