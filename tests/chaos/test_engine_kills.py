"""The engine's workers and the broker under them are killed with -9 by seed, while records come and partitions move."""

import itertools
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from dying_worker import STEPS, doomed_command, hurried_command, throttled
from engine_campaign import SEEDS, Workers, assert_as_the_clean_run, campaign, stream, wait_until_taken, write
from given_settings import changed
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from stored_pipeline import HELLO, Pipeline, heartbeat, trade
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.usefixtures("kernels")]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_again_and_again_leaves_just_the_clean_runs_rows(kafka_settings: Settings, seed: int) -> None:
    workers = Workers(kafka_settings, 1)
    campaign(kafka_settings, seed, workers, lambda _: workers.kill(0))


def test_a_worker_that_dies_at_every_step_of_its_work_leaves_exactly_the_rows_of_the_clean_run(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    workers = Workers(kafka_settings, 1, partial(doomed_command, deaths))
    rows = stream(seed=7)
    cuts = [len(rows) * i // (len(STEPS) + 1) for i in range(len(STEPS) + 2)]
    pieces = [rows[begin:end] for begin, end in itertools.pairwise(cuts)]
    try:
        for piece in pieces[:-1]:
            write(kafka_settings, piece)
            workers.wait_until_dead(0)
            workers.care()
        write(kafka_settings, pieces[-1])
        wait_until_taken(kafka_settings, workers)
        workers.stop()
    finally:
        workers.abandon()
    assert deaths.read_text().splitlines() == list(STEPS)
    assert_as_the_clean_run(kafka_settings)


def test_a_worker_that_stops_and_goes_on_takes_no_record_twice(kafka_settings: Settings) -> None:
    """The trades have no ids, by which the engine would know one that comes again, and no clock record follows them."""
    pipeline = Pipeline(changed(kafka_settings, process={"clock_ms": 10_000}))
    for part in ([HELLO, trade("AA", 1, 10, 1)], [trade("AA", 2, 11, 2)], [trade("AA", 3, 12, 4), heartbeat(200)]):
        pipeline.run(part)
    (bar,) = pipeline.told_of("bars", "AA", "1m")
    assert [bar[name] for name in ("open", "close", "volume", "trade_count")] == [10, 12, 7, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_partitions_of_workers_that_leave_and_die_lose_and_double_nothing(kafka_settings: Settings, seed: int) -> None:
    workers = Workers(kafka_settings, 2)

    def disturb(random_: random.Random) -> None:
        random_.choice([workers.kill, workers.leave])(random_.randrange(2))

    campaign(kafka_settings, seed, workers, disturb)


def test_a_worker_with_a_tenth_of_a_core_and_little_time_for_a_transaction_takes_it_all_as_in_the_clean_run(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    timed_out = tmp_path / "timed out"
    timed_out.touch()
    workers = Workers(kafka_settings, 1, partial(hurried_command, timed_out))
    try:
        wait_until((kafka_settings.data_dir / "run" / "process-0.json").exists, "the worker has begun")
        with throttled(workers.pid(0), 0.1):
            write(kafka_settings, stream(seed=7))
            wait_until_taken(kafka_settings, workers)
        workers.stop()
    finally:
        workers.abandon()
    assert len(timed_out.read_text().splitlines()) <= 2
    assert_as_the_clean_run(kafka_settings)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broker_killed_under_the_engine_changes_no_rows(tmp_path: Path, broker_cache: Path, seed: int) -> None:
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
