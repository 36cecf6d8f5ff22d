"""How fast the engine catches up, beside a loop that only reads the same records.

    python bench/catchup.py [--trades 3000000] [--symbols 500] [--rounds 2]

Full work: check, four timeframes, the default indicators, five alert rules, exactly once. The loops beside it are the same
client's `consume()`, and, for Arrow frames, one that also opens them; all in turn, in one run, on the
embedded broker. Once with bars from a second on, where every tenth trade closes one and so gives two rows to write,
once with bars from a minute on. Two workers are two processes of one group, timed while both work.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from own_broker import own_broker
from results import report

from marketpulse.app.engine_config import engine_config
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.kafka.codec import encode_market
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import TRADE
from marketpulse.settings import Settings

MIDNIGHT_NS = 1_767_225_600 * 10**9
BLOCK = 250_000  # as a replay at full speed reads them: frames of Arrow come out full
APART_NS = 200_000
TIMEFRAMES = ("1s", "1m", "5m", "1h")
MINUTES = ("1m", "5m", "15m", "1h")
RULES: tuple[dict[str, Any], ...] = (
    {"name": "oversold_turn", "expression": "rsi_14 < 30 and close crosses_above sma_20"},
    {"name": "overbought", "expression": "rsi_14 > 80", "clear": "rsi_14 < 60"},
    {"name": "move", "expression": "abs(change_pct(close, 5)) > 8", "cooldown_s": 60},
    {"name": "volume_spike", "expression": "volume > 4 * volume_sma_20"},
    {"name": "with_the_hour", "expression": "close > bbands_20_2_upper and close@1h > sma_20@1h", "for_s": 2},
)
HELLO = b'{"type":"hello","source":"bench","mode":"historical","run_id":"1"}'


def trades(first: int, n: int, symbols: int, apart_ns: int = APART_NS) -> pa.RecordBatch:
    """n trades so far apart, over all symbols. Those of a block are the same ones, however many of them are asked for."""
    random, drawn = np.random.default_rng(first), max(n, BLOCK)
    ids = random.integers(0, symbols, drawn)[:n]
    times = MIDNIGHT_NS + (first + np.arange(n)) * apart_ns
    return pa.RecordBatch.from_arrays(
        [
            pa.array(["trade"] * n), pa.array([f"SYM{i:03d}" for i in ids]), pa.array(["bench"] * n), pa.array(times),
            pa.nulls(n, pa.string()), pa.array(np.round(100 + random.random(drawn)[:n] * 10, 2)),
            pa.array(random.integers(1, 500, drawn)[:n].astype(float)), pa.array([str(first + i) for i in range(n)]),
            pa.nulls(n, pa.list_(pa.string())), pa.nulls(n, pa.int64()),
        ],
        schema=TRADE,
    )  # fmt: skip


def write(
    settings: Settings, count: int, symbols: int, wire: Literal["json", "arrow"], apart_ns: int = APART_NS
) -> int:
    """Returns how many records the log holds then."""
    producer = Producer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 20,
        "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000,
    })  # fmt: skip
    topic, partitions = settings.topic("market"), settings.kafka.partitions
    for partition in range(partitions):
        producer.produce(topic, HELLO, partition=partition)
    written = partitions
    for first in range(0, count, BLOCK):
        for record in encode_market(
            trades(first, min(BLOCK, count - first), symbols, apart_ns), wire=wire, partitions=partitions
        ):
            place = -1 if record.partition is None else record.partition
            headers: list[tuple[str, str | bytes | None]] = [*(record.headers or ())]
            producer.produce(topic, record.value, record.key, partition=place, headers=headers)
            written += 1
        producer.flush(60)
    return written


def bare(settings: Settings, records: int, look: Callable[[Message], object] | None = None) -> float:
    """Seconds that the client needs to hand over the records, from the first one on, and to look at each."""
    consumer = Consumer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "bare", "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign([TopicPartition(settings.topic("market"), p, 0) for p in range(settings.kafka.partitions)])
    seen = len(consumer.consume(1, 10))
    began = time.perf_counter()
    while seen < records:
        found = consumer.consume(50_000, 0.1)
        seen += len(found)
        if look is not None:
            for message in found:
                look(message)
    seconds = time.perf_counter() - began
    consumer.close()
    return seconds


def opened(message: Message) -> object:
    """The frame's columns; other records are left."""
    return message.headers() and pa.ipc.open_stream(message.value()).read_all()


def one_worker(settings: Settings, records: int) -> float:
    """Seconds that a worker needs for the same, from its first record to its last commit."""
    worker = Worker(settings, engine_config(settings.engine), 0, SystemClock())
    worker.start()
    seen = 0
    while not seen:
        seen = worker.turn()
    began = time.perf_counter()
    while seen < records or worker.uncommitted:
        seen += worker.turn()
    seconds = time.perf_counter() - began
    worker.stop()
    return seconds


def two_workers(settings: Settings, records: int) -> float:
    """Seconds that two would need, by what they take from when both own half of the partitions to the end."""
    context = multiprocessing.get_context("spawn")
    seen, owned, over = context.Array("q", 2), context.Array("q", 2), context.Event()
    processes = [context.Process(target=_work, args=(settings, slot, seen, owned, over)) for slot in range(2)]
    for process in processes:
        process.start()
    while min(owned[:]) < settings.kafka.partitions // 2:
        time.sleep(0.001)
    began, before = time.perf_counter(), sum(seen[:])
    while sum(seen[:]) < records:
        time.sleep(0.001)
    seconds = time.perf_counter() - began
    over.set()
    for process in processes:
        process.join()
    return seconds * records / float(records - before)


def _work(settings: Settings, slot: int, seen: Any, owned: Any, over: Any) -> None:
    worker = Worker(settings, engine_config(settings.engine), slot, SystemClock())
    worker.start()
    while not over.is_set():
        seen[slot] += worker.turn()
        owned[slot] = len(worker.partitions)
    worker.stop()


Timing = Callable[[Settings, int], float]


def compare(
    settings: Settings, count: int, records: int, rounds: int, ours: dict[str, Timing], beside: Timing
) -> Iterator[dict[str, Any]]:
    """The best of some rounds, by ratio, of each way of ours; the first round compiles and warms."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ours}
    for turn in range(rounds + 1):
        for name, timing in ours.items():
            process = settings.process.model_copy(update={"group": f"{name}-{turn}", "live_per_s": 0.0})
            own = settings.model_copy(update={"process": process})
            alone, worked = beside(own, records), timing(own, records)
            if turn:
                found[name].append((count / worked, count / alone))
    for name, rates in found.items():
        rate, other = max(rates, key=lambda pair: pair[0] / pair[1])
        yield {
            "name": name, "value": round(rate), "unit": "trades/s", "ratio": round(rate / other, 3),
            "ratio_to": f"{other:,.0f} trades/s",
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=3_000_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    for wire in ("json", "arrow"):
        for row in measure(given, wire):
            report(row)


def measure(given: argparse.Namespace, wire: Literal["json", "arrow"]) -> Iterator[dict[str, Any]]:
    """All figures of one wire, on a broker of its own."""
    beside = bare if wire == "json" else partial(bare, look=opened)
    with own_broker() as base:
        settings = with_timeframes(base, TIMEFRAMES)
        ensure_topics(settings)
        records = write(settings, given.trades, given.symbols, wire)
        ours: dict[str, Timing] = {"arrow_catchup_vs_decode": one_worker}
        if wire == "json":
            ours = {
                "json_catchup_one_worker_vs_consume": one_worker,
                "json_catchup_two_workers_vs_consume": two_workers,
            }
        yield from compare(settings, given.trades, records, given.rounds, ours, beside)
        ours = {f"{wire}_catchup_from_minutes_vs_{'consume' if wire == 'json' else 'decode'}": one_worker}
        yield from compare(with_timeframes(settings, MINUTES), given.trades, records, given.rounds, ours, beside)


def with_timeframes(settings: Settings, timeframes: tuple[str, ...]) -> Settings:
    engine = settings.engine.model_copy(update={"timeframes": timeframes, "alerts": RULES})
    return settings.model_copy(update={"engine": engine})


if __name__ == "__main__":
    main()
