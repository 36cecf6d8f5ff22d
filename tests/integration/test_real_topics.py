"""Topics on the real broker: ours made when missing, never altered; any other listed, created, described, deleted."""

import re
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from bare_clients import BareTopic
from given_settings import changed, command
from marketpulse.errors import EnvironmentProblem, Retryable, SettingsError
from marketpulse.kafka import topic_admin
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.topics import Difference, ensure_topics, inspect_topics, topic_specs
from marketpulse.settings import Settings
from waiting import wait_until


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
    assert ours.name not in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics


@pytest.fixture
def foreign(shared_kafka_settings: Settings, broker: EmbeddedBroker) -> Iterator[BareTopic]:
    """The name of a topic that is not there; whatever a test makes of it is gone afterwards."""
    topic = BareTopic(broker.bootstrap, f"{shared_kafka_settings.kafka.topic_prefix}stock-prices")
    yield topic
    if topic.name in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics:
        topic.delete()


def test_kafka_sees_a_topic_created_listed_and_deleted(shared_kafka_settings: Settings, foreign: BareTopic) -> None:
    settings, name = shared_kafka_settings, foreign.name
    admin = AdminClient({"bootstrap.servers": str(foreign.bootstrap)})
    made = command(
        settings, *f"topics create {name} --partitions 3 --replication 1 --config retention.ms=60000".split()
    )
    assert (made.returncode, made.stdout) == (0, f"created the topic {name} (3 partitions, replication 1)\n"), (
        made.stderr
    )
    assert len(admin.list_topics(timeout=10).topics[name].partitions) == 3
    assert settings_of(admin, name)["retention.ms"] == "60000"
    foreign.write([b"a", b"b"], partition=1)
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
    assert name not in admin.list_topics(timeout=10).topics


def test_what_cannot_be_done_with_a_topic_is_said_with_what_to_do_and_changes_nothing(
    shared_kafka_settings: Settings, foreign: BareTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, name = shared_kafka_settings, foreign.name
    market = settings.topic("market")
    foreign.make(1)
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
    topics = AdminClient({"bootstrap.servers": str(foreign.bootstrap)}).list_topics(timeout=10).topics
    assert (f"{name}-2" in topics, market in topics, name in topics) == (False, True, True)
    monkeypatch.setattr(topic_admin, "_TIMEOUT_S", 0.5)
    away = changed(settings, kafka={"bootstrap_servers": "127.0.0.1:9"})
    for words in ("list", "create x", "describe x", "delete x --yes"):
        done = command(away, "topics", *words.split())
        assert (done.returncode, "marketpulse doctor" in done.stderr) == (1, True), (words, done.stderr)
