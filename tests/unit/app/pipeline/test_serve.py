"""`serve` in a thread with a feed that a test moves, the step for Spark, and vendors as sources with their sender."""

import io
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from board_rows import bars, row
from marketpulse import settings as tree
from marketpulse.app.engine_config import engine_config
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.produce import _Reminder
from marketpulse.app.pipeline.report import Fates, Refused, Report, summarise
from marketpulse.app.pipeline.serve import as_far_as_possible, serve_feed
from marketpulse.app.pipeline.spark import make_step
from marketpulse.app.pipeline.vendors import open_polled, open_timed
from marketpulse.app.pipeline.verify import Pace
from marketpulse.clock import ManualClock
from marketpulse.engine.checkpoint import computation
from marketpulse.errors import Fatal, MarketPulseError, QueryRefused, Retryable, SettingsError
from marketpulse.kafka.source_counts import SourceCount
from marketpulse.ports import FeedBatch, PipelineStats, Polled, RejectedInput
from marketpulse.settings import AlphaVantageSettings, Settings, YahooSettings
from marketpulse.sources.rest.polled import PolledSource
from marketpulse.telemetry import Health, TelemetryServer
from moving_feed import MovingFeed
from refused import assert_raises
from vendor_server import Reply, VendorServer, recorded, scripted, vendor
from waiting import wait_until


@pytest.fixture(autouse=True)
def _counts_of_other_tests_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of the same process, and its server's health would have them."""
    monkeypatch.setattr("marketpulse.telemetry.metrics_text", lambda: (b"", "text/plain"))


class Running:
    """`serve` in a thread, until it is told to stop."""

    def __init__(self, feed: Any, folder: Path, stored: Iterable[FeedBatch] = ()) -> None:
        health = Health()
        self._telemetry = TelemetryServer(health)
        self.life = Lifecycle("serve", threading.Event(), health, folder / "run" / "serve.json", self._telemetry.port)
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
        finally:
            self._telemetry.close()

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


def test_stored_rows_are_shown_before_the_feed_brings_any_and_a_fault_in_them_is_outlived(tmp_path: Path) -> None:
    def stored() -> Iterator[FeedBatch]:
        yield bars(*(row("AAPL", "1m", 60 * i, 10.0) for i in range(300)))
        raise QueryRefused("the query took longer than 5 s")

    running = Running(Silent(symbols=2, history=30), tmp_path, as_far_as_possible(stored()))
    running.health_until("ok")
    assert running.bars() == 300
    assert running.stop() is None


class Silent(MovingFeed):
    """A feed that brings nothing."""

    def batches(self, timeout_s: float) -> Iterator[FeedBatch]:
        time.sleep(timeout_s)
        yield from ()


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
    running.health_until("down")
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


VENDORS_KEY = "K3Y-OF-THE-VENDOR"
NOW_NS = 1_772_463_600 * 10**9  # a Monday, 10:00 in New York


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(data_dir=tmp_path, keys={"alpha_vantage": SecretStr(VENDORS_KEY)}, **more)


def opened(tree: Settings, source: AlphaVantageSettings | YahooSettings) -> PolledSource:
    return open_polled(tree, source, source.kind, ManualClock(NOW_NS), lambda: None)


def polled(tree: Settings, source: AlphaVantageSettings | YahooSettings) -> tuple[PolledSource, Polled]:
    """A source that has started, and what it gives first."""
    started = opened(tree, source)
    started.start(None)
    return started, started.poll(0.0)


def quotes(server: VendorServer, symbols: tuple[str, ...], **more: Any) -> AlphaVantageSettings:
    return AlphaVantageSettings(symbols=symbols, function="quote", base_url=server.url, **more)


def test_alpha_vantage_is_asked_with_the_key_within_its_budget_which_no_restart_overdraws(tmp_path: Path) -> None:
    with vendor(scripted(Reply.json(recorded("global_quote")))) as server:
        _, answer = polled(settings(tmp_path), quotes(server, ("MSFT",)))
        assert [row["close"] for row in answer.batches[0].to_pylist()] == [112.13]
        assert server.requests[0].parameters == {"function": "GLOBAL_QUOTE", "symbol": "MSFT", "apikey": VENDORS_KEY}
    (file,) = (tmp_path / "budgets").iterdir()
    assert '"spent": 1' in file.read_text()
    assert VENDORS_KEY not in file.name + file.read_text()
    with vendor(scripted(Reply.json(recorded("global_quote")))) as server:
        for _ in range(9):
            polled(
                settings(tmp_path / "again"),
                quotes(server, ("MSFT", "IBM"), requests_per_day=4, requests_per_minute=50),
            )
        assert len(server.requests) == 2, "a first look at both; of the day's other two none is free at 10:00"


@pytest.mark.parametrize("source", [
    AlphaVantageSettings(symbols=("IBM",), function="intraday", interval="15min"), YahooSettings(symbols=("IBM",), interval="15m"),
])  # fmt: skip
def test_bars_that_the_engine_does_not_build_are_said_at_once(tmp_path: Path, source: Any) -> None:
    assert_raises(SettingsError, r"add 15m to it", opened, settings(tmp_path), source)
    opened(settings(tmp_path, engine={"timeframes": ("1m", "15m")}), source).close()


def test_yahoo_needs_no_key_and_alpha_vantage_without_one_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"set API_KEY in the environment or in \.env"):
        opened(Settings(data_dir=tmp_path, keys={"alpha_vantage": None}), AlphaVantageSettings(symbols=("IBM",)))
    with vendor(scripted(Reply.json({"chart": {"result": None}}, 404))) as server:
        source, answer = polled(Settings(data_dir=tmp_path), YahooSettings(symbols=("IBM",), base_url=server.url))
        assert not answer.rejected, "that there are no splits of it is only logged"
        assert [item.reason for item in source.poll(0.0).rejected] == ["bad_answer"]
        assert "marketpulse" in server.requests[0].headers["user-agent"]
    assert not (tmp_path / "budgets").exists()


@pytest.mark.parametrize(("source", "variable"), [
    (tree.AlpacaSettings(symbols=("IBM",)), "APCA_API_KEY_ID"), (tree.PolygonSettings(symbols=("IBM",)), "POLYGON_API_KEY"),
    (tree.FinnhubSettings(symbols=("IBM",)), "FINNHUB_API_KEY"),
])  # fmt: skip
def test_a_feed_without_its_key_says_which_one_it_wants(tmp_path: Path, source: Any, variable: str) -> None:
    clock = ManualClock(NOW_NS)
    assert_raises(SettingsError, variable, open_timed, Settings(data_dir=tmp_path, keys={}), source, source.kind, clock)
    keys = dict.fromkeys(("alpaca", "alpaca_secret", "polygon", "finnhub"), SecretStr(VENDORS_KEY))
    opened = open_timed(Settings(data_dir=tmp_path, keys=keys), source, source.kind, clock)
    assert opened.trading(NOW_NS, NOW_NS)
    assert VENDORS_KEY not in repr(opened)


def test_a_reason_is_logged_when_it_is_new_and_then_at_growing_intervals() -> None:
    clock = ManualClock()
    reminder = _Reminder(clock)
    logged: list[int] = []
    for second in range(2_000):
        if reminder.is_due("no topic"):
            logged.append(second)
        clock.sleep(1)
    assert logged == [0, 5, 15, 35, 75, 155, 315, 635, 1235, 1835]  # 5, 10, 20 … 600 seconds between them
    assert reminder.is_due("the broker is away")
    assert not reminder.is_due("the broker is away")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("out", "rate"), [(io.StringIO(), 1_500), (Terminal(), 300)], ids=["pipe", "terminal"])
def test_a_sender_says_what_it_awaits_after_a_second_and_progress_seldom_on_pipes(out: io.StringIO, rate: int) -> None:
    clock = ManualClock()
    report = Report("am", shown=True, out=out, clock=clock)
    report.waits_for("the broker")
    for quarter in range(1, 69):
        clock.sleep(0.25)
        report.turn()
        assert (quarter < 4) == (out.getvalue() == ""), "nothing for a second"
        if quarter == 48:
            report.waits_for(None)
            report.take(Polled(rejected=[RejectedInput("bad_price", "price is -1", "am.csv", 7, b"AAA,-1")]))
            report.sent, report.total = 1_500, 2_000
    engine_refused = Refused()
    for offset in range(4):
        engine_refused.take("too_late", "the bar has closed", f"market/0@{offset}", "{}")
    assert not summarise(report, Fates(SourceCount("", 1_500, 3, 2, 4, 9), 0, engine_refused))
    lines = out.getvalue().replace("\r\x1b[K", "\n" * out.isatty()).splitlines()
    waited = {f"am: waiting for the broker ({seconds} s)" for seconds in (1, 11)}
    assert {*waited, f"am: 1,500 of 2,000 rows sent, {rate:,} rows/s"} <= set(lines)
    assert len(lines) == 9 if not out.isatty() else len(lines) > 60
    assert lines[-6:] == [
        "am: 1,501 rows read, 1,500 sent; the engine has accepted 1,493, 2 came late and revised their bars; 3 duplicates, 5 dead letters",
        "  too_late 4: the bar has closed; such as market/0@0: {}",
        "  bad_price 1: price is -1; such as am.csv, row 7: AAA,-1",
        "  `marketpulse heal` brings trades that came too late into their bars",
        "  all of them: marketpulse tail dead-letters --from-beginning --no-follow",
        "  9 rows came behind the correction window: `marketpulse up` brings them in by itself within a minute",
    ]  # fmt: skip
