"""The reading end for who watches the log itself: its newest hours, then what comes, batch by batch, of several topics.

It joins no group, commits nothing and reads committed records only. All methods are called from one thread.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import KafkaException, TopicPartition

from marketpulse.errors import Retryable
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.record_queue import RecordQueue
from marketpulse.kafka.records import Records
from marketpulse.model.market import Ints, MarketBatch
from marketpulse.settings import Settings
from marketpulse.telemetry import RECORDS_CONSUMED

_CALL_S = 10.0
_RECORDS_MOST, _BYTES_MOST = 10_000, 2_000_000  # at once, of a topic: more would be memory that stays
_LOOK_AGAIN_S = 30.0
_NOTHING_MORE_S = 2.0

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class HeardRows:
    """Rows of one partition of a topic of market data. appended_ns: (n,) when the log had each."""

    batch: MarketBatch
    appended_ns: Ints


@dataclass(frozen=True, slots=True)
class HeardLetter:
    """A record of `dead-letters`."""

    value: bytes
    appended_ns: int


class LogFollower:
    """Follows those of `topics` (contract names) that exist, from `since_ms` on, but from no more than `most` records
    back. Rows are told of all of them but `dead-letters`, whose records are.

    Raises Retryable while the broker is away, or has none of the topics.
    """

    def __init__(self, settings: Settings, topics: Sequence[str], since_ms: int, most: int) -> None:
        self._wanted = {settings.topic(name): name for name in topics}
        self._letters = settings.topic("dead-letters")
        self._decoder = MarketDecoder()
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id="marketpulse-watch", isolation_level="read_committed",
                auto_offset_reset="earliest", queued_max_messages_kbytes=4_096,
            )
        )  # fmt: skip
        self._queues: dict[str, RecordQueue] = {}
        try:
            self._partitions = self._known()
            self._begin(since_ms, most)
        except KafkaException as error:
            self.close()
            raise error_of(error) from None
        except Retryable:
            self.close()
            raise
        self._look_again_at = time.monotonic() + _LOOK_AGAIN_S

    def take(self, timeout_s: float) -> Iterator[HeardRows | HeardLetter]:
        """What has come, each partition in order: waits `timeout_s` for it at most."""
        beside = self._consumer.poll(0)
        if beside is not None and (error := beside.error()) is not None:
            raise error_of(error)
        for number, (topic, queue) in enumerate(self._queues.items()):
            for records in queue.take(timeout_s if number == 0 else 0, _RECORDS_MOST, _BYTES_MOST):
                self._at[topic, records.partition] = int(records.offsets[-1]) + 1
                RECORDS_CONSUMED.labels(self._wanted[topic]).inc(len(records))
                yield from self._told(topic, records)

    def moved(self) -> bool:
        """Whether there are other topics or partitions than those that it follows; asks now and then. Begin anew then."""
        if time.monotonic() < self._look_again_at:
            return False
        self._look_again_at = time.monotonic() + _LOOK_AGAIN_S
        try:
            return self._known() != self._partitions
        except (KafkaException, Retryable):
            return False  # taking says what is wrong

    def to_the_end(self) -> Iterator[HeardRows | HeardLetter]:
        """What stands in the log now, and some of what comes meanwhile."""
        heard_at = dict.fromkeys(self._ends, time.monotonic())
        while waiting := [p for p, end in self._ends.items() if self._at[p] < end]:
            before = dict(self._at)
            yield from self.take(0.1)
            now = time.monotonic()
            heard_at |= {place: now for place, at in self._at.items() if at != before[place]}
            # The last records of a partition may be the marks of transactions, which nobody is given.
            if now - max(heard_at[place] for place in waiting) > _NOTHING_MORE_S:
                return

    def close(self) -> None:
        for queue in self._queues.values():
            queue.close()
        self._consumer.close()

    def _told(self, topic: str, records: Records) -> Iterator[HeardRows | HeardLetter]:
        if topic == self._letters:
            for i in range(len(records)):
                if (value := records.value(i)) is not None:
                    yield HeardLetter(value, int(records.appended_ms[i]) * 1_000_000)
            return
        batch, _ = self._decoder.decode(topic, records)
        appended_ms = records.appended_ms[np.searchsorted(records.offsets, batch.offset)]
        yield HeardRows(batch, appended_ms * 1_000_000)

    def _known(self) -> dict[str, int]:
        """The partitions of the topics that exist."""
        topics = self._consumer.list_topics(timeout=_CALL_S).topics
        found = {name: len(topics[name].partitions) for name in self._wanted if name in topics}
        if not found:
            raise Retryable(f"none of the topics {', '.join(self._wanted)} exists yet")
        return found

    def _begin(self, since_ms: int, most: int) -> None:
        places = [TopicPartition(t, p, since_ms) for t, n in self._partitions.items() for p in range(n)]
        self._at: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        for asked in self._consumer.offsets_for_times(places, timeout=_CALL_S):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(asked.topic, asked.partition), timeout=_CALL_S
            )
            place = asked.topic, asked.partition
            since = asked.offset if asked.offset >= 0 else high
            self._at[place] = max(low, since, high - most // self._partitions[asked.topic])
            self._ends[place] = high
        for topic, count in self._partitions.items():
            self._queues[topic] = RecordQueue(self._consumer)
            self._queues[topic].lead_here(topic, range(count))
        self._consumer.assign([TopicPartition(t, p, at) for (t, p), at in self._at.items()])
