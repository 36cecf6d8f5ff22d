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
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.kafka.unreadable import UNREADABLE, Unreadable, find_silent, find_unreadable, too_large
from marketpulse.kafka.unreadable_letters import write_dead_letters
from marketpulse.settings import Settings
from marketpulse.telemetry import UNREADABLE_BATCHES, get_logger

_WATCH_EVERY_S = 1.0
_SILENT_S = 2.0  # a partition that stands still for so long is looked at
_LOOKED_S, _LOOKED_S_MOST = 30.0, 3_600.0  # until the next look where nothing was wrong; doubled while nothing moves
_OUTDATED_S = 5.0  # what the library says of a position that it made up from a corrupt batch comes that late

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
        super().__init__(config)
        self._settings, self._config = settings, config
        self._watch_at = time.monotonic() + _WATCH_EVERY_S
        self._stands_since: dict[Place, tuple[int, float]] = {}  # -> (offset, since when)
        self._looked: dict[Place, tuple[int, int, float, float]] = {}  # -> (offset, end, when, pause)
        self._look: tuple[Place, int, Future[list[Unreadable]]] | None = None  # at (partition, offset), under way
        self._sought: dict[Place, tuple[int, float]] = {}  # -> (offset, when)
        self.leads: dict[str, Callable[[str, Iterable[int]], None]] = {}
        """What leads a topic's partitions into another queue, each time before they are assigned (RecordQueue)."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """As the library's."""
        self._sought, self._look = {}, None
        super().assign(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As the library's."""
        for tp in partitions:
            self._sought.pop((tp.topic, tp.partition), None)
        self._look = None
        super().incremental_assign(partitions)

    def poll(self, timeout: float = -1) -> Message | None:
        """As the library's."""
        give_up = time.monotonic() + timeout if timeout >= 0 else math.inf
        while True:
            message = super().poll(max(0.0, min(_WATCH_EVERY_S, give_up - time.monotonic())))
            self._watch()
            if message is None:
                if time.monotonic() >= give_up:
                    return None
            elif kept := self.readable([message]):
                return kept[0]

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """As the library's."""
        messages = super().consume(num_messages, timeout)
        self._watch()
        return self.readable(messages)

    def readable(self, messages: list[Message]) -> list[Message]:
        """Those of the messages that can be read. Of a partition with a fault, those before it; it is read again behind."""
        faults: dict[Place, Fault] = {}
        kept = []
        for message in messages:
            place, error = (cast(str, message.topic()), cast(int, message.partition())), message.error()
            if place in faults or (error is not None and self.is_outdated(place, error.code())):
                continue
            if (fault := Fault.of(message)) is None:
                kept.append(message)
            else:
                faults[place] = fault
        self.step_over(faults.values())
        return kept

    def is_outdated(self, place: Place, code: int) -> bool:
        """Whether an error of this code is about a position that the library made up from a corrupt batch; then the
        partition is begun again where it stood, since it may have stopped."""
        if code not in _OUT_OF_RANGE or place not in self._sought:
            return False
        offset, sought_at = self._sought[place]
        if time.monotonic() - sought_at > _OUTDATED_S:
            return False
        position = self.position([TopicPartition(*place)])[0].offset
        self._begin_again(TopicPartition(*place, position if position >= 0 else offset))
        return True

    def step_over(self, faults: Iterable[Fault]) -> None:
        """Go on behind each of these, of different partitions. One that cannot be seen to now is read again."""
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
        self._sought[topic, partition] = offset, time.monotonic()
        self._stands_since.pop((topic, partition), None)
        place = TopicPartition(topic, partition, offset)
        try:
            self.seek(place)
        except KafkaException:  # it has stopped at a position that it made up
            self._begin_again(place)

    def _begin_again(self, place: TopicPartition) -> None:
        """Read the partition from there on, in whatever state the library has it."""
        try:
            self.incremental_unassign([place])
            self.assignment()  # its answer comes behind the partition's end, which leads its queue away
            if (lead := self.leads.get(place.topic)) is not None:
                lead(place.topic, [place.partition])
            super().incremental_assign([place])
        except KafkaException as error:  # it went to another reader meanwhile
            get_logger().info("begin_again_refused", topic=place.topic, partition=place.partition, error=str(error))

    # --- what fails without a word ---

    def _watch(self) -> None:
        """Look at partitions that stand still, though the broker has more of them."""
        now = time.monotonic()
        if self._look is not None and self._look[2].done():
            self._take_look(*self._look)
        if now < self._watch_at:
            return
        self._watch_at = now + _WATCH_EVERY_S
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
            positions = {(p.topic, p.partition): p.offset for p in self.position([TopicPartition(*p) for p in begins])}
        except (KafkaException, RuntimeError):
            return {}
        sought = {place: offset for place, (offset, _) in self._sought.items() if place in begins}
        return {**begins, **sought, **{place: at for place, at in positions.items() if at >= 0}}

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
        look: Future[list[Unreadable]] = Future()
        self._look = place, at, look
        threading.Thread(target=self._find_silent, args=(place, at, look), name="look", daemon=True).start()

    def _find_silent(self, place: Place, at: int, look: "Future[list[Unreadable]]") -> None:
        try:
            look.set_result(find_silent(self._config, *place, at))
        except Exception as error:  # noqa: BLE001  it is the reader's
            look.set_exception(error)

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
