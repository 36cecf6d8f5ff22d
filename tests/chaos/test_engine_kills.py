"""The engine's workers are killed with -9 at random, by seed, while records come, and partitions move between them."""

import random

import pytest

from engine_campaign import SEEDS, Workers, campaign
from marketpulse.settings import Settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("kernels"),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_again_and_again_leaves_exactly_the_rows_of_the_clean_run(
    kafka_settings: Settings, seed: int
) -> None:
    workers = Workers(kafka_settings, 1)
    campaign(kafka_settings, seed, workers, lambda _: workers.kill(0))


@pytest.mark.parametrize("seed", SEEDS)
def test_partitions_that_move_between_workers_that_leave_and_die_lose_and_double_nothing(
    kafka_settings: Settings, seed: int
) -> None:
    workers = Workers(kafka_settings, 2)

    def disturb(random_: random.Random) -> None:
        random_.choice([workers.kill, workers.leave])(random_.randrange(2))

    campaign(kafka_settings, seed, workers, disturb)
