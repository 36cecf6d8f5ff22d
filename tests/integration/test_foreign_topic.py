"""Topics on the real broker: one that others write is read; ours are made when missing, never altered; any other is
listed, created, described, deleted."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, ResourceType  # type: ignore[attr-defined]

from bare_clients import BareTopic, bare_producer, transaction
from given_settings import changed, command
from marketpulse.app.pipeline import produce
from marketpulse.errors import EnvironmentProblem, Fatal, Retryable, SettingsError
from marketpulse.kafka import foreign, topic_admin
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.kafka.topics import Difference, ensure_topics, inspect_topics, topic_specs
from marketpulse.settings import KafkaSourceSettings, Settings
from refused import assert_raises
from stored_pipeline import Working
from waiting import wait_until

T0_MS = 1_700_000_000_000


@pytest.fixture
def topic(broker: EmbeddedBroker) -> Iterator[BareTopic]:
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
    assert_raises(Fatal, "was deleted while it was read", wait_until, lambda: bool(list(reader.poll(0.2)) and False))
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
    first, zone, *lines = command(settings, "inspect", topic.name, "--map", "venue=surname").stdout.splitlines()
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


def settings_of(admin: AdminClient, topic: str) -> dict[str, str | None]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(10).items()}


def test_a_topic_that_differs_is_reported_and_left(shared_kafka_settings: Settings, broker: EmbeddedBroker) -> None:
    prefix = f"{shared_kafka_settings.kafka.topic_prefix}other-"
    settings = changed(shared_kafka_settings, kafka={"topic_prefix": prefix})
    market = settings.topic("market")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    theirs = {"retention.ms": "1000000", "message.timestamp.type": "CreateTime"}
    BareTopic.of(settings).make(7, **theirs)
    wait_until(lambda: market in admin.list_topics(timeout=10).topics, "the broker learns of it a moment later")
    missing, seen = inspect_topics(settings)
    assert (len(missing), market in missing) == (7, False)
    differences = ensure_topics(settings)
    assert differences == seen
    assert Difference(market, "partitions", "4", "7") in differences
    assert Difference(market, "message.timestamp.type", "LogAppendTime", "CreateTime") in differences
    assert {d.topic for d in differences} == {market}
    assert settings_of(admin, market)["retention.ms"] == "1000000"
    assert inspect_topics(settings)[0] == []
    for done in admin.delete_topics([spec.name for spec in topic_specs(settings)]).values():
        done.result(10)


def test_every_topic_is_as_declared_goes_only_with_force_and_what_cannot_be_made_says_what_to_do(
    shared_kafka_settings: Settings, broker: EmbeddedBroker
) -> None:
    for kafka, error, said in (
        ({"topic_prefix": "replicas-", "replication_factor": 3}, SettingsError, "the cluster has 1 broker now"),
        ({"bootstrap_servers": "127.0.0.1:9"}, Retryable, "127.0.0.1:9|broker"),
        ({"bootstrap_servers": None}, EnvironmentProblem, "marketpulse up"),
    ):
        patience = {"timeout_s": 0.5} if error is Retryable else {}
        with pytest.raises(error, match=said):
            ensure_topics(changed(shared_kafka_settings, kafka=kafka), **patience)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    there = admin.list_topics(timeout=10).topics
    for spec in topic_specs(shared_kafka_settings):
        assert len(there[spec.name].partitions) == spec.partitions
        wanted = {name: value for name, value in spec.configs.items() if name != "min.cleanable.dirty.ratio"}
        assert settings_of(admin, spec.name).items() >= wanted.items()
    assert inspect_topics(shared_kafka_settings) == ([], [])
    assert ensure_topics(shared_kafka_settings) == []
    settings = changed(
        shared_kafka_settings, kafka={"topic_prefix": f"{shared_kafka_settings.kafka.topic_prefix}gone-"}
    )
    ours = BareTopic.of(settings, "bars")
    ours.make(1)
    assert command(settings, "topics", "delete", ours.name, "--yes").returncode == 2
    assert command(settings, "topics", "delete", ours.name, "--yes", "--force").returncode == 0
    left = AdminClient({"bootstrap.servers": broker.bootstrap})
    wait_until(lambda: ours.name not in left.list_topics(timeout=10).topics, "it is gone")


def test_kafka_sees_a_topic_created_listed_and_deleted(shared_kafka_settings: Settings, missing: BareTopic) -> None:
    settings, name = shared_kafka_settings, missing.name
    admin = AdminClient({"bootstrap.servers": str(missing.bootstrap)})
    made = command(
        settings, *f"topics create {name} --partitions 3 --replication 1 --config retention.ms=60000".split()
    )
    assert (made.returncode, made.stdout) == (0, f"created the topic {name} (3 partitions, replication 1)\n"), (
        made.stderr
    )
    assert len(admin.list_topics(timeout=10).topics[name].partitions) == 3
    assert settings_of(admin, name)["retention.ms"] == "60000"
    missing.write([b"a", b"b"], partition=1)
    leader = next(iter(admin.list_topics(timeout=10).brokers))

    listed = {line.split()[0]: line.split()[1:] for line in command(settings, "topics", "list").stdout.splitlines()[1:]}
    assert listed.keys() == admin.list_topics(timeout=10).topics.keys()
    assert (listed[name], listed[settings.topic("market")]) == (["3", "1", "-"], ["4", "1", "MarketPulse"])

    described = command(settings, "topics", "describe", name)
    assert f"{name}: 3 partitions" in described.stdout
    assert described.stdout.splitlines()[3].split() == ["1", *[str(leader)] * 3, "0", "2"]
    assert "  retention.ms = 60000 (topic)" in described.stdout.splitlines()

    kept = command(settings, "topics", "delete", name, typed="n\n")
    assert (kept.returncode, name in admin.list_topics(timeout=10).topics) == (1, True)
    assert "3 partitions, at most 2 records? [y/N]" in kept.stdout
    gone = command(settings, "topics", "delete", name, typed="y\n")
    assert (gone.returncode, f"deleted the topic {name}" in gone.stdout) == (0, True), gone.stderr
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, "it is gone")


def test_what_cannot_be_done_with_a_topic_is_said_with_what_to_do_and_changes_nothing(
    shared_kafka_settings: Settings, missing: BareTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, name = shared_kafka_settings, missing.name
    market = settings.topic("market")
    missing.make(1)
    for words, code, said in (
        (f"create {name}", 1, f"exists already: `marketpulse topics describe {name}`"),
        (f"create {name}-2 --replication 3", 1, "the cluster has 1 broker now: ask for 1 or fewer"),
        (f"create {name}-2 --config no.such=1", 2, "no.such"),
        (f"create {name}-2 --partitions 0", 2, "--partitions"),
        ("create no/name", 2, "is no topic's name"),
        (f"create {market}", 2, "`marketpulse topics` creates ours"),
        (f"describe {name}-2", 1, f"does not exist: `marketpulse topics list` .* `marketpulse topics create {name}-2`"),
        (f"delete {name}-2 --yes", 1, "does not exist"),
        (f"delete {market} --yes", 2, "MarketPulse's own: .* --force"),
        ("delete __transaction_state --yes --force", 2, "Kafka's own"),
    ):
        done = command(settings, "topics", *words.split())
        assert (done.returncode, done.stdout) == (code, ""), (words, done.stderr)
        assert re.search(said, done.stderr), (words, done.stderr)
    topics = AdminClient({"bootstrap.servers": str(missing.bootstrap)}).list_topics(timeout=10).topics
    assert (f"{name}-2" in topics, market in topics, name in topics) == (False, True, True)
    monkeypatch.setattr(topic_admin, "_TIMEOUT_S", 0.5)
    away = changed(settings, kafka={"bootstrap_servers": "127.0.0.1:9"})
    for words in ("list", "create x", "describe x", "delete x --yes"):
        done = command(away, "topics", *words.split())
        assert (done.returncode, "marketpulse doctor" in done.stderr) == (1, True), (words, done.stderr)
