"""What the scorecard costs: its keeper alone, and all of it behind a real broker. `python bench/scorecard.py`

1. Columns of 10,000 trades a second of 500 symbols in 3 partitions, half a second in a batch, into a keeper.
2. Another process writes as many trades as JSON for half a minute; this one reads them as `serve` does, twice a second:
   fetching, decoding and keeping, the client's own threads included.
"""

import subprocess
import sys
import time

import numpy as np
from own_broker import own_broker
from results import report

from marketpulse.app import warm
from marketpulse.app.calendars import sessions_of
from marketpulse.app.scoring.card import Card, Hours
from marketpulse.app.scoring.hearing import Hearing
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.clock import SystemClock
from marketpulse.errors import Retryable
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import Kind, MarketBatch, StringTable
from marketpulse.settings import Settings

PER_S, SYMBOLS, PARTITIONS, TURNS_PER_S = 10_000, 500, 3, 2
SECONDS, LIVE_S = 60, 30
BEGIN_NS = 1_767_225_600 * 10**9
WRITER = """
import json, sys, time
from confluent_kafka import Producer
servers, topic, seconds, per_s, symbols = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
producer, began, sent = Producer({"bootstrap.servers": servers, "linger.ms": 5, "queue.buffering.max.messages": 1000000}), time.time(), 0
while (now := time.time()) < began + seconds:
    while sent < (now - began) * per_s:
        symbol = f"S{sent * 7919 % symbols}"
        row = {"type": "trade", "symbol": symbol, "source": "feed", "event_time_ns": time.time_ns(), "price": 10 + sent % 90, "size": 1}
        producer.produce(topic, json.dumps(row), symbol)
        sent += 1
    producer.poll(0.01)
producer.flush(30)
"""


def batches(seed: int) -> list[tuple[MarketBatch, np.ndarray]]:
    rng, strings = np.random.default_rng(seed), StringTable()
    source = strings.intern("feed")
    symbols = np.array([strings.intern(f"S{i}") for i in range(SYMBOLS)], np.int32)
    found = []
    for turn in range(SECONDS * TURNS_PER_S):
        for partition in range(PARTITIONS):
            n = PER_S // TURNS_PER_S // PARTITIONS
            batch = MarketBatch.empty("market", partition, strings, n)
            at_ns = BEGIN_NS + turn * 10**9 // TURNS_PER_S + np.sort(rng.integers(0, 10**9 // TURNS_PER_S, n))
            batch.kind[:], batch.source[:], batch.event_time_ns[:] = Kind.TRADE, source, at_ns
            batch.symbol[:] = symbols[partition::PARTITIONS][rng.integers(0, SYMBOLS // PARTITIONS, n)]
            batch.a[:], batch.b[:] = rng.uniform(10, 500, n), 1.0
            found.append((batch, (at_ns + rng.integers(1, 40, n) * 1_000_000) // 1_000_000 * 1_000_000))
    return found


def alone() -> tuple[float, float]:
    """(processor seconds a trade, processor seconds of a card)"""
    told = batches(1)
    best = float("inf")
    for _ in range(5):
        keeper, began = ScoreKeeper(4, 5_000), time.process_time()
        for batch, appended_ns in told:
            keeper.hear(batch, appended_ns)
        best = min(best, time.process_time() - began)
    hours = Hours(sessions_of, lambda venue, source: "24x7", 30 * 10**9, "feeds")  # noqa: ARG005
    began = time.process_time()
    for _ in range(20):
        Card(keeper, hours).sources()
    return best / sum(len(batch) for batch, _ in told), (time.process_time() - began) / 20


def behind_a_broker() -> tuple[int, float]:
    """(trades heard, part of a core that it took)"""
    warm.load("wire")
    with own_broker() as settings:
        ensure_topics(settings)
        hearing = opened(settings)
        written = [str(n) for n in (LIVE_S + 2, PER_S, SYMBOLS)]
        servers = str(settings.kafka.bootstrap_servers)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, servers, settings.topic("market"), *written])
        until = time.monotonic() + 2
        began, first = 0.0, 0
        while time.monotonic() < until + LIVE_S:
            if not began and time.monotonic() > until:
                began, first = time.process_time(), trades(hearing)
            hearing.hear(hearing.follower.take(0.0))
            time.sleep(1 / TURNS_PER_S)
        used, heard = time.process_time() - began, trades(hearing) - first
        writer.wait()
        hearing.close()
    return heard, used / LIVE_S


def opened(settings: Settings) -> Hearing:
    while True:
        try:
            return Hearing(settings, 1, SystemClock())
        except Retryable:  # new topics settle
            time.sleep(0.2)


def trades(hearing: Hearing) -> int:
    return sum(row["rows"]["trade"] for row in hearing.card().sources())


def main() -> None:
    a_trade, a_card = alone()
    heard, share = behind_a_broker()
    report({"name": "scorecard keeper, alone", "value": round(1e9 * a_trade), "unit": "ns a trade"})
    report({"name": f"scorecard of {SYMBOLS} symbols", "value": round(1e3 * a_card, 2), "unit": "ms"})
    report({"name": "scorecard behind a broker, heard", "value": round(heard / LIVE_S), "unit": "trades/s"})
    report({"name": "scorecard behind a broker", "value": round(100 * share, 2), "unit": "% of a core"})


if __name__ == "__main__":
    main()
