"""A live feed whose process is killed, the broker dies, the disk is full: each trade is in the real broker once."""

import json
import os
import random
import signal
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from websockets.sync.server import ServerConnection

from exchange_server import Exchange, running
from feed_processes import assert_every_trade_is_there_once, coinbase
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.polled_bytes import from_bytes
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import Settings
from marketpulse.sources.streaming.connection import QUEUE_MAX
from marketpulse.telemetry import read_metrics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(280)]

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
