"""The consumer of every reader of ours: it steps over exactly what cannot be read, and goes on behind it.

A batch that unpacks to more than `receive.message.max.bytes`, fails its checksum or is of an unknown codec or version
would stop the library's partition for ever: it asks for the same offset again and again, or says nothing at all.

    poll, consume ─> fault of a partition ─> find_unreadable ─> write_dead_letters ─> seek behind it
    once a second ─> a partition that does not move, though records stand there ─┘   (looked at by a thread of its own)

| what                                      | how it shows                   | stepped over                             |
| ----------------------------------------- | ------------------------------ | ---------------------------------------- |
| unpacked too large, codec, checksum, magic | an error with the base offset  | the batch, `unreadable_batch`            |
| a batch whose inside cannot be parsed     | silence                        | up to the next readable offset           |
| a record larger than any of ours          | a record, or silence           | the record, `too_large`                  |

What is stepped over is in nobody's result, as the mark of a transaction is not. While the broker is away, or a dead letter
cannot be written, the partition stays before the fault, and is tried again.

From a corrupt batch the library may make up a position that is out of the partition's range. Where it resets by itself
("earliest"), it would read everything again; so it is told never to, and it is done here.
"""

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.background import in_background
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.kafka.handle import remind_of_brokers
from marketpulse.kafka.unreadable import UNREADABLE, Unreadable, find_silent, find_unreadable, too_large
from marketpulse.kafka.unreadable_letters import write_dead_letters
from marketpulse.settings import Settings
from marketpulse.telemetry import UNREADABLE_BATCHES, get_logger

_WATCH_EVERY_S = 1.0
_SILENT_S = 2.0  # a partition that stands still for so long is looked at
_LOOKED_S, _LOOKED_S_MOST = 30.0, 3_600.0  # until the next look where nothing was wrong; doubled while nothing moves
_RANGE_S = 2.0
_COOPERATIVE = "cooperative-sticky"

Place = tuple[str, int]
_OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


@dataclass(frozen=True, slots=True)
class Fault:
    """What the library says in place of a record, or a record that is too large to be one of ours."""

    topic: str
    partition: int
    offset: int
    code: int
    text: str
    size: int = -1  # of a record

    @classmethod
    def of(cls, message: Message) -> "Fault | None":
        """What is wrong with the message; None where nothing is, or nothing that can be stepped over."""
        error = message.error()
        topic, partition = cast(str, message.topic()), cast(int, message.partition())
        if error is not None:
            code = error.code()
            if code not in UNREADABLE:
                return None
            return cls(topic, partition, cast(int, message.offset()), code, error.str())
        size = len(message) + len(message.key() or b"")
        if size <= MESSAGE_BYTES_MAX:
            return None
        return cls(topic, partition, cast(int, message.offset()), KafkaError.NO_ERROR, "", size)


class LogConsumer(Consumer):
    """The library's consumer, but what cannot be read is stepped over, with one dead letter and a metric."""

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        super().__init__({**config, "auto.offset.reset": "error"})
        self._settings, self._config = settings, config
        self._takes_earliest = config.get("auto.offset.reset") == "earliest"
        self._is_eager = config.get("partition.assignment.strategy", _COOPERATIVE) != _COOPERATIVE
        self._watch_at = time.monotonic() + _WATCH_EVERY_S
        self._stands_since: dict[Place, tuple[int, float]] = {}  # -> (offset, since when)
        self._looked: dict[Place, tuple[int, int, float, float]] = {}  # -> (offset, end, when, pause)
        self._look: tuple[Place, int, Future[list[Unreadable]]] | None = None  # at (partition, offset), under way
        self._again: dict[Place, int | None] = {}  # to begin again, at an offset or where it stands (None)
        self._next: dict[Place, int] = {}  # behind the last record that was handed on, or where it was sought to
        self.leads: dict[str, Callable[[str, Iterable[int]], None]] = {}
        """What leads a topic's partitions into another queue, each time before they are assigned (RecordQueue)."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """As the library's."""
        self._next, self._look = {}, None
        super().assign(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As the library's."""
        for tp in partitions:
            self._next.pop((tp.topic, tp.partition), None)
        self._look = None
        super().incremental_assign(partitions)

    def poll(self, timeout: float = -1) -> Message | None:
        """As the library's."""
        give_up = time.monotonic() + timeout if timeout >= 0 else math.inf
        while True:
            message = super().poll(max(0.0, min(_WATCH_EVERY_S, give_up - time.monotonic())))
            kept = [] if message is None else self.readable([message])
            self._watch()
            if kept or (message is None and time.monotonic() >= give_up):
                return kept[0] if kept else None

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """As the library's."""
        kept = self.readable(super().consume(num_messages, timeout))
        self._watch()
        return kept

    def readable(self, messages: list[Message]) -> list[Message]:
        """Those of the messages that can be read. Of a partition with a fault, those before it; it is read again behind."""
        faults: dict[Place, Fault] = {}
        kept = []
        for message in messages:
            place, error = (cast(str, message.topic()), cast(int, message.partition())), message.error()
            if place in faults or (error is not None and self.reads_on(place, error.code())):
                continue
            if (fault := Fault.of(message)) is None:
                kept.append(message)
                if error is None:
                    self._next[place] = cast(int, message.offset()) + 1
            else:
                faults[place] = fault
        self.step_over(faults.values())
        return kept

    def handed_on(self, place: Place, offset: int) -> None:
        """Note the last offset of records that a queue beside the consumer's has handed on (RecordQueue)."""
        self._next[place] = offset + 1

    def reads_on(self, place: Place, code: int) -> bool:
        """Whether the error is about a position out of the partition's range and the next `step_over` begins the partition
        again: where it stands, since the position was made up, or at its earliest record, where the reader asks for that."""
        if code not in _OUT_OF_RANGE:
            return False
        at = self._positions().get(place, OFFSET_INVALID)
        is_made_up = at in (OFFSET_BEGINNING, OFFSET_END) or self._is_in_range(place, at)
        if is_made_up or self._takes_earliest:
            self._again[place] = None if is_made_up else OFFSET_BEGINNING
            return True
        return False

    def _is_in_range(self, place: Place, offset: int) -> bool:
        """Whether the partition goes that far; True where the broker does not say, since it is asked again."""
        try:
            span = self.get_watermark_offsets(TopicPartition(*place), timeout=_RANGE_S)
        except KafkaException:
            return offset >= 0
        return offset >= 0 if span is None else span[0] <= offset <= span[1]

    def step_over(self, faults: Iterable[Fault]) -> None:
        """Go on behind each of these, of different partitions. One that cannot be seen to now is read again. All that is read
        has been handed on."""
        again, self._again = self._again, {}
        if again:
            positions = self._positions()
            self._begin_again(
                {place: positions.get(place, OFFSET_BEGINNING) if at is None else at for place, at in again.items()}
            )
        for fault in faults:
            try:
                found = self._unreadable_at(fault)
                self._note(found)
                self._go_on(fault.topic, fault.partition, found[-1].last + 1 if found else fault.offset)
            except Retryable as error:
                get_logger().warning(
                    "stepping_over_waits", topic=fault.topic, partition=fault.partition, error=str(error)
                )
                self._go_on(fault.topic, fault.partition, fault.offset)

    def _unreadable_at(self, fault: Fault) -> list[Unreadable]:
        if fault.code == KafkaError.NO_ERROR:
            return [too_large(fault.topic, fault.partition, fault.offset, fault.size)]
        return find_unreadable(self._config, fault.topic, fault.partition, fault.offset)

    def _note(self, found: list[Unreadable]) -> None:
        """Write the dead letters, count and log. Raises Retryable when that has to wait."""
        if found:
            try:
                write_dead_letters(self._settings, [one.dead_letter() for one in found])
            except Fatal as error:  # such as a reader that may not write: others note it
                get_logger().error("dead_letter_unwritten", error=str(error))
        for one in found:
            UNREADABLE_BATCHES.labels(one.topic, one.reason).inc()
            get_logger().warning(
                "stepped_over", topic=one.topic, partition=one.partition, offset=one.first, last_offset=one.last,
                bytes=one.size, reason=one.reason, detail=one.why,
            )  # fmt: skip

    def _go_on(self, topic: str, partition: int, offset: int) -> None:
        self._next[topic, partition] = offset
        self._stands_since.pop((topic, partition), None)
        try:
            self.seek(TopicPartition(topic, partition, offset))
        except KafkaException:  # it has stopped at a position that it made up
            self._begin_again({(topic, partition): offset})

    def _begin_again(self, offsets: dict[Place, int]) -> None:
        """Read partitions from there on, in whatever state the library has them."""
        try:
            if self._is_eager:  # then it takes nothing less than a whole assignment
                positions = self._positions()
                now = positions | {place: at for place, at in offsets.items() if place in positions}
                super().assign([TopicPartition(*place, offset) for place, offset in now.items()])
                return
            places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
            self.incremental_unassign(places)
            self.assignment()  # its answer comes behind the partitions' end, which leads their queues away
            for topic, partition in offsets:
                if (lead := self.leads.get(topic)) is not None:
                    lead(topic, [partition])
            super().incremental_assign(places)
        except KafkaException as error:  # they went to another reader meanwhile
            get_logger().warning("begin_again_refused", partitions=sorted(offsets), error=str(error))

    # --- what fails without a word ---

    def _watch(self) -> None:
        """Look at partitions that stand still, though the broker has more of them."""
        now = time.monotonic()
        if self._look is not None and self._look[2].done():
            self._take_look(*self._look)
        if now < self._watch_at:
            return
        self._watch_at = now + _WATCH_EVERY_S
        remind_of_brokers(self, self._config["bootstrap.servers"])
        stands: dict[Place, tuple[int, float]] = {}
        for place, at in self._positions().items():
            offset, since = self._stands_since.get(place, (at, now))
            stands[place] = (at, now) if offset != at else (offset, since)
        self._stands_since = stands
        for place, (at, since) in stands.items():
            if now - since < _SILENT_S:
                continue
            end = self._end_of(place)
            if self._look is None and not 0 <= end <= max(at, 0) and now >= self._look_again_at(place, at, end):
                self._look_at(place, at, end)

    def _positions(self) -> dict[Place, int]:
        """The next offset of each partition; empty where nothing is assigned, or while it closes."""
        try:
            begins = {(tp.topic, tp.partition): tp.offset for tp in self.assignment()}
        except (KafkaException, RuntimeError):
            return {}
        return {place: self._next.get(place, offset) for place, offset in begins.items()}

    def _look_again_at(self, place: Place, at: int, end: int) -> float:
        """When it may be looked at: at once where it was not before; ever more seldom while its end does not move."""
        offset, end_then, looked_at, pause = self._looked.get(place, (-1, -1, 0.0, 0.0))
        return 0.0 if at != offset else looked_at + (pause if end == end_then else _LOOKED_S)

    def _end_of(self, place: Place) -> int:
        """The partition's end as the last answer had it; -1: not known."""
        try:
            known = self.get_watermark_offsets(TopicPartition(*place), cached=True)
        except KafkaException:
            return -1
        return -1 if known is None else known[1]

    def _look_at(self, place: Place, at: int, end: int) -> None:
        """Begin to look at what stands between a position and the end: the mark of a transaction, most of the time. A
        broker that hangs lets it wait for long, and the reader goes on."""
        offset, end_then, _, pause = self._looked.get(place, (-1, -1, 0.0, 0.0))
        pause = min(2 * pause, _LOOKED_S_MOST) if (at, end) == (offset, end_then) else _LOOKED_S
        self._looked[place] = at, end, time.monotonic(), pause
        self._look = place, at, in_background(lambda: find_silent(self._config, *place, at), "look")

    def _take_look(self, place: Place, at: int, look: "Future[list[Unreadable]]") -> None:
        """Step over what was found, if the partition stands there still."""
        self._look = None
        try:
            found = look.result()
            if found and self._positions().get(place) == at:
                self._note(found)
                self._go_on(*place, found[-1].last + 1)
        except Retryable as error:
            get_logger().info("partition_stands_still", topic=place[0], partition=place[1], error=str(error))
