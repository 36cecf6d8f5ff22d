"""Reading a topic that others write, on the real broker."""

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from bare_clients import BareTopic, bare_producer, transaction
from marketpulse.errors import Fatal
from marketpulse.kafka import foreign
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.ports import ForeignRecords
from marketpulse.settings import Settings
from waiting import wait_until

pytestmark = pytest.mark.integration

T0_MS = 1_700_000_000_000


@pytest.fixture
def topic(broker: EmbeddedBroker) -> Iterator[str]:
    """A foreign topic with two partitions."""
    foreign_topic = BareTopic(broker.bootstrap, f"foreign-{uuid.uuid4().hex[:8]}")
    foreign_topic.make(2)
    yield foreign_topic.name
    foreign_topic.delete()


@pytest.fixture
def settings(broker: EmbeddedBroker, topic: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"), kafka={"bootstrap_servers": broker.bootstrap, "topic_prefix": "ours-"}
    )


def write(settings: Settings, topic: str, partition: int, values: list[bytes]) -> None:
    BareTopic(settings.kafka.bootstrap_servers, topic).write(values, partition, timestamp_ms=T0_MS)


@pytest.fixture
def reader(settings: Settings, topic: str) -> Iterator[KafkaForeignTopic]:
    reader = KafkaForeignTopic(settings, topic)
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


def next_of(reader: KafkaForeignTopic) -> list[ForeignRecords]:
    return wait_until(lambda: list(reader.poll(0.5)), "more records")


def test_all_partitions_are_read_from_the_beginning_in_order(
    settings: Settings, topic: str, reader: KafkaForeignTopic
) -> None:
    write(settings, topic, 0, [b"a", b"b"])
    write(settings, topic, 1, [b"c"])
    reader.seek({})
    assert not reader.at_end()
    assert drain(reader) == {0: [(0, b"a"), (1, b"b")], 1: [(0, b"c")]}
    write(settings, topic, 1, [b"d"])
    found = next_of(reader)
    assert [(r.topic, r.partition, list(r.offsets), list(r.values)) for r in found] == [(topic, 1, [1], [b"d"])]


def test_reading_goes_on_at_the_offsets_that_were_kept(
    settings: Settings, topic: str, reader: KafkaForeignTopic
) -> None:
    write(settings, topic, 0, [b"a", b"b", b"c"])
    write(settings, topic, 1, [b"d"])
    reader.seek({0: 2})
    assert drain(reader) == {0: [(2, b"c")], 1: [(0, b"d")]}


def test_rows_of_an_open_or_aborted_transaction_are_not_read(
    settings: Settings, topic: str, reader: KafkaForeignTopic
) -> None:
    producer = bare_producer(settings.kafka.bootstrap_servers, f"t-{uuid.uuid4().hex}")
    for value, keep in ((b"no", False), (b"yes", True)):
        with transaction(producer, keep=keep):
            producer.produce(topic, value, partition=0, timestamp=T0_MS)
    assert [value for _, value in drain(reader)[0]] == [b"yes"]


def test_a_new_partition_is_noticed(
    settings: Settings, topic: str, reader: KafkaForeignTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, topic, 0, [b"a"])
    assert drain(reader) == {0: [(0, b"a")]}
    admin = AdminClient({"bootstrap.servers": str(settings.kafka.bootstrap_servers)})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(10)
    write(settings, topic, 2, [b"new"])
    monkeypatch.setattr(foreign, "_LOOK_S", 0.2)
    assert [(r.partition, list(r.values)) for r in next_of(reader)] == [(2, [b"new"])]


def test_a_topic_that_does_not_exist_is_said(settings: Settings) -> None:
    reader = KafkaForeignTopic(settings, "no-such-topic")
    with pytest.raises(Fatal, match=r"no-such-topic does not exist: check its name \(KAFKA_TOPIC\)"):
        reader.poll(0.1)
    reader.close()


def test_an_offset_that_is_gone_stops_instead_of_skipping(
    settings: Settings, topic: str, reader: KafkaForeignTopic
) -> None:
    write(settings, topic, 0, [b"a"])
    reader.seek({0: 17})
    with pytest.raises(Fatal, match="no longer holds the offset where we stopped"):
        wait_until(lambda: bool(list(reader.poll(0.2)) and False))
