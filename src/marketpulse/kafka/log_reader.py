"""The reading end for those who look back: any stretch of `market` again, and the snapshots beside it.

It joins no group and commits nothing, so it never disturbs those who work. All methods are called
from one thread.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from marketpulse.errors import Retryable
from marketpulse.kafka.client import client_config, error_of, offset_of
from marketpulse.kafka.control_record import ControlRecord, control_record
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.market_reader import Decoded, MarketReader
from marketpulse.kafka.records import is_frame, records_of_messages
from marketpulse.kafka.row_codec import decode_rows
from marketpulse.kafka.snapshot import Pointer, SnapshotReader, chunk_of, load_of
from marketpulse.kafka.source_counts import SourceCounts
from marketpulse.ports import FeedBatch
from marketpulse.settings import Settings

_CALL_S = 30.0
_FETCH_MS = 10  # it reads up to an end, and somebody waits for that
_RECORDS = 20_000


@dataclass(frozen=True, slots=True)
class Span:
    """What the log holds of a partition: the records of [first, end)."""

    first: int
    end: int


class LogReader:
    """Reads the log by place. Its calls raise Retryable while the broker is away, Fatal when it refuses."""

    def __init__(self, settings: Settings, topic: str = "market", group: str | None = None) -> None:
        self._settings = settings
        self._group = settings.group(group or settings.process.group)
        self._name, self._topic = topic, settings.topic(topic)
        self._decoder = MarketReader(self._topic)
        self._snapshots: SnapshotReader | None = None
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id=self._group, isolation_level="read_committed",
                auto_offset_reset="error", enable_partition_eof=True, fetch_wait_max_ms=_FETCH_MS,
            )
        )  # fmt: skip

    def partitions(self, topic: str = "market") -> int:
        """How many partitions the topic has; 0 when it does not exist."""
        name = self._settings.topic(topic)
        try:
            found = self._consumer.list_topics(name, timeout=_CALL_S).topics.get(name)
        except KafkaException as error:
            raise error_of(error) from None
        return 0 if found is None or found.error is not None else len(found.partitions)

    def span(self, partition: int, topic: str = "market") -> Span:
        """From where to where the log goes now."""
        place = TopicPartition(self._settings.topic(topic), partition)
        try:
            return Span(*self._consumer.get_watermark_offsets(place, timeout=_CALL_S))
        except KafkaException as error:
            raise error_of(error) from None

    def written(self) -> dict[int, int]:
        """Where each partition ends now, with records whose transactions have not ended everywhere: a commit returns before
        every partition has its mark."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(self._topic, p): latest for p in range(self.partitions(self._name))}
        admin = AdminClient(client_config(self._settings, "admin"))  # must outlive its answer
        try:
            answers = admin.list_offsets(asked, request_timeout=_CALL_S) if asked else {}
            return {place.partition: offset_of(answer) for place, answer in answers.items()}
        except KafkaException as error:
            raise error_of(error) from None

    def committed(self) -> dict[int, tuple[int, Pointer | None]]:
        """How far the engine has come in each partition: its next offset, and its newest snapshot."""
        return {p.partition: (p.offset, Pointer.parse(p.metadata)) for p in self._commits()}

    def counted(self) -> dict[int, tuple[int, SourceCounts]]:
        """How far the engine has come in each partition, and what it has counted up to there."""
        return {p.partition: (p.offset, SourceCounts.parse(p.metadata)) for p in self._commits()}

    def _commits(self) -> list[TopicPartition]:
        asked = [TopicPartition(self._topic, p) for p in range(self.partitions(self._name))]
        try:
            return [p for p in self._consumer.committed(asked, timeout=_CALL_S) if p.offset >= 0]
        except KafkaException as error:
            raise error_of(error) from None

    def read(self, partition: int, begin: int, end: int) -> Iterator[Decoded]:
        """The committed records of [begin, end), in order; fewer where the log ends before."""
        for messages in self._messages(self._topic, partition, begin, end):
            yield from self._decoder.decode(records_of_messages(partition, messages), begin, 0)

    def rows(self, topic: Literal["bars", "indicators", "alerts"], partition: int, key: bytes) -> Iterator[FeedBatch]:
        """The committed rows of one symbol in a topic that the engine writes, batch by batch in order."""
        name = self._settings.topic(topic)
        for messages in self._messages(name, partition, OFFSET_BEGINNING, None):
            own = [m for m in messages if m.key() == key or is_frame(m)]
            if own:
                rows = decode_rows(topic, [m.value() for m in own], lambda i, own=own: is_frame(own[i]))  # type: ignore[misc]
                yield FeedBatch(topic, rows, own[-1].timestamp()[1])

    def changes(self) -> list[ControlRecord]:
        """The newest change of each key in `control`, in the order in which they were made."""
        newest: dict[str, ControlRecord] = {}
        topic = self._settings.topic("control")
        for partition in range(self.partitions("control")):
            for messages in self._messages(topic, partition, OFFSET_BEGINNING, None):
                for found in filter(None, map(control_record, messages)):
                    newest.pop(found.key, None)  # its place is behind all others now
                    newest[found.key] = found
        return list(newest.values())

    def letters(self, partition: int, begin: int) -> Iterator[dict[str, Any]]:
        """The dead letters of a partition of `dead-letters` from there on."""
        topic = self._settings.topic("dead-letters")
        for messages in self._messages(topic, partition, max(begin, self.span(partition, "dead-letters").first), None):
            yield from (orjson.loads(message.value() or b"{}") for message in messages)

    def goes_on(self, topic: str, partition: int, begin: int) -> bool:
        """Whether a committed record stands there or behind; marks of transactions are none."""
        held = self.span(partition, topic)
        begin = max(begin, held.first)
        return begin < held.end and any(self._messages(self._settings.topic(topic), partition, begin, None))

    def snapshots(self, partition: int) -> list[Pointer]:
        """The whole snapshots of a partition's state that the broker still has, oldest first."""
        return sorted({pointer for pointer, _ in self._whole(partition)}, key=lambda p: (p.covered, p.state_offset))

    def loads(self, partition: int) -> list[tuple[Pointer, str]]:
        """The states that loads of files have ended with, oldest first, and the names of these loads."""
        found = [(pointer, load) for pointer, load in self._whole(partition) if load]
        return sorted(found, key=lambda one: one[0].state_offset)

    def _whole(self, partition: int) -> Iterator[tuple[Pointer, str]]:
        """Snapshots of which every chunk is there, and the load that each ends ("": none)."""
        found: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)  # -> (place, chunks in all)
        for messages in self._messages(self._settings.topic("state"), partition, OFFSET_BEGINNING, None):
            for message in messages:
                load = load_of(message.key() or b"", self._group, partition)
                if load is None or not message.value():
                    continue
                try:
                    chunk = chunk_of(message.value() or b"")
                except struct.error:
                    continue
                found[chunk.covered, load].append((cast(int, message.offset()), chunk.count))
        for (covered, load), chunks in found.items():
            if len(chunks) == chunks[0][1]:
                yield Pointer(min(place for place, _ in chunks), covered), load

    def read_snapshot(self, partition: int, pointer: Pointer) -> bytes:
        """A partition's state. Raises SnapshotGone when it is not there any more."""
        if self._snapshots is None:
            self._snapshots = SnapshotReader(self._settings)
        return self._snapshots.read(partition, pointer)

    def appended_ms(self, partition: int, offset: int) -> int | None:
        """When the first record at or behind the offset was appended; None when there is none yet."""
        for decoded in self.read(partition, offset, self.span(partition).end):
            return int(decoded.records.appended_ms[0])
        return None

    def first_after(self, topic: str, time_ms: int) -> dict[int, int]:
        """By partition, the first offset whose record was appended at or after the time (its end: none was)."""
        name = self._settings.topic(topic)
        asked = [TopicPartition(name, p, time_ms) for p in range(self.partitions(topic))]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=_CALL_S)
        except KafkaException as error:
            raise error_of(error) from None
        return {p.partition: p.offset for p in found if p.offset >= 0}

    def close(self) -> None:
        self._consumer.close()
        if self._snapshots is not None:
            self._snapshots.close()

    def _messages(self, topic: str, partition: int, begin: int, end: int | None) -> Iterator[list[Message]]:
        """Records in order, up to `end` or to where the log ends for readers of committed records."""
        if end is not None and begin >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, begin)])
        try:
            while True:
                first = self._consumer.poll(_CALL_S)
                if first is None:
                    raise Retryable(f"{topic}/{partition} could not be read for {_CALL_S:.0f} s: try again")
                records, ended = _sorted_out([first, *self._consumer.consume(_RECORDS - 1, 0)])
                if end is not None and records and cast(int, records[-1].offset()) >= end - 1:
                    records, ended = [m for m in records if cast(int, m.offset()) < end], True
                if records:
                    yield records
                if ended:
                    return
        finally:
            self._consumer.unassign()


def _sorted_out(messages: list[Message]) -> tuple[list[Message], bool]:
    """The records among them, and whether the end of the partition came."""
    records, ended = [], False
    for message in messages:
        if (error := message.error()) is None:
            records.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ended = True
        else:
            raise error_of(error)
    return records, ended
