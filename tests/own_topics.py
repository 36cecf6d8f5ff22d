"""Topics of its own for a test, or for a file of tests, on a broker that others use too."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient

from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.topics import ensure_topics, topic_specs
from marketpulse.settings import Settings


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
