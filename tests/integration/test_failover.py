"""Sources on the real broker: two of the same symbols and `select` between them, whose processes are killed, and a live feed
whose process is killed, the broker dies, the disk is full: each trade is there once."""

import json
import os
import random
import signal
import sqlite3
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from websockets.sync.server import ServerConnection

from bare_clients import BareTopic
from exchange_server import Exchange, running
from feed_processes import assert_every_trade_is_there_once, coinbase, produce, select
from forked import Forked
from given_settings import outside
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.polled_bytes import from_bytes
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from marketpulse.sources.streaming.connection import QUEUE_MAX
from marketpulse.telemetry import read_metrics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("kernels")]

FIRST, SECOND = "simulate-first", "simulate-second"
Row = dict[str, Any]


class Stage:
    """The processes of a test, each killed and started by its name."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self._folder = settings, folder
        self._running: dict[str, Forked] = {}

    def start(self, *names: str) -> None:
        for name in names:
            work = (select,) if name == "select" else (produce, self.settings.sources[name], name)
            self._running[name] = Forked(
                work[0], self.settings, *work[1:], environment=outside(), cwd=self._folder,
                output=self._folder / f"{name}.log",
            )  # fmt: skip

    def kill(self, name: str) -> None:
        self._running[name].kill()
        self._running.pop(name).wait()

    def stop(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGTERM)
        assert self._running.pop(name).wait(60) == 0, self.said()

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def said(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self._folder.glob("*.log"))

    def rows(self, topic: str = "market") -> list[Row]:
        """Every committed record, partition after partition."""
        found: list[Row] = []
        for record in BareTopic.of(self.settings, topic).committed():
            if record.value.startswith(b"{"):
                found.append(record.row)
            else:
                rows = pa.ipc.open_stream(record.value).read_all().to_pylist()
                found += [{name: value for name, value in row.items() if value is not None} for row in rows]
        return found

    def switches(self) -> list[Row]:
        return [row for row in self.rows() if row["type"] == "switch"]

    def until(self, what: str, condition: Callable[[], Any], within_s: float = 150) -> None:
        give_up = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < give_up, f"not within {within_s} s: {what}\n{self.said()}"
            time.sleep(1)


@pytest.fixture(params=["json", "arrow"])
def stage(kafka_settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    settings = Settings.model_validate({
        **kafka_settings.model_dump(),
        "kafka": {**kafka_settings.kafka.model_dump(), "wire": request.param},
        "sources": {
            "first": {"kind": "simulate", "symbols": 4, "rate": 40, "quotes": False, "seed": 1},
            "second": {"kind": "simulate", "symbols": 4, "rate": 40, "quotes": False, "seed": 2},
        },
        "failover": {
            "groups": {"both": {"sources": ["first", "second"]}},
            "after_s": 20, "lost_after_s": 4, "back_after_s": 1, "snapshot_records": 500,
        },
    })  # fmt: skip
    ensure_topics(settings)
    running = Stage(settings, tmp_path)
    try:
        yield running
    finally:
        running.end()


def owners(switches: list[Row]) -> dict[str, list[tuple[int, str]]]:
    """By symbol: from which event time on it is whose, as the `switch` records say it."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(lambda: [(0, FIRST)])
    for row in switches:
        stretches = found[row["symbol"]]
        while stretches and stretches[-1][0] >= row["event_time_ns"]:
            stretches.pop()
        stretches.append((row["event_time_ns"], row["source"]))
    return found


def owner_at(stretches: list[tuple[int, str]], time_ns: int) -> str:
    return next(source for begins, source in reversed(stretches) if begins <= time_ns)


def test_whoever_dies_each_trade_of_its_times_owner_stands_in_the_log_once(stage: Stage) -> None:
    def all_of(source: str) -> bool:
        symbols = {row["symbol"] for row in stage.rows() if row["type"] == "trade"}
        stretches = owners(stage.switches())
        return len(symbols) == 4 and all(stretches[symbol][-1][1] == source for symbol in symbols)

    stage.start("first", "second", "select")
    stage.until("the first feeds all", lambda: all_of(FIRST))
    stage.kill("select")
    time.sleep(1)
    stage.start("select")
    time.sleep(3)
    stage.kill("first")
    stage.until("the second took over", lambda: all_of(SECOND))
    stage.kill("select")
    stage.start("select", "first")
    stage.until("the first is back", lambda: all_of(FIRST))
    time.sleep(2)
    stage.kill("select")
    stage.stop("first")
    stage.stop("second")
    stage.start("select")
    stage.until("all is taken", lambda: _taken(stage))
    stage.stop("select")
    market, feeds = stage.rows(), stage.rows("feeds")
    stretches = owners(stage.switches())
    came = [row for row in market if row["type"] == "trade"]
    assert {row["source"] for row in came} == {FIRST, SECOND}
    expected = [
        row for row in feeds
        if row["type"] == "trade" and owner_at(stretches[row["symbol"]], row["event_time_ns"]) == row["source"]
    ]  # fmt: skip
    assert sorted(map(_text, came)) == sorted(map(_text, expected))
    assert {row["reason"] for row in stage.switches()} <= {"lost", "quiet", "back", "goodbye"}
    assert {row["source"] for row in market if row["type"] == "heartbeat"} == {FIRST, SECOND}


def _text(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def _taken(stage: Stage) -> bool:
    """Whether the goodbyes, which were written last, have come through in all partitions."""
    return len([row for row in stage.rows() if row["type"] == "goodbye"]) >= 2 * stage.settings.kafka.partitions


PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")


def test_a_feed_that_is_killed_and_faulty_brings_every_trade_exactly_once(kafka_settings: Settings) -> None:
    pause = random.Random(3)
    faulty = Exchange("coinbase", PRODUCTS, 6_000, seed=11, fault_rate=0.002, every_s=0.002)
    with running(faulty) as exchange, coinbase(exchange, kafka_settings, PRODUCTS, silence_s=2) as feed:
        for wanted in (500, 500, 500, None):
            there, before = len(feed.rows("trade")), exchange.connections
            feed.start()
            enough = len(exchange.tape) if wanted is None else min(there + wanted, len(exchange.tape))
            feed.until(lambda before=before: exchange.connections > before, "it is connected")  # type: ignore[misc]
            feed.until(lambda enough=enough: len(feed.so_far("trade")) >= enough, f"{enough} trades")  # type: ignore[misc]
            if wanted is not None:
                time.sleep(pause.uniform(0, 1))  # somewhere in its work
                feed.kill()
        feed.until(lambda: "healed" in {gap["state"] for gap in feed.so_far("gap")}, "the last gap is healed")
        feed.stop()
        assert_every_trade_is_there_once(feed.rows("trade"), exchange.tape)
        gaps = feed.rows("gap")
    assert {gap["state"] for gap in gaps} == {"found", "healed"}, json.dumps(gaps[:3])
    assert exchange.connections >= 4


@contextmanager
def own_broker(folder: Path, cache: Path, **kafka: Any) -> Iterator[tuple[EmbeddedBroker, Settings]]:
    """A broker that may be killed, and settings for it."""
    own = Settings(data_dir=folder / "own", cache_dir=cache, broker={"heap_mb": 192}, kafka={"partitions": 3, **kafka})
    with EmbeddedBroker(own) as broker:
        settings = connected_to(own, broker.bootstrap)
        ensure_topics(settings)
        yield broker, settings


def kill(broker: EmbeddedBroker) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    assert broker.wait(30)


def waiting(spool: Path) -> set[tuple[str, int]]:
    """(symbol, trade id) of what lies on the disk, read as another process reads it."""
    found: set[tuple[str, int]] = set()
    try:
        with sqlite3.connect(f"file:{spool}?mode=ro", uri=True) as file:
            bodies = file.execute("SELECT body FROM entries").fetchall()
    except sqlite3.OperationalError:  # there is none, or it has just gone
        return found
    for (body,) in bodies:
        for batch in from_bytes(body).batches:
            if "trade_id" in batch.schema.names:
                names = (batch.column("symbol").to_pylist(), batch.column("trade_id").to_pylist())
                found |= {(symbol, int(number)) for symbol, number in zip(*names, strict=True)}
    return found


class Reader:
    """Counts committed trades while the log grows: a reader that waits for its end would never see one."""

    def __init__(self, settings: Settings) -> None:
        who = {"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "counting", "log_level": 0}
        self.consumer = Consumer({**who, "isolation.level": "read_committed", "enable.auto.commit": False})
        partitions = range(settings.kafka.partitions)
        self.consumer.assign([TopicPartition(settings.topic("market"), p, OFFSET_BEGINNING) for p in partitions])
        self.count = 0

    def trades(self) -> int:
        while (message := self.consumer.poll(0.05)) is not None:
            if message.error() is None:
                self.count += b'"type":"trade"' in (message.value() or b"")
        return self.count


def test_a_dead_broker_and_a_feed_killed_meanwhile_leave_every_trade_once(tmp_path: Path, broker_cache: Path) -> None:
    exchange = Exchange("coinbase", PRODUCTS, 60_000, seed=5, every_s=0.004)
    with (
        own_broker(tmp_path, broker_cache) as (broker, settings),
        running(exchange),
        coinbase(exchange, settings, PRODUCTS, silence_s=5) as feed,
    ):
        spool, log = settings.data_dir / "spool" / "coinbase.sqlite", Reader(settings)
        feed.start()
        feed.until(lambda: log.trades() > 200, "trades come")
        kill(broker)
        feed.until(lambda: len(waiting(spool)) > 1_000, "trades wait on the disk")
        feed.kill()
        first = waiting(spool)
        feed.start()  # without a broker
        feed.until(lambda: len(waiting(spool)) > len(first) + 500, "more of them wait")
        kept = waiting(spool)
        assert first <= kept
        broker.start()
        feed.until(lambda: len(waiting(spool) & kept) < len(kept), "the first have gone")
        feed.kill()  # between what stands in the log and what is dropped from the disk
        feed.start()
        feed.until(lambda: not spool.exists(), "nothing waits")
        exchange.stop_trading()
        feed.until(lambda: log.trades() >= len(exchange.known()), "every trade is in the log")
        log.consumer.close()
        feed.stop()
        assert_every_trade_is_there_once(feed.rows("trade"), exchange.known())
        gaps = feed.rows("gap")
    asked_for = {(g["symbol"], number) for g in gaps for number in range(int(g["from_id"]), int(g["to_id"]) + 1)}
    assert asked_for, "the vendor was asked for what traded while nobody listened"
    assert not asked_for & first, "and never for what lay on the disk"


class Talkative(Exchange):
    """Once it is told to, it says more than a feed that does not read on can keep in memory: then trades are lost."""

    def __init__(self) -> None:
        super().__init__("coinbase", PRODUCTS, 200_000, seed=9, every_s=0.001)
        self.talk = threading.Event()
        self.talked = threading.Event()

    def send_one(self, socket: ServerConnection, known: list[Any], i: int, rng: Any) -> int:
        if self.talk.is_set() and not self.talked.is_set():
            beat = {"type": "heartbeat", "sequence": 1, "last_trade_id": self.first_id, "product_id": known[i][0]}
            said = json.dumps({**beat, "time": "2026-01-02T03:04:05.000000Z"})
            for _ in range(QUEUE_MAX + 1_000):
                socket.send(said)
            self.talked.set()
        return super().send_one(socket, known, i, rng)


def metric(settings: Settings, name: str) -> float:
    """A sum over the samples of the source's process; 0 while it has no address yet."""
    try:
        port = json.loads((settings.data_dir / "run" / "produce-coinbase.json").read_text())["metrics_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return sum(value for found, _, value in read_metrics(answer.read().decode()) if found == name)
    except (OSError, ValueError, KeyError):
        return 0.0


def test_what_a_full_disk_had_no_room_for_is_asked_for_again_and_kept_once(tmp_path: Path, broker_cache: Path) -> None:
    exchange = Talkative()
    with (
        own_broker(tmp_path, broker_cache, producer={"spool_mb": 1}) as (broker, settings),
        running(exchange),
        coinbase(exchange, settings, PRODUCTS, silence_s=30) as feed,
    ):
        feed.start()
        feed.until(lambda: metric(settings, "rows_produced") > 200, "trades come")
        kill(broker)
        feed.until(lambda: metric(settings, "spool_refused") > 0, "1. the disk is full")
        exchange.talk.set()
        feed.until(exchange.talked.is_set, "it says too much")
        feed.until(lambda: metric(settings, "stream_overrun") > 500, "2. and so is the memory")
        lost_until = exchange.happened
        broker.start()
        feed.until(lambda: metric(settings, "spool_rows") == 0, "the disk is free")
        feed.until(lambda: exchange.happened > lost_until + 500, "3. the feed brings what shows that some are missing")
        exchange.stop_trading()
        feed.until(lambda: metric(settings, "stream_missing_trades") > 0, "they are missed")
        feed.until(lambda: not (settings.data_dir / "spool" / "coinbase.sqlite").exists(), "nothing waits")
        feed.until(lambda: len(feed.so_far("trade")) >= len(exchange.known()), "every trade is in the log")
        feed.stop()
        assert_every_trade_is_there_once(feed.rows("trade"), exchange.known())
        gaps = feed.rows("gap")
    assert {str(gap["state"]) for gap in gaps} == {"found", "healed"}, json.dumps(gaps[:3])
    assert sum(int(gap["trades"]) for gap in gaps if gap["state"] == "healed") > 100
