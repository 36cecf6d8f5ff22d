"""`serve` in a thread, with a feed that a test moves; the pace of `verify`; the step that travels to Spark's workers."""

import json
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from board_rows import bars, row
from marketpulse.app.engine_config import engine_config
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.serve import as_far_as_possible, serve_feed
from marketpulse.app.pipeline.spark import make_step
from marketpulse.app.pipeline.verify import Pace
from marketpulse.clock import ManualClock
from marketpulse.engine.checkpoint import computation
from marketpulse.errors import Fatal, MarketPulseError, QueryRefused, Retryable
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.settings import Settings
from marketpulse.telemetry import Health
from moving_feed import MovingFeed
from waiting import wait_until


class Running:
    """`serve` in a thread, until it is told to stop."""

    def __init__(self, feed: Any, folder: Path, stored: Iterable[FeedBatch] = ()) -> None:
        self.life = Lifecycle("serve", threading.Event(), Health(), folder / "run" / "serve.json", 0)
        self.settings = Settings(data_dir=folder, serve={"port": 0})
        self.raised: MarketPulseError | None = None
        self._connect: Callable[[], Any] = feed if callable(feed) else lambda: feed
        self._stored = stored
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            serve_feed(self._connect, self.settings, self.life, self._stored)
        except MarketPulseError as error:
            self.raised = error

    def get(self, path: str) -> dict[str, Any]:
        wait_until(self.life.run_file.exists)
        return dict(httpx.get(json.loads(self.life.run_file.read_text())["url"] + path, timeout=60).json())

    def bars(self) -> int:
        return len(self.get("api/bars?symbol=AAPL&timeframe=1m")["rows"])

    def ends(self) -> MarketPulseError | None:
        """What it raised, once it has come to its end."""
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.raised

    def stop(self) -> MarketPulseError | None:
        self.life.stop.set()
        return self.ends()

    def health_until(self, wanted: str) -> None:
        wait_until(lambda: self.get("api/health")["status"] == wanted, f"health {wanted}")


def test_it_says_where_the_page_is_and_stops_when_told(tmp_path: Path) -> None:
    running = Running(MovingFeed(symbols=2, history=30), tmp_path)
    running.health_until("ok")
    wait_until(lambda: running.get("api/health")["symbols"] >= 2, "both symbols")
    assert running.life.health.ready()[0]
    assert running.stop() is None


class Silent(MovingFeed):
    """A feed that brings nothing."""

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        time.sleep(timeout_s)
        yield from ()


def test_stored_rows_are_shown_before_the_feed_brings_any_and_a_fault_in_them_is_outlived(tmp_path: Path) -> None:
    def stored() -> Iterator[FeedBatch]:
        yield bars(*(row("AAPL", "1m", 60 * i, 10.0) for i in range(300)))
        raise QueryRefused("the query took longer than 5 s")

    running = Running(Silent(symbols=2, history=30), tmp_path, as_far_as_possible(stored()))
    running.health_until("ok")
    assert running.bars() == 300
    assert running.stop() is None


@pytest.mark.parametrize("comes", [True, False], ids=["and then comes", "and a stop comes first"])
def test_the_page_is_there_with_what_is_stored_while_the_log_is_waited_for(tmp_path: Path, comes: bool) -> None:
    told = threading.Event()

    def connect() -> MovingFeed | None:
        told.wait()
        return MovingFeed(symbols=2, history=30) if comes else None

    running = Running(connect, tmp_path, [bars(row("AAPL", "1m", 60, 10.0))])
    running.health_until("starting")
    assert running.bars() == 1
    if not comes:
        running.life.stop.set()
    told.set()
    if comes:
        running.health_until("ok")
    assert running.stop() is None


class Unsteady(MovingFeed):
    """A feed whose far end fails in the given way while `fault` is set."""

    fault: Exception | None = None

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        if self.fault is not None:
            raise self.fault
        yield from super().batches(timeout_s)

    def stats(self) -> PipelineStats:
        if self.fault is not None:
            raise self.fault
        return super().stats()


def test_a_fault_that_passes_is_shown_and_outlived_and_one_for_a_person_ends_the_process(tmp_path: Path) -> None:
    feed = Unsteady(symbols=2, history=30)
    running = Running(feed, tmp_path)
    running.health_until("ok")
    feed.fault = Retryable("the broker is away")
    running.health_until("log_away")
    feed.fault = None
    running.health_until("ok")
    feed.fault = Fatal("the topics may not be read")
    assert running.ends() is feed.fault


class _Stop(threading.Event):
    """Waits on the test's clock."""

    clock = ManualClock()

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.sleep(timeout or 0)
        return self.is_set()


def test_work_takes_no_more_than_its_share_of_the_time_and_a_stop_ends_the_rest() -> None:
    stop = _Stop()
    clock, life = stop.clock, Lifecycle("verify", stop, Health(), Path("run.json"), 0)
    pace = Pace(0.05, life, clock)
    pace.begin()
    for _ in range(10):
        clock.sleep(0.2)
        assert pace.rest()
    assert abs(2.0 / clock.monotonic() - 0.05) < 1e-6
    stop.set()
    stopped_s = clock.monotonic()
    pace = Pace(0.01, life, clock)
    pace.begin()
    clock.sleep(5)
    assert not pace.rest()
    assert clock.monotonic() - stopped_s < 10


def test_a_step_that_was_pickled_computes_what_the_settings_say() -> None:
    engine = {"timeframes": ("5t", "1s", "1d"), "indicators": "ema(4)", "calendar": "XNYS", "fill": "previous"}
    settings = Settings(engine=engine, kafka={"topic_prefix": "a-"})
    step = pickle.loads(pickle.dumps(make_step(settings)))()  # noqa: S301  (our own bytes)
    assert computation(step.config) == computation(engine_config(settings.engine))
    assert step.topic == "a-market"
