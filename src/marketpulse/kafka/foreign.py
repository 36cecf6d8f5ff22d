"""The reading end of a topic that others write: all partitions, by hand-kept offsets, committed rows only."""

import time
from collections.abc import Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.topic_admin import create_topic
from marketpulse.ports import ForeignRecords
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_CALL_S = 10.0
_FETCH_MS = 20
_LOOK_S = 30.0  # how often new partitions are looked for
_RECORDS_MAX = 10_000


class KafkaForeignTopic:
    """One topic, named as it is (no prefix). Offsets are the caller's business: nothing is committed.

    All methods are called from one thread. They raise Retryable while the broker is away or the topic
    is missing, Fatal when it may not be read, was deleted while it was read, or when an offset that was
    asked for is gone.
    """

    def __init__(
        self, settings: Settings, topic: str, bootstrap_servers: str | None = None, *, create: bool = False
    ) -> None:
        """`bootstrap_servers`: the topic's cluster, where it is another than ours; `create`: create the topic if it is missing."""
        elsewhere = {} if bootstrap_servers is None else {"bootstrap_servers": bootstrap_servers}
        self.created = ""
        self._settings, self._bootstrap_servers, self._create = settings, bootstrap_servers, create
        self._topic = topic
        self._consumer = LogConsumer(
            settings,
            client_config(
                settings, "consumer", group_id="marketpulse-foreign", isolation_level="read_committed",
                auto_offset_reset="error", enable_partition_eof=True, fetch_wait_max_ms=_FETCH_MS,
                **elsewhere,
            )
        )  # fmt: skip
        self._assigned: set[int] = set()
        self._at_end: set[int] = set()
        self._looked_at = float("-inf")
        self._fault: KafkaError | None = None

    def seek(self, offsets: dict[int, int]) -> None:
        """Go on at these offsets; a partition that is not named starts at its beginning.

        With offsets the topic is not created: they belong to the one that was there.
        """
        partitions = self._partitions() or (self._created_partitions() if self._create and not offsets else [])
        if not partitions:
            raise Retryable(self._why_missing(offsets))
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
        """The numbers of the topic's partitions; none: it does not exist."""
        self._looked_at = time.monotonic()
        try:
            found = self._consumer.list_topics(self._topic, timeout=_CALL_S).topics[self._topic]
        except KafkaException as error:
            raise error_of(error) from None
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return []
            raise error_of(found.error)
        return sorted(found.partitions)

    def _created_partitions(self) -> list[int]:
        """Create the topic, and say so. What the cluster refuses may be done by someone else: Retryable."""
        try:
            new = create_topic(self._settings, self._topic, bootstrap_servers=self._bootstrap_servers)
        except ParameterError:
            raise
        except Fatal as error:
            if existing := self._partitions():  # somebody else was quicker
                return existing
            raise Retryable(f"the topic {self._topic} does not exist; {error}") from None
        self.created = f"created the topic {new.name} ({new.partitions} partitions, replication {new.replication})"
        get_logger().warning("topic_created", topic=new.name, partitions=new.partitions, replication=new.replication)
        return list(range(new.partitions))

    def _deleted(self) -> Fatal:
        return Fatal(f"the topic {self._topic} was deleted while it was read: start again to wait for a new one")

    def _why_missing(self, offsets: dict[int, int]) -> str:
        if offsets:
            return (
                f"the topic {self._topic} does not exist any more, and rows of it were read: once it is there again, "
                "feed it in from its beginning with --again"
            )
        return (
            f"the topic {self._topic} does not exist: check its name (KAFKA_TOPIC) and the cluster, or create it with "
            f"`marketpulse topics create {self._topic}` or --create"
        )

    def _take_new_partitions(self) -> None:
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        try:
            partitions = self._partitions()
        except Retryable:
            return  # reading goes on with what is known; the next look comes
        if not partitions:  # the client only asks again and again, and would never say it
            raise self._deleted()
        if new := [p for p in partitions if p not in self._assigned]:
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
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            raise self._deleted()
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Fatal(
                f"the topic {self._topic} no longer holds the offset where we stopped ({error.str()}): "
                "feed it in again from its beginning with --again"
            )
        raise error_of(error)
