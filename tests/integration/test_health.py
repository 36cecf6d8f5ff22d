"""The health turns while a real fault lasts and returns after it: processes, their metrics and the log are real, and only
the observer's clock is moved by hand."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic
from forked import forked_command
from given_settings import changed, environment_of
from lake_store import LakeStore
from marketpulse.app.observing.observer import Observer
from marketpulse.clock import ManualClock
from marketpulse.kafka.pipeline_stats import StatsProbe
from marketpulse.ports import LogView
from marketpulse.settings import Settings
from stored_pipeline import HELLO, heartbeat, trade, wait_until_taken
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kernels")]


class Watched(ManualClock):
    """The clock of an observer, which looks whenever it is asked; the wall clock may be off."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(10**18)
        self.off_ns, self.probe = 0, StatsProbe(settings)
        log = lambda: LogView(self.now_ns() // 1_000_000, self.probe.stats())  # noqa: E731
        self.observer = Observer(settings.data_dir, self, log)

    def now_ns(self) -> int:
        return super().now_ns() + self.off_ns

    def says(self, status: str, words: str, after_s: float) -> bool:
        self.sleep(after_s)
        self.observer.look()
        health = self.observer.health()
        return health["status"] == status and words in " ".join(reason["what"] for reason in health["reasons"])

    def until(self, status: str, words: str = "", step_s: float = 1.0) -> None:
        wait_until(lambda: self.says(status, words, step_s), f"{status}: {words}")


@contextmanager
def running(settings: Settings, *words: str, name: str) -> Iterator[None]:
    """`marketpulse WORDS…` in a process of its own."""
    given = environment_of(settings, sinks__lake__flush_s="0.2")
    child = forked_command(*words, environment=given, cwd=settings.data_dir.parent)
    try:
        wait_until((settings.data_dir / "run" / f"{name}.json").exists, f"{name} does its work")
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


@pytest.fixture
def settings(kafka_settings: Settings) -> Settings:
    kafka_settings.data_dir.mkdir(exist_ok=True)
    return changed(kafka_settings, engine={"timeframes": ("1s",), "indicators": ""})


@pytest.fixture
def watched(settings: Settings) -> Iterator[Watched]:
    watched = Watched(settings)
    yield watched
    watched.probe.close()


def test_many_dead_letters_and_a_clock_that_jumps_degrade_it_for_a_minute(settings: Settings, watched: Watched) -> None:
    with running(settings, "process", name="process-0"):
        watched.until("ok")
        BareTopic.of(settings).write([HELLO, *[b"no JSON"] * 20])
        watched.until("degraded", "20 records were set aside")
        watched.until("ok", step_s=20)
        watched.off_ns = -7 * 10**9
        watched.until("degraded", "The clock of this machine jumped by -7 s.")
        watched.until("ok", step_s=20)


def test_a_store_that_is_away_degrades_it_and_its_process_says_why(settings: Settings, watched: Watched) -> None:
    store, market = LakeStore(settings.data_dir / "lake"), BareTopic.of(settings)
    with running(settings, "process", name="process-0"), running(settings, "sink", "lake", name="sink-lake"):
        market.write([HELLO, trade("A", 1, 1, 1), heartbeat(5)])
        wait_until(lambda: (store.directory / "catalog.db").exists() and store.history("trades"), "it stores")
        watched.until("ok", step_s=20)
        store.stop()
        market.write([trade("A", 6, 1, 1), heartbeat(9)])
        watched.until("degraded", "The store lake failed")
        why = f"The process sink-lake does not do its work: {store.directory} does not answer"
        watched.until("degraded", why, step_s=20)
        store.start()
        watched.until("ok", step_s=20)
        wait_until(lambda: len(store.history("trades")) == 2, "nothing is lost")


def test_an_engine_that_is_slower_than_its_rows_degrades_it(settings: Settings, watched: Watched) -> None:
    """A bare client commits for an engine that takes one record while ten come."""
    topic, group, done = BareTopic.of(settings), settings.group(settings.process.group), 0
    admin = AdminClient({"bootstrap.servers": str(topic.bootstrap)})
    topic.write([HELLO])

    def take_one() -> bool:
        nonlocal done
        done += 1
        topic.write([heartbeat(done)] * 10)
        at = ConsumerGroupTopicPartitions(group, [TopicPartition(topic.name, 0, done)])
        admin.alter_consumer_group_offsets([at])[group].result(20)
        wait_until(lambda: watched.probe.stats().engine_lag_records == 9 * done + 1, "the lag is counted")
        return watched.says("degraded", "The engine falls behind", after_s=5)

    wait_until(take_one, "it is said that the engine falls behind")
    with running(settings, "process", name="process-0"):
        wait_until_taken(settings)
        watched.until("ok", step_s=20)
