"""The sink's process on the real broker: whatever happens to it, the store holds the topic, row for row."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bare_clients import BareTopic, Record, as_bytes, bare_producer, rows, transaction
from lake_store import LakeStore
from marketpulse.catalog import open_visible
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings
from marketpulse.sinks.commits import read_states
from marketpulse.sinks.storage import LocalStorage

pytestmark = pytest.mark.integration

T0 = 1_714_521_600_000_000_000  # 2024-05-01T00:00:00Z
Row = dict[str, Any]


def market_record(n: int) -> Row:
    """Trades, quotes, halts and heartbeats in turn, an hour apart, so that they fall on several days."""
    head = {"symbol": f"S{n % 7}", "source": "test", "event_time_ns": T0 + n * 60 * 10**9}
    match n % 5:
        case 0 | 1:
            return {**head, "type": "trade", "price": 0.1 * n + 1, "size": 1.0, "trade_id": f"id-{n}"}
        case 2:
            return {**head, "type": "quote", "bid": 1.0, "bid_size": 2.0, "ask": 1.5 + n, "ask_size": 3.0}
        case 3:
            return {**head, "type": "halt", "from_ns": T0, "to_ns": T0 + n, "reason": "test"}
    return {"type": "heartbeat", "source": "test", "event_time_ns": T0 + n}


def bar_record(n: int) -> Row:
    receipt = {
        "topic": "market", "partition": 0, "first_offset": n, "first_row": 0, "last_offset": n, "last_row": 0,
        "late_count": 0, "engine_version": "1",
    }  # fmt: skip
    return {
        "symbol": f"S{n % 7}", "timeframe": "1s", "open_time_ns": T0 + n * 10**9, "close_time_ns": T0 + (n + 1) * 10**9,
        "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.0 / (n + 1), "volume": 3.0, "vwap": None, "trade_count": 1,
        "revision": 0, "source": "test", "venue": None, "session_date": "2024-05-01", "receipt": receipt,
    }  # fmt: skip


class Writer:
    """Writes by transactions, every fourth of which is taken back."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test-writer"))
        self._n = 0

    def write(self, transactions: int, records: int) -> None:
        for _ in range(transactions):
            self._n += 1
            with transaction(self._producer, keep=self._n % 4 != 0):
                for n in range(self._n * records, (self._n + 1) * records):
                    for topic, record in (("market", market_record(n)), ("bars", bar_record(n))):
                        value = as_bytes(record)
                        self._producer.produce(self._settings.topic(topic), value, partition=n % 4)


class SinkProcesses:
    """`marketpulse sink`, as a user starts it."""

    def __init__(self, settings: Settings, which: str) -> None:
        self._settings, self._which = settings, which
        self._running: list[subprocess.Popen[bytes]] = []
        self.directory = settings.data_dir / which

    def start(self) -> subprocess.Popen[bytes]:
        kafka = self._settings.kafka
        environment = {
            **os.environ,
            "MARKETPULSE_DATA_DIR": str(self._settings.data_dir),
            "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
            "MARKETPULSE_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "MARKETPULSE_KAFKA__PARTITIONS": str(kafka.partitions),
            f"MARKETPULSE_SINKS__{self._which.upper()}__FLUSH_S": "0.2",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "marketpulse", "sink", self._which],
            env=environment, cwd=self._settings.data_dir.parent,
        )  # fmt: skip
        self._running.append(process)
        return process

    def stands_at(self) -> dict[tuple[str, int], int]:
        if self._which == "lake":
            lake = open_visible(self._settings)
            lake.read()
            return lake.positions()
        states = read_states(LocalStorage(self.directory))
        return {key: min(state.next_offsets.values()) for key, state in states.items() if state.next_offsets}

    def wait_for(self, reached: Callable[[], bool], timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < deadline, f"the {self._which} stands at {self.stands_at()}"
            time.sleep(0.1)

    def wait_until_stored(self, *topics: str) -> None:
        """Until the store stands behind the last row of these topics, as they end now."""
        wanted: dict[tuple[str, int], int] = {}
        for topic in (BareTopic.of(self._settings, name) for name in topics):
            for record in topic.committed():
                key = topic.name, record.partition
                wanted[key] = max(wanted.get(key, 0), record.offset + 1)
        self.wait_for(lambda: all(self.stands_at().get(key, 0) >= end for key, end in wanted.items()))

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def lake(kafka_settings: Settings) -> Iterator[SinkProcesses]:
    processes = SinkProcesses(kafka_settings, "lake")
    kafka_settings.data_dir.mkdir(parents=True)
    yield processes
    processes.close()


@pytest.fixture
def archive(kafka_settings: Settings) -> Iterator[SinkProcesses]:
    processes = SinkProcesses(kafka_settings, "archive")
    kafka_settings.data_dir.mkdir(parents=True)
    yield processes
    processes.close()


def lake_rows(lake: SinkProcesses, table: str) -> list[Row]:
    """Every row of the table, as its own library reads it."""
    return LakeStore(lake.directory).history(table)


def assert_market_is_stored(stored: list[Row], records: list[Record], kind: str, *fields: str) -> None:
    found = Counter((r["partition"], r["offset"], *(r[f] for f in fields)) for r in stored)
    assert found == Counter(
        (r.partition, r.offset, *(r.row[f] for f in fields)) for r in records if r.row["type"] == kind
    )


def assert_lake_is_the_topics(settings: Settings, lake: SinkProcesses) -> None:
    market, bars = BareTopic.of(settings).committed(), BareTopic.of(settings, "bars").committed()
    head = ("symbol", "source", "event_time_ns")
    assert_market_is_stored(lake_rows(lake, "trades"), market, "trade", *head, "price", "size", "trade_id")
    assert_market_is_stored(lake_rows(lake, "quotes"), market, "quote", *head, "bid", "ask", "ask_size")
    assert_market_is_stored(lake_rows(lake, "events"), market, "halt", *head)
    stored = [json.dumps({**b, "session_date": str(b["session_date"])}) for b in lake_rows(lake, "bars")]
    assert Counter(stored) == Counter(json.dumps(b) for b in rows(bars))


@pytest.mark.chaos
def test_killed_at_random_moments_the_lake_is_the_topic_row_for_row(
    kafka_settings: Settings, lake: SinkProcesses
) -> None:
    writer, chance = Writer(kafka_settings), random.Random(11)
    writer.write(4, 100)
    for _ in range(4):
        process = lake.start()
        before = lake.stands_at()
        writer.write(3, 100)
        lake.wait_for(lambda: lake.stands_at() != before)  # noqa: B023  (called within this turn only)
        writer.write(3, 100)
        time.sleep(chance.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = lake.start()
    writer.write(2, 100)
    lake.wait_until_stored("market", "bars")
    last.terminate()
    assert last.wait(20) == 0
    assert_lake_is_the_topics(kafka_settings, lake)

    query = LakeQuery(kafka_settings)
    trades = query.run('SELECT count(*) AS n, count(DISTINCT (partition, "offset")) AS d FROM trades').to_pylist()
    query.close()
    n = sum(row["type"] == "trade" for row in rows(BareTopic.of(kafka_settings).committed()))
    assert trades == [{"n": n, "d": n}]


def test_partitions_that_move_between_processes_are_stored_once(kafka_settings: Settings, lake: SinkProcesses) -> None:
    writer = Writer(kafka_settings)
    first = lake.start()
    writer.write(4, 100)
    lake.wait_for(lambda: bool(lake.stands_at()))
    second = lake.start()
    for _ in range(8):
        writer.write(2, 50)
        time.sleep(0.7)
    first.terminate()
    assert first.wait(20) == 0
    writer.write(4, 100)
    lake.wait_until_stored("market", "bars")
    second.terminate()
    assert second.wait(20) == 0
    assert_lake_is_the_topics(kafka_settings, lake)


def test_the_archive_is_the_topic_line_for_line(kafka_settings: Settings, archive: SinkProcesses) -> None:
    writer = Writer(kafka_settings)
    writer.write(6, 50)
    process = archive.start()
    archive.wait_until_stored("market", "bars")
    process.terminate()
    assert process.wait(20) == 0
    lines = [
        line
        for path in archive.directory.glob("table=bars/*/*.jsonl.gz")
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]
    bars = rows(BareTopic.of(kafka_settings, "bars").committed())
    assert sorted(json.dumps(json.loads(line)) for line in lines) == sorted(json.dumps(b) for b in bars)
