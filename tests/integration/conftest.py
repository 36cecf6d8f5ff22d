"""All tests of this folder need a real service: the mark, and what several of their files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bare_clients import own_topics
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.settings import Settings
from postgres_store import postgres_server  # noqa: F401  (fixtures)
from postgres_store import postgres_store as place  # noqa: F401
from valkey_store import valkey  # noqa: F401


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("integration")


@pytest.fixture(scope="module")
def shared_kafka_settings(
    broker: EmbeddedBroker, broker_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """`kafka_settings` (tests/conftest.py) for a whole file: its tests look at one run, or have symbols of their own."""
    with own_topics(broker, broker_cache, tmp_path_factory.mktemp("shared") / "data") as settings:
        yield settings
