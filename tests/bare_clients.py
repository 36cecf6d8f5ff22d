"""Bare Kafka clients, and topics of their own: nothing of ours stands between a test and the log."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.topics import ensure_topics, topic_specs
from marketpulse.settings import Settings

Value = bytes | Mapping[str, Any]
"""A record's value: bytes as they are, or an object that becomes JSON."""


def as_bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@dataclass(frozen=True)
class Record:
    """One committed record."""

    partition: int
    offset: int
    value: bytes
    headers: Mapping[str, bytes]

    @classmethod
    def of(cls, message: Message) -> "Record":
        place = (message.partition() or 0, message.offset() or 0)
        return cls(*place, message.value() or b"", dict(message.headers() or ()))  # type: ignore[arg-type]

    @cached_property
    def row(self) -> dict[str, Any]:
        """The value's JSON object."""
        return dict(json.loads(self.value))


@dataclass(frozen=True)
class BareTopic:
    """A topic by its full name."""

    bootstrap: str | None
    name: str

    @classmethod
    def of(cls, settings: Settings, contract_name: str = "market") -> "BareTopic":
        """One of our topics, with the prefix that the test's settings give it."""
        return cls(settings.kafka.bootstrap_servers, settings.topic(contract_name))

    def make(self, partitions: int, **config: str) -> None:
        admin = AdminClient({"bootstrap.servers": str(self.bootstrap)})
        admin.create_topics([NewTopic(self.name, partitions, 1, config=config)])[self.name].result(10)

    def delete(self) -> None:
        admin = AdminClient({"bootstrap.servers": str(self.bootstrap)})  # must outlive its answer
        admin.delete_topics([self.name])[self.name].result(10)

    def write(self, values: Iterable[Value], partition: int = 0, *, timestamp_ms: int = 0) -> None:
        """All values into one partition, outside transactions; they are there when this returns."""
        producer = bare_producer(self.bootstrap)
        for value in values:
            producer.produce(self.name, as_bytes(value), partition=partition, timestamp=timestamp_ms)
        assert producer.flush(20) == 0

    def committed(self) -> list[Record]:
        """Every committed record up to the end, partition after partition."""
        return [Record.of(message) for messages in self.messages().values() for message in messages]

    def messages(self) -> dict[int, list[Message]]:
        """Every committed record up to the end, by partition and in order, as the client hands it over."""
        return self._read_to_the_end()[0]

    def ends(self) -> dict[int, int]:
        """Where each partition ends for readers of committed records, marks of transactions included."""
        return self._read_to_the_end()[1]

    def end(self, partition: int) -> int:
        """Where a partition ends, whatever stands in it."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bare-reader"})
        _, high = consumer.get_watermark_offsets(TopicPartition(self.name, partition), timeout=10)
        consumer.close()
        return int(high)

    def wait_for(self, wanted: int, timeout_s: float = 40, *, quiet_s: float = 0.6) -> list[Record]:
        """At least `wanted` committed records and whatever follows until it is quiet, or what came in time."""
        consumer, _ = self._reader()
        found: list[Record] = []
        now = time.monotonic()
        deadline, heard = now + timeout_s, now
        while now < deadline and (len(found) < wanted or now - heard < quiet_s):
            message = consumer.poll(0.2)
            now = time.monotonic()
            if message is None:
                continue
            heard = now
            if (error := message.error()) is None:
                found.append(Record.of(message))
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error.str()
        consumer.close()
        return sorted(found, key=_place)

    def follow(self) -> Callable[[], list[Record]]:
        """Give the committed records that have come so far, each time it is called: what came before is not read again."""
        consumer, _ = self._reader()
        records: list[Record] = []

        def read_on() -> list[Record]:
            while messages := consumer.consume(10_000, 0.05):
                records.extend(Record.of(message) for message in messages if message.error() is None)
            return records

        return read_on

    def _read_to_the_end(self) -> tuple[dict[int, list[Message]], dict[int, int]]:
        consumer, partitions = self._reader()
        found: dict[int, list[Message]] = {p: [] for p in sorted(partitions)}
        ends: dict[int, int] = {}
        while len(ends) < len(partitions):
            message = consumer.poll(10)
            assert message is not None, "the topic's end did not come"
            if (error := message.error()) is None:
                found[message.partition() or 0].append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error.str()
                ends[message.partition() or 0] = message.offset() or 0
        consumer.close()
        return found, ends

    def _reader(self) -> tuple[Consumer, list[int]]:
        """A reader of committed records at the beginning of all partitions, and which these are."""
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "bare-reader", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "log_level": 0,
            "fetch.wait.max.ms": 50,  # or a log that grows several times a second would have no end
        })  # fmt: skip
        partitions = list(consumer.list_topics(self.name, timeout=10).topics[self.name].partitions)
        consumer.assign([TopicPartition(self.name, p, OFFSET_BEGINNING) for p in partitions])
        return consumer, partitions


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The JSON objects of records, in their order."""
    return [record.row for record in records]


def bare_producer(bootstrap: str | None, transactional_id: str | None = None) -> Producer:
    """Keys go where Java clients put them. With an id it is ready for transactions."""
    config = {} if transactional_id is None else {"transactional.id": transactional_id}
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0, **config})
    if transactional_id is not None:
        producer.init_transactions(30)
    return producer


@contextmanager
def transaction(producer: Producer, *, keep: bool = True) -> Iterator[None]:
    """What is produced inside is committed, or reaches the broker and is taken back."""
    producer.begin_transaction()
    yield
    if keep:
        producer.commit_transaction(30)
    else:
        assert producer.flush(10) == 0
        producer.abort_transaction(30)


def _place(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


@contextmanager
def own_topics(broker: EmbeddedBroker, broker_cache: Path, data_dir: Path) -> Iterator[Settings]:
    """Settings with the contract's topics (4 partitions) under a prefix that nobody else has; deleted afterwards."""
    kafka = {"bootstrap_servers": broker.bootstrap, "topic_prefix": f"t{uuid.uuid4().hex[:8]}-", "partitions": 4}
    settings = Settings(data_dir=data_dir, cache_dir=broker_cache, kafka=kafka)
    ensure_topics(settings)
    yield settings
    if broker.alive():
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})  # must outlive its answers
        for done in admin.delete_topics([spec.name for spec in topic_specs(settings)]).values():
            done.exception(10)
