"""Topics that the tests of one file share."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.topics import ensure_topics, topic_specs
from marketpulse.settings import Settings


@pytest.fixture(scope="module")
def shared_kafka_settings(
    broker: EmbeddedBroker, broker_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """`kafka_settings` (tests/conftest.py) for a whole file: its tests look at one run, or have symbols of their own."""
    kafka = {"bootstrap_servers": broker.bootstrap, "topic_prefix": f"t{uuid.uuid4().hex[:8]}-", "partitions": 4}
    settings = Settings(data_dir=tmp_path_factory.mktemp("shared") / "data", cache_dir=broker_cache, kafka=kafka)
    ensure_topics(settings)
    yield settings
    if broker.alive():
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})  # must outlive its answers
        for done in admin.delete_topics([spec.name for spec in topic_specs(settings)]).values():
            done.exception(10)
