"""How fast rows go into `market`, beside the bare client's produce() of the same JSON bytes.

    python bench/produce.py [--trades 1000000] [--symbols 500] [--rounds 3]

The bare loop has keys and values ready and only calls produce(), and poll() where the queue is full; it is idempotent and compresses as
we do, and it has no transaction. `write` is ours from the batches that a source polls to the last commit, exactly once, on each wire;
`replay` is a whole `produce`: the file (Parquet) read, understood, encoded, written, hello to goodbye. From the first record to the
last one durable, in turn, the first round left out; of each the round with the median of its ratios to the bare loop. `us_cpu` is the
processor time of this process, all threads, the client's own among them, at its least.
"""

import argparse
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer
from own_broker import own_broker
from results import report

from marketpulse.app.pipeline.produce import run
from marketpulse.kafka.client import source_config
from marketpulse.kafka.json_lines import json_rows
from marketpulse.kafka.producer import KafkaMarketLog
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import TRADE
from marketpulse.ports import Polled
from marketpulse.settings import ReplaySettings, Settings

T0 = 1_767_225_600 * 10**9
BATCH = 20_000


def trades(count: int, symbols: int) -> pa.Table:
    random = np.random.default_rng(1)
    names = np.array([f"SYM{i:03d}" for i in range(symbols)])
    return pa.table({
        "timestamp": T0 + np.arange(count) * 1_000_000, "symbol": names[random.integers(0, symbols, count)],
        "price": np.round(100 + random.random(count) * 10, 2), "size": random.integers(1, 500, count).astype(float),
        "trade_id": np.arange(count).astype(str),
    })  # fmt: skip


def as_polled(table: pa.Table) -> list[pa.RecordBatch]:
    n = len(table)
    given = {
        "type": pa.repeat("trade", n), "source": pa.repeat("replay", n), "event_time_ns": table["timestamp"],
        "ingest_time_ns": table["timestamp"],
    }  # fmt: skip
    columns = [given.get(f.name, table[f.name] if f.name in table.column_names else pa.nulls(n, f.type)) for f in TRADE]
    whole = pa.table(columns, schema=TRADE).combine_chunks()
    return list(whole.to_batches(max_chunksize=BATCH))


@dataclass
class Work:
    settings: Settings
    table: pa.Table
    batches: list[pa.RecordBatch]
    file: Path

    def on(self, wire: str) -> Settings:
        """Topics of its own for one turn."""
        update = {"wire": wire, "topic_prefix": f"b{uuid.uuid4().hex[:8]}-"}
        kafka = self.settings.kafka.model_copy(update=update)
        settings = self.settings.model_copy(update={"kafka": kafka})
        ensure_topics(settings)
        return settings


def bare(work: Work, keys: list[bytes], values: list[bytes]) -> Callable[[], None]:
    settings = work.on("json")
    producer, topic = Producer(source_config(settings)), settings.topic("market")
    producer.list_topics(topic, timeout=10)

    def loop() -> None:
        produce = producer.produce
        for key, value in zip(keys, values, strict=True):
            while True:
                try:
                    produce(topic, value, key)
                    break
                except BufferError:
                    producer.poll(0.01)
        assert producer.flush(120) == 0

    return loop


def written(work: Work, wire: str) -> Callable[[], None]:
    log = KafkaMarketLog(work.on(wire), "replay", exactly_once=True)
    log.last_position()

    def write() -> None:
        for number, batch in enumerate(work.batches):
            log.write(Polled([batch], position=str(number)))
        log.flush()

    return write


def replayed(work: Work, wire: str) -> Callable[[], None]:
    settings = work.on(wire)
    source = ReplaySettings(files=(str(work.file),), speed="max")
    health = SimpleNamespace(beat=lambda: None, set_ready=lambda: None, set_not_ready=lambda _: None)
    life: Any = SimpleNamespace(stop=Event(), health=health, announce=lambda **_: None)

    def replay() -> None:
        assert run(settings, life, source, "replay") == 0

    return replay


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """(seconds, processor seconds)."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="marketpulse-bench-"))
    table = trades(given.trades, given.symbols)
    pq.write_table(table, home / "trades.parquet", compression="zstd")
    batches = as_polled(table)
    values = [row for batch in batches for row in json_rows(batch, nulls=False)]
    keys = [name.encode() for name in table["symbol"].to_pylist()]
    try:
        with own_broker() as settings:
            work = Work(settings, table, batches, home / "trades.parquet")
            turns: list[dict[str, tuple[float, float]]] = []
            for _ in range(given.rounds + 1):
                turn = {"bare": timed(bare(work, keys, values))}
                for wire in ("json", "arrow"):
                    turn[f"write_{wire}"] = timed(written(work, wire))
                    turn[f"replay_{wire}"] = timed(replayed(work, wire))
                turns.append(turn)
            tell(turns[1:], given.trades)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def tell(turns: list[dict[str, tuple[float, float]]], count: int) -> None:
    least = min(turn["bare"][1] for turn in turns)
    usual = sorted(turn["bare"][0] for turn in turns)[len(turns) // 2]
    report({"name": "produce_bare", "value": round(count / usual), "unit": "records/s"})
    report({"name": "produce_bare_us_cpu", "value": round(least / count * 1e6, 3), "unit": "us/record"})
    for name in ("write_json", "write_arrow", "replay_json", "replay_arrow"):
        turn = sorted(turns, key=lambda turn, name=name: turn["bare"][0] / turn[name][0])[len(turns) // 2]
        report({
            "name": f"produce_{name}", "value": round(count / turn[name][0]), "unit": "rows/s",
            "ratio": round(turn["bare"][0] / turn[name][0], 2),
            "ratio_to": f"bare produce() of {count / turn['bare'][0]:,.0f} records/s in the same round",
        })  # fmt: skip
        used = min(turn[name][1] for turn in turns)
        report({
            "name": f"produce_{name}_us_cpu", "value": round(used / count * 1e6, 3), "unit": "us/row",
            "ratio": round(used / least, 2), "ratio_to": f"the bare loop's {least / count * 1e6:.3f} us",
        })  # fmt: skip


if __name__ == "__main__":
    main()
