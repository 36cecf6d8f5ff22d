"""Topics that the tests of one file share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.settings import Settings
from own_topics import own_topics


@pytest.fixture(scope="module")
def shared_kafka_settings(
    broker: EmbeddedBroker, broker_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """`kafka_settings` (tests/conftest.py) for a whole file: its tests look at one run, or have symbols of their own."""
    with own_topics(broker, broker_cache, tmp_path_factory.mktemp("shared") / "data") as settings:
        yield settings
