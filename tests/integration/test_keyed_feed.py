"""A feed whose ids do not count into the real broker, its process killed again and again: each trade is in the log."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bare_clients import BareTopic
from keyed_exchange import KEY, SECRET, AlpacaWords, KeyedExchange, running
from marketpulse.settings import AlpacaSettings, Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CHILD = """
import os
import sys
from marketpulse.app.lifecycle import lifecycle
from marketpulse.app.pipeline.produce import run
from marketpulse.settings import AlpacaSettings, KeySettings, Settings
keys = KeySettings(alpaca=os.environ["APCA_API_KEY_ID"], alpaca_secret=os.environ["APCA_API_SECRET_KEY"])
settings = Settings.model_validate_json(sys.argv[1]).model_copy(update={"keys": keys})
with lifecycle(settings, "produce-alpaca") as life:
    raise SystemExit(run(settings, life, AlpacaSettings.model_validate_json(sys.argv[2]), "alpaca"))
"""


def gaps_of(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(r["symbol"], r["state"], r["from_ns"], r["to_ns"]) for r in rows if r["type"] == "gap"]


def test_a_feed_that_is_killed_and_faulty_brings_every_trade_and_none_twice(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    pairs = ("BTC/USD", "ETH/USD")  # they trade at any hour, so this test may run at any
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MARKETPULSE_", "KAFKA_"))}
    keyed = {**clean, "APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET}
    pause = random.Random(3)
    words = AlpacaWords()
    with running(
        KeyedExchange(words, pairs, 3_000, seed=7, fault_rate=0.005, every_s=0.005, page_rows=500)
    ) as exchange:
        source = AlpacaSettings(
            symbols=pairs, url=exchange.url, rest_url=exchange.rest_url, feed="crypto", quotes=False,
            requests_per_minute=6_000,
        )  # fmt: skip
        command = [sys.executable, "-c", CHILD, kafka_settings.model_dump_json(), source.model_dump_json()]

        def rows() -> list[dict[str, object]]:
            return [record.row for record in BareTopic.of(kafka_settings, "market").committed()]

        def trades() -> int:
            return sum(row["type"] == "trade" for row in rows())

        for kill in range(3):
            child = subprocess.Popen(command, env=keyed, cwd=tmp_path)
            before = exchange.connections
            wanted = min(trades() + 500, exchange.count) if kill < 2 else exchange.count
            while exchange.connections == before or trades() < wanted:
                assert child.poll() is None, "it goes on by itself through every fault of the feed"
                time.sleep(0.5)
            if kill < 2:
                time.sleep(pause.uniform(0, 1))
                child.send_signal(signal.SIGKILL)
                child.wait()
        time.sleep(3)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    found = [row for row in rows() if row["type"] == "trade"]
    told: Counter[Any] = Counter((r["symbol"], r["event_time_ns"], r["price"], r["size"]) for r in found)
    happened: Counter[Any] = Counter((t.symbol.replace("/", "-"), t.at_ns, t.price, t.size) for t in exchange.tape)
    assert (happened - told, told - happened) == (Counter(), Counter()), gaps_of(rows())
    assert {row["state"] for row in rows() if row["type"] == "gap"} == {"found", "healed"}
    assert KEY not in str(rows())
