"""The reading end of a topic that others write: all partitions, by hand-kept offsets, committed rows only."""

import time
from collections.abc import Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client import client_config, error_of
from marketpulse.ports import ForeignRecords
from marketpulse.settings import Settings

_CALL_S = 10.0
_LOOK_S = 30.0  # how often new partitions are looked for
_RECORDS_MAX = 10_000


class KafkaForeignTopic:
    """One topic, named as it is (no prefix). Offsets are the caller's business: nothing is committed.

    All methods are called from one thread. They raise Retryable while the broker is away, Fatal when
    the topic does not exist or may not be read, or when an offset that was asked for is gone.
    """

    def __init__(self, settings: Settings, topic: str, bootstrap_servers: str | None = None) -> None:
        """`bootstrap_servers`: the topic's cluster, where it is another than ours."""
        elsewhere = {} if bootstrap_servers is None else {"bootstrap_servers": bootstrap_servers}
        self._topic = topic
        self._consumer = Consumer(
            client_config(
                settings, "consumer", group_id="marketpulse-foreign", isolation_level="read_committed",
                auto_offset_reset="error", enable_partition_eof=True, **elsewhere,
            )
        )  # fmt: skip
        self._assigned: set[int] = set()
        self._at_end: set[int] = set()
        self._looked_at = float("-inf")
        self._fault: KafkaError | None = None

    def seek(self, offsets: dict[int, int]) -> None:
        """Go on at these offsets; a partition that is not named starts at its beginning."""
        partitions = self._partitions()
        if gone := sorted(set(offsets) - set(partitions)):
            raise Fatal(f"the topic {self._topic} has no partition {gone[0]} any more: was it made anew?")
        self._at_end.clear()
        self._assigned = set(partitions)
        places = [TopicPartition(self._topic, p, offsets.get(p, OFFSET_BEGINNING)) for p in partitions]
        try:
            self._consumer.assign(places)
        except KafkaException as error:
            raise error_of(error) from None

    def poll(self, timeout_s: float) -> Sequence[ForeignRecords]:
        """What has come, by partition in order: waits for a first record at most `timeout_s`, then drains."""
        if not self._assigned:
            self.seek({})
        self._raise_fault()
        self._take_new_partitions()
        deadline = time.monotonic() + timeout_s
        while True:
            first = self._consumer.poll(max(0.0, deadline - time.monotonic()))
            if first is None:
                return []
            # Ends of partitions come as messages too; they are no reason to return.
            if found := self._grouped([first, *self._consumer.consume(_RECORDS_MAX - 1, 0)]):
                return found

    def at_end(self) -> bool:
        """Whether every partition has been polled to the end that it had then (0 partitions: no)."""
        return bool(self._assigned) and self._at_end >= self._assigned

    def close(self) -> None:
        self._consumer.close()

    def _partitions(self) -> list[int]:
        self._looked_at = time.monotonic()
        try:
            found = self._consumer.list_topics(self._topic, timeout=_CALL_S).topics[self._topic]
        except KafkaException as error:
            raise error_of(error) from None
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Fatal(f"the topic {self._topic} does not exist: check its name (KAFKA_TOPIC) and the cluster")
            raise error_of(found.error)
        return sorted(found.partitions)

    def _take_new_partitions(self) -> None:
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        try:
            new = [p for p in self._partitions() if p not in self._assigned]
        except Retryable:
            return  # reading goes on with what is known; the next look comes
        if new:
            self._consumer.incremental_assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in new])
            self._assigned |= set(new)

    def _grouped(self, messages: list[Message]) -> list[ForeignRecords]:
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            error, partition = message.error(), cast(int, message.partition())
            if error is None:
                by_partition.setdefault(partition, []).append(message)
                self._at_end.discard(partition)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end.add(partition)
            else:
                self._fault = error  # said once by the client, so it is kept until it is raised
        if not by_partition:
            self._raise_fault()
        return [
            ForeignRecords(
                self._topic, partition, [cast(int, m.offset()) for m in run], [m.timestamp()[1] for m in run],
                [m.value() for m in run],
            )
            for partition, run in sorted(by_partition.items())
        ]  # fmt: skip

    def _raise_fault(self) -> None:
        error, self._fault = self._fault, None
        if error is None:
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Fatal(
                f"the topic {self._topic} no longer holds the offset where we stopped ({error.str()}): "
                "feed it in again from its beginning with --again"
            )
        raise error_of(error)
