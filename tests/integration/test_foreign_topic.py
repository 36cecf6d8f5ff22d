"""Reading a topic that others write, on the real broker."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from bare_clients import BareTopic, bare_producer, transaction
from given_settings import changed, command
from marketpulse.app.pipeline import produce
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import foreign
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.settings import KafkaSourceSettings, Settings
from refused import assert_raises
from stored_pipeline import Working
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


def test_reading_goes_on_at_kept_offsets_without_aborted_rows(topic: BareTopic, reader: KafkaForeignTopic) -> None:
    topic.write([b"a", b"b", b"c"], 0, timestamp_ms=T0_MS)
    topic.write([b"d"], 1, timestamp_ms=T0_MS)
    reader.seek({0: 2})
    assert drain(reader) == {0: [(2, b"c")], 1: [(0, b"d")]}
    producer = bare_producer(topic.bootstrap, f"t-{uuid.uuid4().hex}")
    for value, keep in ((b"no", False), (b"yes", True)):
        with transaction(producer, keep=keep):
            producer.produce(topic.name, value, partition=0, timestamp=T0_MS)
    assert next_of(reader) == [(topic.name, 0, [5], [b"yes"])]


@pytest.fixture
def missing(broker: EmbeddedBroker) -> Iterator[BareTopic]:
    """A name without a topic; what a test makes of it is gone afterwards."""
    topic = BareTopic(broker.bootstrap, f"missing-{uuid.uuid4().hex[:8]}")
    yield topic
    if topic.name in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics:
        topic.delete()


def partitions_of(topic: BareTopic) -> int:
    """How many there are; 0: no such topic."""
    topics = AdminClient({"bootstrap.servers": str(topic.bootstrap)}).list_topics(timeout=10).topics
    return len(topics[topic.name].partitions) if topic.name in topics else 0


def test_a_missing_topic_is_waited_for_with_advice_or_made_on_request(settings: Settings, missing: BareTopic) -> None:
    waiting = KafkaForeignTopic(settings, missing.name)
    assert_raises(Retryable, rf"{missing.name} does not exist: .*KAFKA_TOPIC.*--create", waiting.poll, 0.1)
    creating = KafkaForeignTopic(changed(settings, kafka={"partitions": 3}), missing.name, create=True)
    assert_raises(Retryable, "does not exist any more, and rows of it were read", creating.seek, {0: 5})
    assert partitions_of(missing) == 0
    creating.seek({})
    assert (partitions_of(missing), creating.created) == (
        3, f"created the topic {missing.name} (3 partitions, replication 1)",
    )  # fmt: skip
    missing.write([b"a"])
    for reader in (waiting, creating):
        assert next_of(reader) == [(missing.name, 0, [0], [b"a"])]
        reader.close()


def test_a_topic_that_cannot_be_created_is_waited_for_too(settings: Settings, missing: BareTopic) -> None:
    """Somebody else may create it, or a broker come back."""
    reader = KafkaForeignTopic(changed(settings, kafka={"replication_factor": 3}), missing.name, create=True)
    assert_raises(Retryable, rf"{missing.name} does not exist; .*the cluster has 1 broker", reader.seek, {})
    missing.make(1)
    wait_until(lambda: partitions_of(missing))
    reader.seek({})
    reader.close()


def test_a_deletion_meanwhile_is_said(settings: Settings, missing: BareTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    missing.make(1)
    missing.write([b"a"])
    wait_until(lambda: partitions_of(missing))
    reader = KafkaForeignTopic(settings, missing.name)
    assert next_of(reader) == [(missing.name, 0, [0], [b"a"])]
    missing.delete()
    monkeypatch.setattr(foreign, "_LOOK_S", 0.2)
    with pytest.raises(Fatal, match="was deleted while it was read"):
        wait_until(lambda: bool(list(reader.poll(0.2)) and False))
    reader.close()


def quote_of(number: int) -> dict[str, Any]:
    return {"symbol": "A", "price": 1.0 + number, "volume": 1, "timestamp": T0_MS + 1_000 * number}


def test_a_source_on_a_cluster_shows_why_it_waits_and_goes_on_when_its_topic_is_there(
    kafka_settings: Settings, missing: BareTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(produce, "_LONGEST_WAIT_S", 0.2)
    monkeypatch.setattr(produce, "_START_GRACE_S", 0.0)
    source = KafkaSourceSettings(topic=missing.name)
    with Working(kafka_settings, produce.run, source, "late", name="produce-late") as working:
        reason = str(working.facts()["waiting_for"])
        assert f"the topic {missing.name} does not exist" in reason
        assert working.life.health.ready() == (False, reason)
        missing.make(2)
        missing.write([quote_of(i) for i in range(3)])
        wait_until(lambda: "mode" in working.facts())
        assert working.life.health.ready()[0]
        wait_until(lambda: len([r for r in BareTopic.of(kafka_settings).committed() if r.row["type"] == "trade"]) == 3)
        understood = "trades of A: symbol, price, volume, timestamp; change it in [sources.late.mapping]"
        assert working.facts()["note"] == f"reads {understood}"


def test_inspect_shows_what_a_topic_holds_and_commits_nothing(settings: Settings, topic: BareTopic) -> None:
    wait_until(lambda: partitions_of(topic))
    empty = command(settings, "inspect", topic.name)
    assert (empty.returncode, empty.stderr) == (
        1, f"the topic {topic.name} is empty: start what fills it, and look again\n",
    )  # fmt: skip
    topic.write([{"surname": "nobody"}, quote_of(0), b"no JSON"], 0)
    topic.write([{**quote_of(1), "symbol": "B"}], 1)
    done = command(settings, "inspect", topic.name, "--map", "venue=surname")
    first, zone, *lines = done.stdout.splitlines()
    assert (first, zone) == (f"topic {topic.name}: trades of 2 symbols (A, B)", "time zone: the times say it")
    assert [line.split() for line in lines[1:6]] == [
        ["surname", "venue"], ["symbol", "symbol"], ["price", "price"], ["volume", "size"], ["timestamp", "time"],
    ]  # fmt: skip
    assert [line.split(":")[:2] for line in lines if line.startswith(("refused", "  offset"))] == [
        ["refused", " 2 of 4 rows"], ["  offset 0", " missing_field"], ["  offset 2", " not_json"],
    ]  # fmt: skip
    gone = command(settings, "inspect", "no-such-topic")
    assert (gone.returncode, "the topic no-such-topic does not exist" in gone.stderr) == (1, True)


def test_on_our_own_broker_a_source_creates_its_topic_and_says_so(kafka_settings: Settings, missing: BareTopic) -> None:
    run_file = kafka_settings.data_dir / "run" / "broker.json"
    run_file.parent.mkdir(parents=True)
    run_file.write_text(json.dumps({"pid": os.getpid(), "bootstrap_servers": missing.bootstrap}))
    embedded = changed(kafka_settings, kafka={"bootstrap_servers": None})
    source = KafkaSourceSettings(topic=missing.name)
    with Working(embedded, produce.run, source, "mine", name="produce-mine") as working:
        assert working.facts()["note"] == f"created the topic {missing.name} (4 partitions, replication 1)"
        assert partitions_of(missing) == 4


def test_an_offset_that_is_gone_stops_instead_of_skipping(topic: BareTopic, reader: KafkaForeignTopic) -> None:
    topic.write([b"a"])
    reader.seek({0: 17})
    with pytest.raises(Fatal, match="no longer holds the offset where we stopped"):
        wait_until(lambda: bool(list(reader.poll(0.2)) and False))
