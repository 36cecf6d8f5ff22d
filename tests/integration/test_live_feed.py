"""A live feed into the real broker, its process killed again and again: each trade stands in the log once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bare_clients import BareTopic
from exchange_server import Exchange, running
from marketpulse.settings import CoinbaseSettings, Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CHILD = """
import sys
from marketpulse.app.lifecycle import lifecycle
from marketpulse.app.pipeline.produce import run
from marketpulse.settings import CoinbaseSettings, Settings
settings = Settings.model_validate_json(sys.argv[1])
with lifecycle(settings, "produce-coinbase") as life:
    raise SystemExit(run(settings, life, CoinbaseSettings.model_validate_json(sys.argv[2]), "coinbase"))
"""


def test_a_feed_that_is_killed_and_faulty_brings_every_trade_exactly_once(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    products = ("BTC-USD", "ETH-USD", "SOL-USD")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))}
    pause = random.Random(3)
    with running(Exchange("coinbase", products, 6_000, seed=11, fault_rate=0.002, every_s=0.002)) as exchange:
        source = CoinbaseSettings(symbols=products, url=exchange.url, rest_url=exchange.rest_url, silence_s=2)
        command = [sys.executable, "-c", CHILD, kafka_settings.model_dump_json(), source.model_dump_json()]

        def rows() -> list[dict[str, object]]:
            return [record.row for record in BareTopic.of(kafka_settings, "market").committed()]

        def trades() -> int:
            return sum(row["type"] == "trade" for row in rows())

        for kill in range(4):
            child = subprocess.Popen(command, env=clean, cwd=tmp_path)
            before = exchange.connections
            wanted = min(trades() + 500, len(exchange.tape)) if kill < 3 else len(exchange.tape)
            while exchange.connections == before or trades() < wanted:
                assert child.poll() is None, "it goes on by itself through every fault of the feed"
                time.sleep(0.5)
            if kill < 3:
                time.sleep(pause.uniform(0, 1))
                child.send_signal(signal.SIGKILL)
                child.wait()
        time.sleep(2)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    found = [row for row in rows() if row["type"] == "trade"]
    assert sorted((str(r["symbol"]), int(str(r["trade_id"])), r["price"], r["size"]) for r in found) == sorted(
        (product, number, float(price), float(size)) for product, number, _, price, size in exchange.tape
    )
    gaps = [row for row in rows() if row["type"] == "gap"]
    assert {gap["state"] for gap in gaps} == {"found", "healed"}, json.dumps(gaps[:3])
    assert exchange.connections >= 4
