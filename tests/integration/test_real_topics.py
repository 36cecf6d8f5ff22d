"""Topics on the real broker: made when missing, reported when different, never altered."""

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from bare_clients import BareTopic
from given_settings import changed
from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.topics import Difference, ensure_topics, inspect_topics, topic_specs
from marketpulse.settings import Settings
from waiting import wait_until


def settings_of(admin: AdminClient, topic: str) -> dict[str, str | None]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(10).items()}


def test_every_topic_is_on_the_broker_as_declared(shared_kafka_settings: Settings, broker: EmbeddedBroker) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    there = admin.list_topics(timeout=10).topics
    for spec in topic_specs(shared_kafka_settings):
        assert len(there[spec.name].partitions) == spec.partitions
        wanted = {name: value for name, value in spec.configs.items() if name != "min.cleanable.dirty.ratio"}
        assert settings_of(admin, spec.name).items() >= wanted.items()
    assert inspect_topics(shared_kafka_settings) == ([], [])
    assert ensure_topics(shared_kafka_settings) == []


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


def test_topics_that_cannot_be_made_are_told_by_what_to_do(shared_kafka_settings: Settings) -> None:
    for kafka, error, said in (
        ({"topic_prefix": "replicas-", "replication_factor": 3}, Fatal, r"kafka\.replication_factor"),
        ({"bootstrap_servers": "127.0.0.1:9"}, Retryable, "127.0.0.1:9|broker"),
        ({"bootstrap_servers": None}, EnvironmentProblem, "marketpulse up"),
    ):
        patience = {"timeout_s": 0.5} if error is Retryable else {}
        with pytest.raises(error, match=said):
            ensure_topics(changed(shared_kafka_settings, kafka=kafka), **patience)
