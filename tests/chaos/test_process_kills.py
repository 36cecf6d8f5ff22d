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

from bare_clients import BareTopic
from bare_clients import rows as rows_of
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


def of_partition(rows: list[dict[str, Any]], partition: int, partitions: int) -> list[dict[str, Any]]:
    """The partition's part of the stream: its symbols, and what has none and goes into every partition."""
    return [
        row
        for row in rows
        if "symbol" not in row or int(partitions_of([row["symbol"].encode()], partitions)[0]) == partition
    ]


def clean_run(
    rows: list[dict[str, Any]], partitions: int
) -> dict[tuple[int, str, str], list[tuple[Any, ...]]]:
    """What each series' bars must be, by the operators alone."""
    expected: dict[tuple[int, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for partition in range(partitions):
        for bar in Engine(config_of(FRAMES, INDICATORS)).feed(*of_partition(rows, partition, partitions)):
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


def write(settings: Settings, rows: list[dict[str, Any]]) -> None:
    records = [{k: v for k, v in row.items() if k != "log_time_ns"} for row in rows]
    for partition in range(settings.kafka.partitions):
        BareTopic.of(settings).write(of_partition(records, partition, settings.kafka.partitions), partition)


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
    bars = BareTopic.of(kafka_settings, "bars").wait_for(total, 120, quiet_s=1)
    values = BareTopic.of(kafka_settings, "indicators").wait_for(total, 60, quiet_s=1)
    process.terminate()
    assert process.wait(30) == 0
    found: dict[tuple[int, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for record in bars:
        bar = record.row
        found[record.partition, bar["symbol"], bar["timeframe"]].append(_facts(bar))
    assert found == expected
    assert len(values) == total
    keys = {
        (row["symbol"], row["timeframe"], row["receipt"]["first_offset"], row["receipt"]["last_offset"])
        for row in rows_of(values)
    }
    assert len(keys) == total
