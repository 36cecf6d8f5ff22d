"""`produce`: one source into `market`.

    start from the committed position -> hello -> rows, heartbeats between them -> goodbye

A source that can resume is written exactly once: its rows and its position commit together. A far
end or a broker that is away is waited for; nothing is lost meanwhile. At the end it says what became of its rows (report).
"""

import contextlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from marketpulse.app.exit_codes import FAILED, GOOD
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.report import EngineSide, Report, summarise
from marketpulse.app.pipeline.source_log import open_log
from marketpulse.app.pipeline.vendors import open_polled, open_timed
from marketpulse.app.selecting.groups import topic_of
from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import Fatal, Retryable
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
    KafkaSourceSettings,
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
_FIRST_ROWS = {"stdin": "rows on standard input", "http": "the first rows that are pushed"}
T = TypeVar("T")


def run(
    settings: Settings, life: Lifecycle, source_settings: AnySource, name: str, *, again: bool = False,
    report: Report | None = None, wait: bool = True,
) -> int:  # fmt: skip
    """Feed the source called `name` into `market` (or `feeds`, where others stand in for it) until it ends or `life.stop`; returns the exit code.

    `again`: begin at the source's start although it was replayed before, as a run of its own. With a `report` that is
    shown, what became of the rows is said at the end (`wait`: by the engine too), and the code is 1 where some were refused.
    """
    clock, report = SystemClock(), report or Report(name, shown=False)
    source_settings = _for_the_archive(source_settings, settings)
    source, resumable = open_source(settings, source_settings, name, clock, life.health.beat)
    carried = source_name(source_settings.kind, name)
    topic = topic_of(settings, name)
    log = open_log(settings, life, source, carried, resumable=resumable, clock=clock, topic=topic)
    first = _FIRST_ROWS.get(source_settings.kind, "its first rows")
    if isinstance(source_settings, KafkaSourceSettings):
        first = f"the first message of the topic {source_settings.topic}"
    production = Production(settings, life, source, log, name, clock, resumable, report, first)
    try:
        with contextlib.ExitStack() as stack:
            if report.shown and wait and topic == "market":
                production.open_engine_side = lambda: stack.enter_context(
                    contextlib.closing(EngineSide(settings, carried, log.sender))
                )
            return production.run(again)
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
            claims=None if name in settings.sources else settings.data_dir / "fed" / settings.topic("market"),
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
    return KafkaTopicSource(source_settings, topic, carried, engine, name=name, clock=clock, alive=alive), True


def _for_the_archive(source_settings: AnySource, settings: Settings) -> AnySource:
    """Columns that only the archive can show are carried where there is one, unless it is said otherwise."""
    mapping = getattr(source_settings, "mapping", None)
    if mapping is None or mapping.extra_columns is not None:
        return source_settings
    carries = mapping.model_copy(update={"extra_columns": settings.sinks.archive.enabled})
    return source_settings.model_copy(update={"mapping": carries})


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
    report: Report
    first_rows: str  # what is waited for at first
    open_engine_side: Callable[[], EngineSide] | None = None
    introduced: bool = False  # hello stands in the log
    noted: str = ""  # what people were told of the source
    unknown: str = ""  # why the engine's side is

    def run(self, again: bool) -> int:
        self.report.waits_for(self.first_rows)
        position = self._patiently(self.log.last_position) if self.resumable else None
        hello = self._patiently(lambda: self.source.start(self._again(position) if again else position), starting=True)
        if hello is None:
            return 0  # asked to stop while the broker was away
        if isinstance(self.source, ReplaySource) and self.source.left_out:
            names = ", ".join(self.source.left_out)
            self._say(
                f"{self.name}: left out, fed in by another run: {names}; use --again to feed in all files once more"
            )
        if _finished_before(self.source):
            self._say(f"{self.name} was replayed completely before; use --again to feed it in once more")
            get_logger().warning("replayed_completely_before", source=self.name, todo="use --again")
            self.life.announce(source=hello.source, ended=True)
            return 0
        self._announce(hello)
        engine = self._open_engine_side()
        ended = self._pump(hello)
        self.report.waits_for("the broker to acknowledge the rows")
        durable = self._close(ended, hello)
        taken = self._conclude(engine, durable)
        return GOOD if taken or not self.report.shown else FAILED

    def _open_engine_side(self) -> EngineSide | None:
        """What shows what the engine does with our rows, opened before the first of them; None where nobody wants to know,
        where we may not look, or where the broker does not answer a feed that does not wait for it."""
        if self.open_engine_side is None:
            return None
        try:
            waits = not isinstance(self.log, SpooledLog)
            return self._patiently(self.open_engine_side) if waits else self.open_engine_side()
        except (Retryable, Fatal) as error:
            self.unknown = f"what the engine does with them is not known: {error}"
            return None

    def _conclude(self, engine: EngineSide | None, durable: bool) -> bool:
        """Say what became of the rows; whether none was refused."""
        report, why = self.report, self.unknown
        if not durable:
            why = "the broker is away, and has not acknowledged all of them"
        elif engine is not None and report.sent:
            try:
                why = engine.wait(report, self.life)
                if not why:
                    return summarise(report, engine.fates(report.sent))
            except (Retryable, Fatal) as error:
                why = f"what the engine did with them is not known: {error}"
        return summarise(report, None, why)

    def _announce(self, hello: Hello) -> None:
        """Say that the source works, and of a topic what its rows were understood to be."""
        facts = {"ingest_url": self.source.url} if isinstance(self.source, HttpSource) else {}
        if isinstance(self.source, KafkaTopicSource) and self.source.note:
            facts["note"] = self.noted = self.source.note
            self._say(f"{self.name}: {self.noted}")
        self.life.announce(source=hello.source, mode=hello.mode, simulated=hello.simulated, **facts)

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
        if isinstance(self.source, ReplaySource):
            self.report.total = self.source.rows_left()
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
                if isinstance(self.source, KafkaTopicSource) and self.source.note != self.noted:
                    self._announce(hello)
                self.report.waits_for(None)
                self.report.take(polled)
                if not self._answered():
                    break
            if polled.ended:
                return True
            if self.clock.monotonic() >= next_beat:
                next_beat = self.clock.monotonic() + beat_s
                self._beat(hello.source)
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

    def _close(self, ended: bool, hello: Hello) -> bool:
        """Say goodbye with what can be promised, and make everything durable; whether that is so.

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
            return False
        return True

    def _patiently(self, call: Callable[[], T], *, starting: bool = False) -> T | None:
        """The call's answer, asked for again with growing pauses while the far end is away; None: stop.

        The reason is logged once, and again at growing intervals, or the report says it; while `starting`, `up` shows it.
        """
        wait = _FIRST_WAIT_S
        waited = False
        reminder = _Reminder(self.clock)
        while True:
            try:
                answer = call()
            except Retryable as error:
                SOURCE_ERRORS.labels(self.name).inc()
                if starting and wait >= _START_GRACE_S:
                    self.life.report_waiting(str(error))
                else:
                    self.life.health.set_not_ready(str(error))
                self.report.waits_for(str(error))
                if reminder.is_due(str(error)) and not self.report.shown:
                    get_logger().warning("waiting", source=self.name, error=str(error), retry_in_s=round(wait, 1))
                self.life.stop.wait(wait * random.uniform(0.5, 1.5))
                wait, waited = min(2 * wait, _LONGEST_WAIT_S), True
                if self.life.stop.is_set():
                    return None
            else:
                if waited:
                    self.life.health.set_ready()
                    self.report.waits_for(None if self.introduced else self.first_rows)
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
