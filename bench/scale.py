"""Whether the cost per trade stays flat when the symbols become many, and what a state of many costs.

    python bench/scale.py [--trades 1000000] [--few 100] [--many 10000] [--rounds 3]

Many symbols trade as often each as few do, so the same number of trades gives the same number of `1s` bars
(`--apart-us` sets how far apart a symbol's trades lie). The engine's step alone is timed over decoded batches of one
partition, the worker's whole work on the embedded broker; in both, the best of some rounds, few and many in turn.
The state is that of the many behind all their trades, with the default indicators; its start is a worker's that finds
it as snapshots in the log. The process's start is of `marketpulse process` on an empty log, its kernels compiled before.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from catchup import BLOCK, HELLO, one_worker, trades, write
from confluent_kafka import Producer
from own_broker import own_broker
from results import report

from marketpulse.app.engine_config import engine_config
from marketpulse.app.warm import compile_parts
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.state import PartitionState, new_state
from marketpulse.engine.step import Stepper
from marketpulse.kafka.codec import MarketDecoder, encode_market
from marketpulse.kafka.records import records_of
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import MarketBatch
from marketpulse.settings import Settings, load_settings
from marketpulse.telemetry import COMMIT_SECONDS

FRAMES = ("1s", "1m", "5m", "1h")
START_S = 60.0


def batches(count: int, symbols: int, apart_ns: int) -> list[MarketBatch]:
    """The trades as one partition's batches, behind a hello."""
    decoder = MarketDecoder()
    found = [decoder.decode("market", records_of([HELLO]))[0]]
    for first in range(0, count, BLOCK):
        block = trades(first, min(BLOCK, count - first), symbols, apart_ns)
        frames = [record.value for record in encode_market(block, wire="arrow", partitions=1)]
        found += [decoder.decode("market", records_of([frame], frames=True))[0] for frame in frames]
    return found


def stepped(config: EngineConfig, given: list[MarketBatch]) -> tuple[float, int, PartitionState]:
    """Processor seconds for the second half of the batches, when all symbols are known, their trades, and the state."""
    stepper, state, half = Stepper(config), new_state(config), len(given) // 2
    began = 0.0
    for number, batch in enumerate(given):
        if number == half:
            began = time.process_time()
        for after, _ in stepper.steps(state, batch):
            state = after
    return time.process_time() - began, sum(map(len, given[half:])), state


def tell_ratio(name: str, few: list[float], many: list[float], symbols: int) -> None:
    """Trades a second by round, few and many symbols of one round side by side: the best ratio, and all."""
    ratios = [m / f for f, m in zip(few, many, strict=True)]
    best = ratios.index(max(ratios))
    report({
        "name": name, "value": round(many[best]), "unit": "trades/s", "ratio": round(ratios[best], 3),
        "ratio_to": f"{few[best]:,.0f} trades/s with {symbols} symbols",
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    })  # fmt: skip


def step_alone(given: argparse.Namespace, config: EngineConfig) -> PartitionState:
    """The engine's step, with few symbols and with many; the state of many."""
    inputs = [batches(given.trades, n, given.apart_us * 1_000 // n) for n in (given.few, given.many)]
    rates: tuple[list[float], list[float]] = ([], [])
    for turn in range(given.rounds + 1):
        for found, batches_ in zip(rates, inputs, strict=True):
            seconds, count, state = stepped(config, batches_)
            if turn:
                found.append(count / seconds)
    tell_ratio(f"scale_step_{given.many}_symbols", *rates, given.few)
    return state


def tell_state(state: PartitionState, config: EngineConfig) -> None:
    """Bytes by symbol and timeframe, of all but the correction window; and the window's trades and rows beside them."""
    series = len(state.symbols) * len(config.frames)
    window = state.tables.window.nbytes + state.tables.ids.nbytes
    rows = state.told.size_bytes()
    parts = {"state": state.size_bytes() - window - rows, "window_trades": window, "window_rows": rows}
    for name, size in parts.items():
        report({
            "name": f"scale_{name}_bytes", "value": round(size / series),
            "unit": "bytes per symbol and timeframe", "ratio": None, "ratio_to": None,
        })  # fmt: skip


def on_topics(settings: Settings, prefix: str, group: str) -> Settings:
    kafka = settings.kafka.model_copy(update={"topic_prefix": prefix})
    process = settings.process.model_copy(update={"group": group})
    return settings.model_copy(update={"kafka": kafka, "process": process})


def whole_work(given: argparse.Namespace, settings: Settings) -> Settings:
    """A worker that catches up, with few symbols and with many; the settings that the last one of many ran by."""
    records = {}
    for n in (given.few, given.many):
        own = on_topics(settings, f"s{n}-", "write")
        ensure_topics(own)
        records[n] = write(own, given.trades, n, "json", given.apart_us * 1_000 // n)
    rates: dict[int, list[float]] = {n: [] for n in records}
    for turn in range(given.rounds + 1):
        for n, count in records.items():
            last = on_topics(settings, f"s{n}-", f"g{turn}")
            seconds = one_worker(last, count)
            if turn:
                rates[n].append(given.trades / seconds)
    tell_ratio(f"scale_catchup_{given.many}_symbols", rates[given.few], rates[given.many], given.few)
    return last


def start_with_state(settings: Settings) -> None:
    """Seconds that a worker needs from nothing but its settings to its first commit, with the state that the last one
    left; a heartbeat in each partition waits for it."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for partition in range(settings.kafka.partitions):
        producer.produce(settings.topic("market"), HELLO, partition=partition)
    producer.flush(30)
    before, began = commits(), time.perf_counter()
    worker = Worker(settings, engine_config(settings.engine), 0, SystemClock())
    worker.start()
    while commits() == before:
        worker.turn()
        if time.perf_counter() - began > START_S:
            raise TimeoutError("the worker committed nothing")
    seconds = time.perf_counter() - began
    size = sum(owned.state.size_bytes() for owned in worker._owned.values())
    worker.stop()
    report({
        "name": "scale_start_with_state", "value": round(seconds, 2), "unit": "s", "ratio": None,
        "ratio_to": None, "state_mb": round(size / 1e6, 1),
    })  # fmt: skip


def commits() -> float:
    return next(s.value for m in COMMIT_SECONDS.collect() for s in m.samples if s.name.endswith("_count"))


def process_start(settings: Settings, rounds: int) -> None:
    """Seconds from the spawn of `marketpulse process` until it says that it works; the best of some."""
    own = on_topics(settings, "p-", "start")
    ensure_topics(own)
    run_file = own.data_dir / "run" / "process-0.json"
    environment = {
        **os.environ, "MARKETPULSE_DATA_DIR": str(own.data_dir), "KAFKA_BOOTSTRAP_SERVERS": own.kafka.bootstrap_servers or "",
        "MARKETPULSE_KAFKA__TOPIC_PREFIX": own.kafka.topic_prefix, "MARKETPULSE_ENGINE__TIMEFRAMES": json.dumps(FRAMES),
        "MARKETPULSE_CACHE_DIR": str(own.cache_dir),
    }  # fmt: skip
    found = []
    for _ in range(rounds + 1):  # the first one reads the files from the disk
        began = time.perf_counter()
        running = subprocess.Popen([sys.executable, "-m", "marketpulse", "process"], stdout=sys.stderr, env=environment)
        while not run_file.exists():
            if time.perf_counter() - began > START_S:
                raise TimeoutError("the process was not ready")
            time.sleep(0.005)
        found.append(time.perf_counter() - began)
        running.terminate()
        running.wait()
    report({
        "name": "scale_process_ready", "value": round(min(found[1:]), 2), "unit": "s", "ratio": None,
        "ratio_to": None, "spread": [round(min(found[1:]), 2), round(max(found[1:]), 2)],
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--apart-us", type=int, default=100_000, help="between two trades of a symbol")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    compile_parts("engine", "wire")
    engine = load_settings().engine.model_copy(update={"timeframes": FRAMES})
    config = engine_config(engine)
    tell_state(step_alone(given, config), config)
    with own_broker() as base:
        process = base.process.model_copy(update={"live_per_s": 0.0})
        settings = base.model_copy(update={"engine": engine, "process": process})
        start_with_state(whole_work(given, settings))
        process_start(settings, given.rounds)


if __name__ == "__main__":
    main()
