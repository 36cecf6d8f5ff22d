"""Reading a topic that others write, on the real broker."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from bare_clients import BareTopic, bare_producer, transaction
from marketpulse.errors import Fatal
from marketpulse.kafka import foreign
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.settings import Settings
from waiting import wait_until

T0_MS = 1_700_000_000_000


@pytest.fixture
def topic(broker: EmbeddedBroker) -> Iterator[BareTopic]:
    """A foreign topic with two partitions."""
    topic = BareTopic(broker.bootstrap, f"foreign-{uuid.uuid4().hex[:8]}")
    topic.make(2)
    yield topic
    topic.delete()


@pytest.fixture
def settings(broker: EmbeddedBroker, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka={"bootstrap_servers": broker.bootstrap, "topic_prefix": "ours-"})


@pytest.fixture
def reader(settings: Settings, topic: BareTopic) -> Iterator[KafkaForeignTopic]:
    reader = KafkaForeignTopic(settings, topic.name)
    yield reader
    reader.close()


def drain(reader: KafkaForeignTopic) -> dict[int, list[tuple[int, bytes | None]]]:
    """Everything up to the end, by partition."""
    found: dict[int, list[tuple[int, bytes | None]]] = {}

    def at_end() -> bool:
        for records in () if reader.at_end() else reader.poll(0.1):
            assert set(records.timestamps_ms) == {T0_MS}
            found.setdefault(records.partition, []).extend(zip(records.offsets, records.values, strict=True))
        return reader.at_end()

    wait_until(at_end)
    return found


def next_of(reader: KafkaForeignTopic) -> list[tuple[Any, ...]]:
    found = wait_until(lambda: list(reader.poll(0.5)), "more records")
    return [(r.topic, r.partition, list(r.offsets), list(r.values)) for r in found]


def test_all_partitions_are_read_from_the_beginning_in_order_and_a_new_one_is_noticed(
    topic: BareTopic, reader: KafkaForeignTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.write([b"a", b"b"], 0, timestamp_ms=T0_MS)
    topic.write([b"c"], 1, timestamp_ms=T0_MS)
    reader.seek({})
    assert not reader.at_end()
    assert drain(reader) == {0: [(0, b"a"), (1, b"b")], 1: [(0, b"c")]}
    topic.write([b"d"], 1)
    assert next_of(reader) == [(topic.name, 1, [1], [b"d"])]
    admin = AdminClient({"bootstrap.servers": str(topic.bootstrap)})
    admin.create_partitions([NewPartitions(topic.name, 3)])[topic.name].result(10)
    topic.write([b"new"], 2)
    monkeypatch.setattr(foreign, "_LOOK_S", 0.2)
    assert next_of(reader) == [(topic.name, 2, [0], [b"new"])]


def test_reading_goes_on_at_the_kept_offsets_without_rows_of_an_aborted_transaction(
    topic: BareTopic, reader: KafkaForeignTopic
) -> None:
    topic.write([b"a", b"b", b"c"], 0, timestamp_ms=T0_MS)
    topic.write([b"d"], 1, timestamp_ms=T0_MS)
    reader.seek({0: 2})
    assert drain(reader) == {0: [(2, b"c")], 1: [(0, b"d")]}
    producer = bare_producer(topic.bootstrap, f"t-{uuid.uuid4().hex}")
    for value, keep in ((b"no", False), (b"yes", True)):
        with transaction(producer, keep=keep):
            producer.produce(topic.name, value, partition=0, timestamp=T0_MS)
    assert next_of(reader) == [(topic.name, 0, [5], [b"yes"])]


def test_a_topic_that_does_not_exist_is_said(settings: Settings) -> None:
    reader = KafkaForeignTopic(settings, "no-such-topic")
    with pytest.raises(Fatal, match=r"no-such-topic does not exist: check its name \(KAFKA_TOPIC\)"):
        reader.poll(0.1)
    reader.close()


def test_an_offset_that_is_gone_stops_instead_of_skipping(topic: BareTopic, reader: KafkaForeignTopic) -> None:
    topic.write([b"a"])
    reader.seek({0: 17})
    with pytest.raises(Fatal, match="no longer holds the offset where we stopped"):
        wait_until(lambda: bool(list(reader.poll(0.2)) and False))
