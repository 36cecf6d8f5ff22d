"""A live feed while the broker is dead and its place on the disk is full: what is overrun is missed, said and asked for again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from bare_clients import BareTopic
from exchange_server import Exchange, running
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import CoinbaseSettings, Settings
from marketpulse.sources.streaming.connection import QUEUE_MAX
from marketpulse.telemetry import read_metrics

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


def test_what_a_full_disk_had_no_room_for_is_asked_for_again_and_stands_in_the_log_once(
    tmp_path: Path, broker_cache: Path
) -> None:
    own = Settings(
        data_dir=tmp_path / "own", cache_dir=broker_cache, broker={"heap_mb": 192},
        kafka={"partitions": 3, "producer": {"spool_mb": 1}},
    )  # fmt: skip
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))}
    exchange = Talkative()
    with EmbeddedBroker(own) as broker, running(exchange):
        settings = connected_to(own, broker.bootstrap)
        ensure_topics(settings)
        source = CoinbaseSettings(symbols=PRODUCTS, url=exchange.url, rest_url=exchange.rest_url, silence_s=30)
        command = [sys.executable, "-c", CHILD, settings.model_dump_json(), source.model_dump_json()]
        child = subprocess.Popen(command, env=clean, cwd=tmp_path)

        def until(holds: Callable[[], bool]) -> None:
            while not holds():
                assert child.poll() is None, "it goes on by itself while the broker is dead and the disk full"
                time.sleep(0.2)

        until(lambda: metric(settings, "rows_produced") > 200)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        assert broker.wait(30)
        until(lambda: metric(settings, "spool_refused") > 0)  # 1. the disk is full
        exchange.talk.set()
        until(exchange.talked.is_set)
        until(lambda: metric(settings, "stream_overrun") > 500)  # 2. and so is the memory
        lost_until = exchange.happened
        broker.start()
        until(lambda: metric(settings, "spool_rows") == 0)
        until(lambda: exchange.happened > lost_until + 500)  # 3. the feed brings what shows that some are missing
        exchange.stop_trading()
        until(lambda: metric(settings, "stream_missing_trades") > 0)
        spool = settings.data_dir / "spool" / "coinbase.sqlite"

        def trades() -> int:
            return sum(row["type"] == "trade" for row in rows())

        def rows() -> list[dict[str, object]]:
            return [record.row for record in BareTopic.of(settings, "market").committed()]

        until(lambda: not spool.exists())
        until(lambda: trades() >= len(exchange.known()))
        child.send_signal(signal.SIGTERM)
        assert child.wait(40) == 0
        found = rows()
    happened = exchange.known()
    assert sorted(
        (str(r["symbol"]), int(str(r["trade_id"])), r["price"], r["size"]) for r in found if r["type"] == "trade"
    ) == sorted((product, number, float(price), float(size)) for product, number, _, price, size in happened)
    gaps = [row for row in found if row["type"] == "gap"]
    assert {str(gap["state"]) for gap in gaps} == {"found", "healed"}, json.dumps(gaps[:3])
    assert sum(int(str(gap["trades"])) for gap in gaps if gap["state"] == "healed") > 100
