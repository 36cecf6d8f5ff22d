"""`produce`: one source into `market`.

    start from the committed position -> hello -> rows, heartbeats between them -> goodbye

A source that can resume is written exactly once: its rows and its position commit together. A far
end or a broker that is away is waited for; nothing is lost meanwhile.
"""

import contextlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.source_log import open_log
from marketpulse.app.pipeline.vendors import open_polled, open_timed
from marketpulse.app.selecting.groups import topic_of
from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import Retryable
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.kafka.spooled_log import SpooledLog
from marketpulse.ports import Hello, MarketLog, Polled, Source
from marketpulse.settings import (
    AlpacaSettings,
    AlphaVantageSettings,
    AnySource,
    BinanceSettings,
    CoinbaseSettings,
    FinnhubBarsSettings,
    FinnhubSettings,
    HttpSettings,
    PolygonSettings,
    RecordingSettings,
    ReplaySettings,
    RestSettings,
    Settings,
    SimulateSettings,
    StdinSettings,
    YahooSettings,
)
from marketpulse.sources import kafka_topic, replay
from marketpulse.sources.defaults import source_name
from marketpulse.sources.kafka_topic import KafkaTopicSource
from marketpulse.sources.push import HttpSource
from marketpulse.sources.replay import ReplaySource
from marketpulse.sources.rest.polled import PolledSource
from marketpulse.sources.sample import SampleSource
from marketpulse.sources.simulate import SimulateSource
from marketpulse.sources.stdin import StdinSource
from marketpulse.sources.streaming.live import LiveSource
from marketpulse.sources.streaming.recorded import RecordedSource
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendors import vendor_of
from marketpulse.telemetry import SOURCE_ERRORS, get_logger

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_FIRST_REMINDER_S, _LONGEST_REMINDER_S = 5.0, 600.0  # between two lines of the log that give the same reason
_START_GRACE_S = 1.0  # a pause shorter than this while starting is nothing to tell people of
_PROGRESS_S = 1.0
T = TypeVar("T")


def run(settings: Settings, life: Lifecycle, source_settings: AnySource, name: str, *, again: bool = False) -> int:
    """Feed the source called `name` into `market` (or `feeds`, where others stand in for it) until it ends or `life.stop`; returns the exit code.

    `again`: begin at the source's start although it was replayed before, as a run of its own.
    """
    clock = SystemClock()
    source, resumable = open_source(settings, source_settings, name, clock, life.health.beat)
    carried = source_name(source_settings.kind, name)
    topic = topic_of(settings, name)
    log = open_log(settings, life, source, carried, resumable=resumable, clock=clock, topic=topic)
    try:
        return Production(settings, life, source, log, name, clock, resumable).run(again)
    finally:
        source.close()
        if isinstance(log, SpooledLog):
            with contextlib.suppress(Retryable):  # what waits is on the disk
                log.close()


def open_source(
    settings: Settings, source_settings: AnySource, name: str, clock: Clock, alive: Callable[[], None]
) -> tuple[Source, bool]:
    """(the source, whether it can resume after the rows that were committed)."""
    engine = settings.engine
    carried = source_name(source_settings.kind, name)
    lateness_ns = engine.lateness_ms * 1_000_000
    if isinstance(source_settings, SimulateSettings):
        simulated = SimulateSource(source_settings, carried, lateness_ns=lateness_ns, clock=clock)
        return simulated, simulated.resumable
    if isinstance(source_settings, ReplaySettings):
        if source_settings.sample:
            return SampleSource(source_settings, carried, lateness_ns=lateness_ns, clock=clock, alive=alive), False
        return ReplaySource(
            source_settings, carried, lateness_ns=lateness_ns, clock=clock, alive=alive,
            fetched=settings.data_dir / "fetched" / carried, s3=settings.s3,
        ), True  # fmt: skip
    if isinstance(source_settings, AlphaVantageSettings | YahooSettings | FinnhubBarsSettings | RestSettings):
        return open_polled(settings, source_settings, carried, clock, alive), True
    if isinstance(source_settings, HttpSettings):
        return HttpSource(source_settings, carried, lateness_ns=lateness_ns, clock=clock, alive=alive), True
    if isinstance(source_settings, CoinbaseSettings | BinanceSettings):
        vendor = vendor_of(source_settings, source_settings.kind)
        return LiveSource(vendor, source_settings, carried, lateness_ns=lateness_ns, clock=clock), True
    if isinstance(source_settings, AlpacaSettings | PolygonSettings | FinnhubSettings):
        return open_timed(settings, source_settings, carried, clock), True
    if isinstance(source_settings, RecordingSettings):
        return RecordedSource(source_settings, carried, lateness_ns=lateness_ns), True
    if isinstance(source_settings, StdinSettings):
        stream = sys.stdin.buffer
        return StdinSource(source_settings, stream, carried, lateness_ns=lateness_ns, clock=clock, alive=alive), False
    elsewhere = source_settings.bootstrap_servers
    embedded = elsewhere is None and settings.kafka.bootstrap_servers is None
    create = embedded if source_settings.create is None else source_settings.create
    topic = KafkaForeignTopic(settings, source_settings.topic, elsewhere, create=create)
    return KafkaTopicSource(source_settings, topic, carried, engine, clock=clock, alive=alive), True


@dataclass
class Production:
    """One source, its log, and where they stand."""

    settings: Settings
    life: Lifecycle
    source: Source
    log: MarketLog
    name: str
    clock: Clock
    resumable: bool
    introduced: bool = False  # hello stands in the log

    def run(self, again: bool) -> int:
        position = self._patiently(self.log.last_position) if self.resumable else None
        hello = self._patiently(lambda: self.source.start(self._again(position) if again else position), starting=True)
        if hello is None:
            return 0  # asked to stop while the broker was away
        if _finished_before(self.source):
            self._say(f"{self.name} was replayed completely before; use --again to feed it in once more")
            get_logger().warning("replayed_completely_before", source=self.name, todo="use --again")
            self.life.announce(source=hello.source, ended=True)
            return 0
        facts = {"ingest_url": self.source.url} if isinstance(self.source, HttpSource) else {}
        if isinstance(self.source, KafkaTopicSource) and self.source.created_topic:
            facts["note"] = self.source.created_topic
        self.life.announce(source=hello.source, mode=hello.mode, simulated=hello.simulated, **facts)
        ended = self._pump(hello)
        self._close(ended, hello)
        return 0

    def _again(self, position: str | None) -> str | None:
        """The source's beginning, as a run of its own where it has been run before."""
        if isinstance(
            self.source,
            SimulateSource | PolledSource | HttpSource | StdinSource | LiveSource | TimedSource | RecordedSource,
        ):
            return None
        if isinstance(self.source, KafkaTopicSource):
            return kafka_topic.begin_again(position)
        return replay.begin_again(position)

    def _pump(self, hello: Hello) -> bool:
        """Poll and write until the source ends (True) or the process shall stop (False)."""
        beat_s = self.settings.process.clock_ms / 1e3
        next_beat = self.clock.monotonic() + beat_s
        progress = _Progress(self.name, self.source, self.clock)
        while not self.life.stop.is_set():
            left = max(0.0, next_beat - self.clock.monotonic())
            polled = self._patiently(lambda left=left: self.source.poll(left))  # type: ignore[misc]
            if polled is None:
                break
            if polled.batches or polled.rejected or polled.hello is not None or polled.goodbye_watermark_ns is not None:
                if not self.introduced:  # hello comes before the first row, in the same transaction
                    polled = replace(polled, hello=polled.hello or hello)
                if self._write(polled) is None:
                    break
                self.introduced = True
                if not self._answered():
                    break
            if polled.ended:
                progress.show(last=True)
                return True
            if self.clock.monotonic() >= next_beat:
                next_beat = self.clock.monotonic() + beat_s
                self._beat(hello.source)
                progress.show()
            self.life.health.beat()
        return False

    def _answered(self) -> bool:
        """Who pushes hears that the rows are in the log once they are durable there; False: asked to stop."""
        if not isinstance(self.source, HttpSource):
            return True
        if self._patiently(lambda: self.log.flush() is None) is None:  # type: ignore[func-returns-value]
            return False
        self.source.committed()
        return True

    def _beat(self, carried: str) -> None:
        """A heartbeat with what the source can promise; without a promise, only what is due commits."""
        watermark = self.source.watermark_ns() if self.introduced else None
        if watermark is None:
            self._write(Polled())
        else:
            self._patiently(lambda: self.log.heartbeat(carried, watermark) or True)  # type: ignore[func-returns-value]

    def _write(self, polled: Polled) -> bool | None:
        """The same rows until the log has them; None: asked to stop before that."""
        return self._patiently(lambda: self.log.write(polled) is None)  # type: ignore[func-returns-value]

    def _close(self, ended: bool, hello: Hello) -> None:
        """Say goodbye with what can be promised, and make everything durable.

        While the broker is away this gives up: what was not committed is read again at the next start.
        """
        try:
            watermark = self.source.watermark_ns() if self.introduced and not ended else None
            if watermark is not None:
                self.log.write(Polled(goodbye_watermark_ns=watermark))
            self.log.flush()
            self.log.close()
        except Retryable as error:
            lost = "nothing is lost: it begins again where it was" if self.resumable else "its last rows are lost"
            get_logger().warning("source_closed_without_broker", source=hello.source, error=str(error), note=lost)

    def _patiently(self, call: Callable[[], T], *, starting: bool = False) -> T | None:
        """The call's answer, asked for again with growing pauses while the far end is away; None: stop.

        The reason is logged once, and again at growing intervals; while `starting`, people see it too.
        """
        wait = _FIRST_WAIT_S
        waited = False
        reminder = _Reminder(self.clock)
        while True:
            try:
                answer = call()
            except Retryable as error:
                SOURCE_ERRORS.labels(self.name).inc()
                self.life.health.beat()
                if starting and wait >= _START_GRACE_S:
                    self.life.report_waiting(str(error))
                else:
                    self.life.health.set_not_ready(str(error))
                if reminder.is_due(str(error)):
                    get_logger().warning("waiting", source=self.name, error=str(error), retry_in_s=round(wait, 1))
                self.life.stop.wait(wait * random.uniform(0.5, 1.5))
                wait, waited = min(2 * wait, _LONGEST_WAIT_S), True
                if self.life.stop.is_set():
                    return None
            else:
                if waited:
                    self.life.health.set_ready()
                return answer

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")


def _finished_before(source: Source) -> bool:
    return isinstance(source, ReplaySource | SimulateSource | RecordedSource) and source.finished_before


class _Reminder:
    """When a reason is to be logged: at once when it is new, then after 5, 10, 20 … 600 seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reason: str | None = None
        self._due_s = self._interval_s = 0.0

    def is_due(self, reason: str) -> bool:
        now = self._clock.monotonic()
        if reason == self._reason and now < self._due_s:
            return False
        repeated = reason == self._reason
        self._interval_s = min(2 * self._interval_s, _LONGEST_REMINDER_S) if repeated else _FIRST_REMINDER_S
        self._reason, self._due_s = reason, now + self._interval_s
        return True


class _Progress:
    """One line on a terminal that says how far a long replay is."""

    def __init__(self, name: str, source: Source, clock: Clock) -> None:
        self._name = name
        self._source = source if isinstance(source, ReplaySource) else None
        self._clock = clock
        self._shown_s = self._begun_s = clock.monotonic()
        self._first = self._source.progress()[0] if self._source else 0
        self._wrote = False

    def show(self, last: bool = False) -> None:
        now = self._clock.monotonic()
        if self._source is None or not sys.stderr.isatty() or (now - self._shown_s < _PROGRESS_S and not last):
            return
        if last and not self._wrote:
            return
        done, total = self._source.progress()
        rate = max(0, done - self._first) / max(now - self._begun_s, 1e-9)
        sys.stderr.write(f"\r{self._name}: {done:,} of {total:,} rows, {rate:,.0f} rows/s" + ("\n" if last else ""))
        sys.stderr.flush()
        self._shown_s, self._wrote = now, True
