"""`process` is killed with -9 at random, by seed, while records come: committed readers see the clean run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from market_rows import Engine, config_of, heartbeat, hello, trade
from marketpulse.app.warm import warm_up
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

TRADES, SYMBOLS, KILLS, SEED = 6_000, 9, 4, 11
FRAMES, INDICATORS = ("1t", "1s", "1m"), "sma(3),ema(5),vwap"


def stream() -> list[dict[str, Any]]:
    """Trades of a few symbols, out of order within the lateness, heartbeats between them."""
    random_ = random.Random(SEED)
    rows: list[dict[str, Any]] = [hello("test", "historical")]
    for i in range(TRADES):
        moment = 10 + i / 40 - random_.random()
        price = round(50 + random_.random() * 10, 2)
        rows.append(trade(f"S{random_.randrange(SYMBOLS)}", moment, price, random_.randrange(1, 500), "test"))
        if i % 50 == 49:
            rows.append(heartbeat(10 + i / 40 - 1, "test"))
    rows.append(heartbeat(10 + TRADES / 40 + 60, "test"))
    return rows


def clean_run(
    rows: list[dict[str, Any]], partitions: int
) -> dict[tuple[int, str, str], list[tuple[Any, ...]]]:
    """What each series' bars must be, by the operators alone."""
    expected: dict[tuple[int, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for partition in range(partitions):
        mine = [
            r
            for r in rows
            if "symbol" not in r or int(partitions_of([r["symbol"].encode()], partitions)[0]) == partition
        ]
        for bar in Engine(config_of(FRAMES, INDICATORS)).feed(*mine):
            expected[partition, bar["symbol"], bar["timeframe"]].append(_facts(bar))
    return expected


def _facts(bar: dict[str, Any]) -> tuple[Any, ...]:
    names = (
        "open_time_ns",
        "close_time_ns",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "vwap",
        "trade_count",
        "revision",
    )
    return tuple(bar[name] for name in names)


def start(settings: Settings) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "MARKETPULSE_DATA_DIR": str(settings.data_dir),
        "MARKETPULSE_KAFKA__BOOTSTRAP_SERVERS": str(settings.kafka.bootstrap_servers),
        "MARKETPULSE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "MARKETPULSE_ENGINE__TIMEFRAMES": json.dumps(FRAMES),
        "MARKETPULSE_ENGINE__INDICATORS": INDICATORS,
        "MARKETPULSE_PROCESS__SNAPSHOT_RECORDS": "300",
        "MARKETPULSE_PROCESS__COMMIT_MS": "20",
    }
    return subprocess.Popen([sys.executable, "-m", "marketpulse", "process"], env=environment)


def committed(
    settings: Settings, topic: str, wanted: int, timeout_s: float
) -> list[tuple[int, dict[str, Any]]]:
    consumer = Consumer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "reader", "enable.auto.commit": False,
        "isolation.level": "read_committed", "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign([TopicPartition(settings.topic(topic), p, 0) for p in range(settings.kafka.partitions)])
    rows: list[tuple[int, dict[str, Any]]] = []
    deadline, quiet = time.monotonic() + timeout_s, 0
    while time.monotonic() < deadline and (len(rows) < wanted or quiet < 5):
        message = consumer.poll(0.2)
        quiet = quiet + 1 if message is None else 0
        if message is not None and message.error() is None:
            rows.append((message.partition() or 0, json.loads(message.value() or b"")))
    consumer.close()
    return rows


def write(settings: Settings, rows: list[dict[str, Any]]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    partitions = settings.kafka.partitions
    for row in rows:
        record = {k: v for k, v in row.items() if k != "log_time_ns"}
        if "symbol" in row:
            places = [int(partitions_of([row["symbol"].encode()], partitions)[0])]
        else:
            places = list(range(partitions))
        for place in places:
            producer.produce(settings.topic("market"), json.dumps(record).encode(), partition=place)
    assert producer.flush(20) == 0


def test_a_process_killed_again_and_again_leaves_exactly_the_rows_of_the_clean_run(
    kafka_settings: Settings,
) -> None:
    warm_up()
    rows = stream()
    expected = clean_run(rows, kafka_settings.kafka.partitions)
    random_ = random.Random(SEED)
    process = start(kafka_settings)
    step = len(rows) // (4 * KILLS)
    kills = 0
    for begin in range(0, len(rows), step):
        write(kafka_settings, rows[begin : begin + step])
        time.sleep(random_.uniform(0.2, 1.2))
        if kills < KILLS and random_.random() < 0.5:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            process = start(kafka_settings)
    assert kills == KILLS
    total = sum(map(len, expected.values()))
    bars = committed(kafka_settings, "bars", total, 120)
    values = committed(kafka_settings, "indicators", total, 60)
    process.terminate()
    assert process.wait(30) == 0
    found: dict[tuple[int, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for partition, bar in bars:
        found[partition, bar["symbol"], bar["timeframe"]].append(_facts(bar))
    assert found == expected
    assert len(values) == total
    keys = {
        (row["symbol"], row["timeframe"], row["receipt"]["first_offset"], row["receipt"]["last_offset"])
        for _, row in values
    }
    assert len(keys) == total
