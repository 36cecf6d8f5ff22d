"""A live feed while the real broker is dead: it is read on, its rows wait on the disk, and each stands in the log once."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bare_clients import BareTopic
from exchange_server import Exchange, running
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.polled_bytes import from_bytes
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import CoinbaseSettings, Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(280)]

CHILD = """
import sys
from marketpulse.app.lifecycle import lifecycle
from marketpulse.app.pipeline.produce import run
from marketpulse.settings import CoinbaseSettings, Settings
settings = Settings.model_validate_json(sys.argv[1])
with lifecycle(settings, "produce-coinbase") as life:
    raise SystemExit(run(settings, life, CoinbaseSettings.model_validate_json(sys.argv[2]), "coinbase"))
"""
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")


def waiting(spool: Path) -> set[tuple[str, int]]:
    """(symbol, trade id) of what lies on the disk, read as another process reads it."""
    if not spool.exists():
        return set()
    found: set[tuple[str, int]] = set()
    try:
        with sqlite3.connect(f"file:{spool}?mode=ro", uri=True) as file:
            bodies = file.execute("SELECT body FROM entries").fetchall()
    except sqlite3.OperationalError:  # it has just gone
        return set()
    for (body,) in bodies:
        for batch in from_bytes(body).batches:
            if "trade_id" in batch.schema.names:
                names = (batch.column("symbol").to_pylist(), batch.column("trade_id").to_pylist())
                found |= {(symbol, int(number)) for symbol, number in zip(*names, strict=True)}
    return found


class Reader:
    """Counts committed trades while the log grows: a reader that waits for its end would never see one."""

    def __init__(self, settings: Settings) -> None:
        self.consumer = Consumer({
            "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "counting", "isolation.level": "read_committed",
            "enable.auto.commit": False, "log_level": 0,
        })  # fmt: skip
        partitions = range(settings.kafka.partitions)
        self.consumer.assign([TopicPartition(settings.topic("market"), p, OFFSET_BEGINNING) for p in partitions])
        self.count = 0

    def trades(self) -> int:
        while (message := self.consumer.poll(0.05)) is not None:
            if message.error() is None:
                self.count += b'"type":"trade"' in (message.value() or b"")
        return self.count


def test_a_dead_broker_and_a_feed_that_is_killed_meanwhile_leave_every_trade_once(
    tmp_path: Path, broker_cache: Path
) -> None:
    own = Settings(data_dir=tmp_path / "own", cache_dir=broker_cache, broker={"heap_mb": 192}, kafka={"partitions": 3})
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))}
    exchange = Exchange("coinbase", PRODUCTS, 60_000, seed=5, every_s=0.004)
    with EmbeddedBroker(own) as broker, running(exchange):
        settings = connected_to(own, broker.bootstrap)
        ensure_topics(settings)
        source = CoinbaseSettings(symbols=PRODUCTS, url=exchange.url, rest_url=exchange.rest_url, silence_s=5)
        command = [sys.executable, "-c", CHILD, settings.model_dump_json(), source.model_dump_json()]
        spool = settings.data_dir / "spool" / "coinbase.sqlite"

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, env=clean, cwd=tmp_path)

        log = Reader(settings)

        def until(holds: Callable[[], bool]) -> None:
            while not holds():
                assert child.poll() is None, "it goes on by itself while the broker is dead"
                time.sleep(0.2)

        child = start()
        until(lambda: log.trades() > 200)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        assert broker.wait(30)
        until(lambda: len(waiting(spool)) > 1_000)
        child.kill()
        child.wait()
        first = waiting(spool)
        child = start()  # without a broker
        until(lambda: len(waiting(spool)) > len(first) + 500)
        kept = waiting(spool)
        assert first <= kept
        broker.start()
        until(lambda: len(waiting(spool) & kept) < len(kept))
        child.kill()  # between what stands in the log and what is dropped from the disk
        child.wait()
        child = start()
        until(lambda: not spool.exists())
        exchange.stop_trading()
        time.sleep(0.1)
        until(lambda: log.trades() >= len(exchange.known()))
        log.consumer.close()
        child.send_signal(signal.SIGTERM)
        assert child.wait(40) == 0
        found = [record.row for record in BareTopic.of(settings, "market").committed()]
    trades = [row for row in found if row["type"] == "trade"]
    happened = exchange.known()
    assert sorted((str(r["symbol"]), int(str(r["trade_id"])), r["price"], r["size"]) for r in trades) == sorted(
        (product, number, float(price), float(size)) for product, number, _, price, size in happened
    )
    asked_for = {
        (str(row["symbol"]), number)
        for row in found
        if row["type"] == "gap"
        for number in range(int(str(row["from_id"])), int(str(row["to_id"])) + 1)
    }
    assert asked_for, "the vendor was asked for what traded while nobody listened"
    assert not asked_for & first, "and never for what lay on the disk"
