"""The broker is killed with -9 under the engine, again and again, by seed."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from engine_campaign import SEEDS, Workers, campaign
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.usefixtures("kernels")]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broker_killed_under_the_engine_leaves_exactly_the_rows_of_the_clean_run(
    tmp_path: Path, broker_cache: Path, seed: int
) -> None:
    own = Settings(data_dir=tmp_path / "own", cache_dir=broker_cache, broker={"heap_mb": 192}, kafka={"partitions": 3})
    with EmbeddedBroker(own) as broker:
        settings = connected_to(own, broker.bootstrap)
        ensure_topics(settings)
        workers = Workers(settings, 1)

        def disturb(random_: random.Random) -> None:
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            assert broker.wait(30)  # a process that dies slowly would still count as one that need not be started
            time.sleep(random_.uniform(0, 2))
            broker.start()

        campaign(settings, seed, workers, disturb)
