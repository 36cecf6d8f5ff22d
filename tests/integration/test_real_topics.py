"""Topics on the real broker: made when missing, reported when different, never altered."""

import time

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from bare_clients import BareTopic
from marketpulse.errors import EnvironmentProblem, Fatal, Retryable
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.topics import Difference, ensure_topics, inspect_topics, topic_specs
from marketpulse.settings import Settings

pytestmark = pytest.mark.integration


def settings_of(admin: AdminClient, topic: str) -> dict[str, str | None]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(10).items()}


def test_every_topic_is_on_the_broker_as_declared(kafka_settings: Settings, broker: EmbeddedBroker) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    there = admin.list_topics(timeout=10).topics
    for spec in topic_specs(kafka_settings):
        assert len(there[spec.name].partitions) == spec.partitions
        actual = settings_of(admin, spec.name)
        assert {name: actual[name] for name in spec.configs if name != "min.cleanable.dirty.ratio"} == {
            name: value for name, value in spec.configs.items() if name != "min.cleanable.dirty.ratio"
        }
    assert inspect_topics(kafka_settings) == ([], [])
    assert ensure_topics(kafka_settings) == []


def test_an_existing_topic_that_differs_is_reported_and_left_alone(
    kafka_settings: Settings, broker: EmbeddedBroker
) -> None:
    kafka = kafka_settings.kafka.model_copy(update={"topic_prefix": f"{kafka_settings.kafka.topic_prefix}other-"})
    settings = kafka_settings.model_copy(update={"kafka": kafka})
    market = settings.topic("market")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    theirs = {"retention.ms": "1000000", "message.timestamp.type": "CreateTime"}
    BareTopic.of(settings).make(7, **theirs)
    while market not in admin.list_topics(timeout=10).topics:  # the broker learns of it a moment later
        time.sleep(0.02)
    missing, seen = inspect_topics(settings)
    assert len(missing) == 7
    assert market not in missing
    differences = ensure_topics(settings)
    assert differences == seen
    assert Difference(market, "partitions", "4", "7") in differences
    assert Difference(market, "message.timestamp.type", "LogAppendTime", "CreateTime") in differences
    assert {d.topic for d in differences} == {market}
    assert settings_of(admin, market)["retention.ms"] == "1000000"
    assert inspect_topics(settings)[0] == []
    for done in admin.delete_topics([spec.name for spec in topic_specs(settings)]).values():
        done.result(10)


def test_more_replicas_than_brokers_says_which_setting(broker: EmbeddedBroker, kafka_settings: Settings) -> None:
    kafka = kafka_settings.kafka.model_copy(update={"topic_prefix": "replicas-", "replication_factor": 3})
    with pytest.raises(Fatal, match=r"kafka\.replication_factor"):
        ensure_topics(kafka_settings.model_copy(update={"kafka": kafka}))


def test_a_broker_that_is_away_can_be_tried_again(kafka_settings: Settings) -> None:
    kafka = kafka_settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})
    with pytest.raises(Retryable):
        ensure_topics(kafka_settings.model_copy(update={"kafka": kafka}), timeout_s=0.5)


def test_without_any_broker_the_error_says_how_to_start_one(kafka_settings: Settings) -> None:
    kafka = kafka_settings.kafka.model_copy(update={"bootstrap_servers": None})
    with pytest.raises(EnvironmentProblem, match="marketpulse up"):
        ensure_topics(kafka_settings.model_copy(update={"kafka": kafka}))
