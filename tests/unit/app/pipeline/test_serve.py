import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

from board_rows import bars, row
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.serve import as_far_as_possible, serve_feed
from marketpulse.errors import Fatal, MarketPulseError, QueryRefused, Retryable
from marketpulse.ports import FeedBatch, PipelineStats
from marketpulse.settings import Settings
from marketpulse.telemetry import Health
from moving_feed import MovingFeed


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

    def url(self) -> str:
        deadline = time.monotonic() + 10
        while not self.life.run_file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return str(json.loads(self.life.run_file.read_text())["url"])

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive()

    def health_until(self, wanted: str) -> dict[str, Any]:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            answer: dict[str, Any] = httpx.get(self.url() + "api/health").json()
            if answer["status"] == wanted:
                return answer
            time.sleep(0.05)
        raise AssertionError(f"health never became {wanted}")


def test_it_says_where_the_page_is_and_stops_within_two_seconds(tmp_path: Path) -> None:
    running = Running(MovingFeed(symbols=2, history=30), tmp_path)
    running.health_until("ok")
    while httpx.get(running.url() + "api/health").json()["symbols"] < 2:
        time.sleep(0.05)
    assert running.life.health.ready()[0]
    began = time.monotonic()
    running.life.stop.set()
    running.wait(5)
    assert time.monotonic() - began < 2
    assert running.raised is None


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
    answer = httpx.get(running.url() + "api/bars?symbol=AAPL&timeframe=1m").json()
    assert len(answer["rows"]) == 300
    running.life.stop.set()
    running.wait(5)
    assert running.raised is None


def test_the_page_is_there_with_what_is_stored_while_the_log_is_waited_for(tmp_path: Path) -> None:
    come = threading.Event()

    def connect() -> MovingFeed:
        come.wait(20)
        return MovingFeed(symbols=2, history=30)

    running = Running(connect, tmp_path, [bars(row("AAPL", "1m", 60, 10.0))])
    running.health_until("starting")
    assert len(httpx.get(running.url() + "api/bars?symbol=AAPL&timeframe=1m").json()["rows"]) == 1
    come.set()
    running.health_until("ok")
    running.life.stop.set()
    running.wait(5)
    assert running.raised is None


def test_a_stop_while_the_log_is_waited_for_ends_it(tmp_path: Path) -> None:
    told = threading.Event()

    def connect() -> None:
        told.wait(20)

    running = Running(connect, tmp_path)
    running.health_until("starting")
    running.life.stop.set()
    told.set()
    running.wait(5)
    assert running.raised is None


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


def test_a_fault_that_passes_is_shown_and_outlived(tmp_path: Path) -> None:
    feed = Unsteady(symbols=2, history=30)
    running = Running(feed, tmp_path)
    running.health_until("ok")
    feed.fault = Retryable("the broker is away")
    running.health_until("log_away")
    feed.fault = None
    running.health_until("ok")
    running.life.stop.set()
    running.wait(5)


def test_a_fault_for_a_person_ends_the_process(tmp_path: Path) -> None:
    feed = Unsteady(symbols=2, history=30)
    running = Running(feed, tmp_path)
    running.health_until("ok")
    feed.fault = Fatal("the topics may not be read")
    running.wait(5)
    assert running.raised is feed.fault
