"""The health turns while a real fault lasts and returns after it: the processes, their metrics and the log are real, and
only the observer's clock is moved by hand."""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

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


class JumpingClock(ManualClock):
    """Its wall clock may be off."""

    off_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.off_ns


class Watched:
    """What an observer says of the processes and the log, a look after the other."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.probe = JumpingClock(10**18), StatsProbe(settings)
        self.observer = Observer(settings.data_dir, self.clock, self._log)

    def _log(self) -> LogView:
        return LogView(self.clock.now_ns() // 1_000_000, self.probe.stats())

    def after(self, seconds: float) -> tuple[str, str]:
        """The status and its reasons so many seconds later."""
        self.clock.sleep(seconds)
        self.observer.look()
        health = self.observer.health()
        return health["status"], " ".join(reason["what"] for reason in health["reasons"])

    def until(self, status: str, words: str = "", step_s: float = 1.0) -> None:
        def is_said() -> bool:
            seen.append(self.after(step_s))
            return seen[-1][0] == status and words in seen[-1][1]

        seen: list[tuple[str, str]] = []
        try:
            wait_until(is_said, f"{status}: {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {seen[-1]}") from None


@contextmanager
def running(settings: Settings, *words: str) -> Iterator[None]:
    """`marketpulse WORDS…` in a process of its own."""
    child = forked_command(
        *words, environment=environment_of(settings, sinks__lake__flush_s="0.2"), cwd=settings.data_dir.parent
    )
    name = "process-0" if words == ("process",) else "-".join(words)
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
    with closing(watched.probe):
        yield watched


@pytest.fixture
def write(settings: Settings) -> Callable[..., None]:
    return lambda *records: BareTopic.of(settings).write(records)


def test_many_dead_letters_degrade_it_for_a_minute(
    settings: Settings, watched: Watched, write: Callable[..., None]
) -> None:
    with running(settings, "process"):
        watched.until("ok")
        write(HELLO, *[b"no JSON"] * 20)
        watched.until("degraded", "20 records were set aside")
        watched.until("ok", step_s=20)


def test_a_store_that_is_away_degrades_it_and_its_process_says_why(
    settings: Settings, watched: Watched, write: Callable[..., None]
) -> None:
    store = LakeStore(settings.data_dir / "lake")
    with running(settings, "process"), running(settings, "sink", "lake"):
        write(HELLO, trade("A", 1, 1, 1), heartbeat(5))
        wait_until(lambda: (store.directory / "catalog.db").exists() and store.history("trades"), "it stores")
        watched.until("ok", step_s=20)
        store.stop()
        write(trade("A", 6, 1, 1), heartbeat(9))
        watched.until("degraded", "The store lake failed")
        watched.until(
            "degraded", f"The process sink-lake does not do its work: {store.directory} does not answer", step_s=20
        )
        store.start()
        watched.until("ok", step_s=20)
        wait_until(lambda: len(store.history("trades")) == 2, "nothing is lost")


def test_an_engine_that_is_slower_than_its_rows_degrades_it(
    settings: Settings, watched: Watched, write: Callable[..., None]
) -> None:
    """A bare client commits for an engine that takes one record while ten come."""
    topic, group = BareTopic.of(settings), settings.group(settings.process.group)
    admin = AdminClient({"bootstrap.servers": topic.bootstrap})
    write(HELLO)
    partition, done = next(p for p, end in topic.ends().items() if end), 0

    def take_one() -> bool:
        nonlocal done
        write(*[heartbeat(done)] * 10)
        done += 1
        at = ConsumerGroupTopicPartitions(group, [TopicPartition(topic.name, partition, done)])
        admin.alter_consumer_group_offsets([at])[group].result(20)
        wait_until(lambda: watched.probe.stats().engine_lag_records == 9 * done + 1, "the lag is counted")
        said = watched.after(5)
        return said[0] == "degraded" and "The engine falls behind" in said[1]

    wait_until(take_one, "it is said that the engine falls behind")
    with running(settings, "process"):
        wait_until_taken(settings)
        watched.until("ok", step_s=20)


def test_a_clock_that_jumps_degrades_it_for_a_minute(settings: Settings, watched: Watched) -> None:
    with running(settings, "process"):
        watched.until("ok")
        watched.clock.off_ns = -7 * 10**9
        watched.until("degraded", "The clock of this machine jumped by -7 s.")
        watched.until("ok", step_s=20)
