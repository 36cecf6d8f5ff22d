"""What of a partition cannot be read, to the offset: found by a client of its own that looks at one batch at a time.

The library says where an unreadable batch begins and not where it ends, so the end is searched for: an offset inside
the batch brings the same base offset again, one behind it a record, another batch or the end of the partition. Of a batch
that the library says nothing about even the base is not known, and the next such batch looks the same: its offsets are
looked at one by one, the first 256, so that what can be read between two of them is not stepped over with them.
"""

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Retryable
from marketpulse.kafka.client import error_of
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.model.market import ABSENT, REASONS, DeadLetter

_OF_BATCHES = (KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG, KafkaError._NOT_IMPLEMENTED)
UNREADABLE = frozenset({*_OF_BATCHES, KafkaError._UNDERFLOW, KafkaError.INVALID_MSG, KafkaError.MSG_SIZE_TOO_LARGE})
"""Codes of the library and of the broker that say of a batch that it cannot be read, now or ever."""

_LARGEST_ANSWER_BYTES = 128 * 1024 * 1024  # a broker takes requests of 100 MiB
_POLL_S = 0.05
_ANSWERS = 5  # that bring nothing and move nothing: it is not the broker or the machine that is slow
_STATISTICS_MS = 20
_ONE_BY_ONE = 256
_CALL_S = 10.0
_TOGETHER, _TOGETHER_S = 1_000, 5.0  # of batches that follow each other
_SIZE = re.compile(r"of (\d+) bytes|\((\d+) bytes\)")
_HEADS = {KafkaError._BAD_COMPRESSION: 61, KafkaError._NOT_IMPLEMENTED: 61, KafkaError._BAD_MSG: 12}
"""Bytes of a batch that the size in the library's sentence leaves out."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The offsets [first, last] of a partition, which no reader can use. `size`: bytes of the batch or record; -1: unknown."""

    topic: str
    partition: int
    first: int
    last: int
    size: int
    reason: str
    why: str

    def dead_letter(self) -> DeadLetter:
        """The letter that stands for it; the content itself is left in the topic."""
        offsets = f"offset {self.first}" if self.first == self.last else f"offsets {self.first} to {self.last}"
        size = f", {self.size:,} bytes" if self.size >= 0 else ""
        value = {"first_offset": self.first, "last_offset": self.last, "bytes": self.size if self.size >= 0 else None}
        return DeadLetter(
            self.reason, f"{REASONS[self.reason]} ({offsets}{size}): {self.why}", self.topic, self.partition, self.first,
            ABSENT, None, orjson.dumps(value),
        )  # fmt: skip


def too_large(topic: str, partition: int, offset: int, size: int) -> Unreadable:
    why = f"a record of {size:,} bytes; none of ours has more than {MESSAGE_BYTES_MAX:,}"
    return Unreadable(topic, partition, offset, offset, size, "too_large", why)


def find_unreadable(config: dict[str, Any], topic: str, partition: int, offset: int) -> list[Unreadable]:
    """What cannot be read from `offset` on, batch by batch as long as they follow each other; [] where it can be now.

    `config`: of the reader that met it. Raises Retryable while the broker is away.
    """
    with _Probe(config, topic, partition) as probe:
        return probe.unreadable_from(offset)


def find_silent(config: dict[str, Any], topic: str, partition: int, offset: int) -> list[Unreadable]:
    """The same where a reader gets neither a record nor an error; an answer may be larger than a reader takes."""
    with _Probe({**config, "receive.message.max.bytes": _LARGEST_ANSWER_BYTES}, topic, partition) as probe:
        if offset < 0:
            offset = probe.begin() if offset == OFFSET_BEGINNING else probe.end()
        look = probe.look(offset)
        if look.is_readable:
            return [too_large(topic, partition, look.offset, look.size)] if look.size > MESSAGE_BYTES_MAX else []
        return probe.unreadable_from(offset)


@dataclass(frozen=True, slots=True)
class _Look:
    """What stands at an offset: a record or the end (`offset` is where), or a batch that cannot be read and begins at
    `offset` (-1: not known)."""

    is_readable: bool
    offset: int
    size: int
    why: str = ""

    def is_like(self, base: int) -> bool:
        """Whether it is of an unreadable batch with this base offset, as far as the library tells."""
        return not self.is_readable and self.offset == base


class _Probe:
    """Reads one partition batch by batch, uncommitted rows too."""

    def __init__(self, config: dict[str, Any], topic: str, partition: int) -> None:
        self._topic, self._partition = topic, partition
        self._answers_before: int | None = None
        self._answers, self._next_offset = 0, -1
        plain = {k: v for k, v in config.items() if k != "group.instance.id"}
        self._consumer = Consumer({
            **plain, "isolation.level": "read_uncommitted", "auto.offset.reset": "error", "enable.partition.eof": True,
            "fetch.message.max.bytes": 1, "fetch.min.bytes": 1, "fetch.wait.max.ms": 10, "fetch.error.backoff.ms": 10,
            "statistics.interval.ms": _STATISTICS_MS, "stats_cb": self._count_answers,
        })  # fmt: skip

    def __enter__(self) -> "_Probe":
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the client, and wait for nothing: where an answer says "out of range" while it closes, the library waits
        for itself for ever (rd_kafka_offset_reset, under its own lock)."""
        self._consumer.unassign()
        threading.Thread(target=self._consumer.close, name="close-probe", daemon=True).start()

    def begin(self) -> int:
        return self._span()[0]

    def end(self) -> int:
        return self._span()[1]

    def unreadable_from(self, offset: int) -> list[Unreadable]:
        """Batches that cannot be read and follow each other, from the one that holds `offset` on."""
        found: list[Unreadable] = []
        give_up = time.monotonic() + _TOGETHER_S
        look = self.look(offset)
        while not look.is_readable and len(found) < _TOGETHER:
            first = max(offset, look.offset)
            last, behind = self._end_of(first, look)
            found.append(Unreadable(self._topic, self._partition, first, last, look.size, "unreadable_batch", look.why))
            if time.monotonic() > give_up or behind.offset not in (-1, last + 1):
                break
            offset, look = last + 1, behind
        return found

    def look(self, offset: int) -> _Look:
        """What stands at the offset. Raises Retryable while the broker is away."""
        self._consumer.assign([TopicPartition(self._topic, self._partition, offset)])
        self._answers_before, self._answers, self._next_offset = None, 0, offset
        give_up = time.monotonic() + _CALL_S
        while time.monotonic() < give_up:
            has_answered = self._answers >= _ANSWERS
            message = self._consumer.poll(_POLL_S)  # what those answers brought came before they were counted
            if message is not None:
                if (look := self._look_of(message)) is not None:
                    return look
                # It stopped, at a position that it had made up from the corrupt batch of the look before.
                self._consumer.assign([TopicPartition(self._topic, self._partition, offset)])
                self._answers_before, self._answers = None, 0
            elif has_answered:
                return _Look(False, -1, -1, "the broker has it, and the client library can make nothing of it")
        low, high = self._span()
        if not low <= offset < high:
            return _Look(True, min(max(offset, low), high), 0)
        raise Retryable(f"{self._topic}/{self._partition} brought nothing at {offset} in {_CALL_S:.0f} s")

    def _look_of(self, message: Message) -> _Look | None:
        """None: the position is out of range."""
        error, at = message.error(), cast(int, message.offset())
        if error is None:
            return _Look(True, at, len(message) + len(message.key() or b""))
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return _Look(True, at, 0)
        if code in UNREADABLE:
            return _Look(False, at if code in _OF_BATCHES else -1, _size_of(error), error.str())
        if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            return None
        raise _waiting(error)

    def _count_answers(self, text: str) -> None:
        """How often the broker has answered since the partition stands where it stands."""
        found = json.loads(text)
        answered = sum(broker["rx"] for broker in found["brokers"].values())
        partitions = found["topics"].get(self._topic, {}).get("partitions", {})
        next_offset = partitions.get(str(self._partition), {}).get("next_offset")
        if self._answers_before is None or next_offset != self._next_offset:
            self._answers_before, self._next_offset = answered, next_offset
        self._answers = answered - self._answers_before

    def _end_of(self, first: int, look: _Look) -> tuple[int, _Look]:
        """The last offset of the batch that begins at `first` and gives this look, and what stands behind it."""
        inside, behind = self._last(first, look.offset)
        if look.offset >= 0 and behind.is_like(
            -1
        ):  # the inside of some batches is silent, and so may the next batch be
            return self._last(inside + 1, -1)
        return inside, behind

    def _last(self, inside: int, base: int) -> tuple[int, _Look]:
        """The last of the offsets from `inside` on that look like this, and the look behind it."""
        high, step, one_by_one = self.end(), 1, inside + (_ONE_BY_ONE if base < 0 else 0)
        outside = min(inside + 1, high)
        behind = self.look(outside)
        while behind.is_like(base) and outside < high:  # ever further, then halfway between
            step *= 2 if outside >= one_by_one else 1
            inside, outside = outside, min(outside + step, high)
            behind = self.look(outside)
        while outside - inside > 1:
            middle = (inside + outside) // 2
            look = self.look(middle)
            if look.is_like(base):
                inside = middle
            else:
                outside, behind = middle, look
        return inside, behind

    def _span(self) -> tuple[int, int]:
        try:
            span = self._consumer.get_watermark_offsets(TopicPartition(self._topic, self._partition), timeout=_CALL_S)
        except KafkaException as error:
            raise _waiting(error) from None
        if span is None:
            raise Retryable(f"{self._topic}/{self._partition} did not answer in {_CALL_S:.0f} s")
        return span


def _waiting(error: KafkaError | KafkaException) -> Retryable:
    """Whatever it is, the reader itself is told of it too."""
    return Retryable(str(error_of(error)))


def _size_of(error: KafkaError) -> int:
    match = _SIZE.search(error.str())
    return -1 if match is None else int(match[1] or match[2]) + _HEADS.get(error.code(), 0)
