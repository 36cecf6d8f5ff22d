"""`marketpulse sink postgres` on the real broker: whatever happens to it or the server, the tables hold the topics."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bare_clients import BareTopic, as_bytes, bare_producer, transaction
from marketpulse.settings import Settings
from postgres_store import PASSWORD, PostgresPlace, postgres_server, postgres_store  # noqa: F401

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

T0 = 1_714_521_600_000_000_000  # 2024-05-01T00:00:00Z
HEAD = ("symbol", "source", "event_time_ns")
Row = dict[str, Any]


def market_record(n: int) -> Row:
    """Trades, quotes, halts and heartbeats in turn, a minute apart."""
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
    """Every fourth record tells the bar before it again, revised."""
    again = n % 4 == 3
    i = n - 4 if again else n  # of the same partition
    receipt = {
        "topic": "market", "partition": 0, "first_offset": n, "first_row": 0, "last_offset": n, "last_row": 0,
        "late_count": 0, "engine_version": "1",
    }  # fmt: skip
    return {
        "symbol": f"S{i % 7}", "timeframe": "1s", "open_time_ns": T0 + i * 10**9, "close_time_ns": T0 + (i + 1) * 10**9,
        "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.0 / (n + 1), "volume": 3.0, "vwap": None, "trade_count": 1,
        "revision": int(again), "source": "test", "venue": None, "session_date": "2024-05-01", "receipt": receipt,
    }  # fmt: skip


class Writer:
    """Writes by transactions, every fourth of which is taken back."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test-writer"))
        self._n = 0

    def write(self, transactions: int, records: int = 100) -> None:
        for _ in range(transactions):
            self._n += 1
            with transaction(self._producer, keep=self._n % 4 != 0):
                for n in range(self._n * records, (self._n + 1) * records):
                    for topic, record in (("market", market_record(n)), ("bars", bar_record(n))):
                        value = as_bytes(record)
                        self._producer.produce(self._settings.topic(topic), value, partition=n % 4)


class SinkProcesses:
    """`marketpulse sink postgres`, as a user starts it; the password comes by PGPASSWORD."""

    def __init__(self, settings: Settings, place: PostgresPlace) -> None:
        self._settings, self._place = settings, place
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        kafka = self._settings.kafka
        environment = {
            **os.environ,
            "MARKETPULSE_DATA_DIR": str(self._settings.data_dir),
            "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
            "MARKETPULSE_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "MARKETPULSE_KAFKA__PARTITIONS": str(kafka.partitions),
            "MARKETPULSE_SINKS__POSTGRES__FLUSH_S": "0.2",
            "MARKETPULSE_SINKS__POSTGRES__URL": str(self._place.section()["url"]),
            "PGPASSWORD": PASSWORD,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "marketpulse", "sink", "postgres"],
            env=environment, cwd=self._settings.data_dir.parent,
        )  # fmt: skip
        self._running.append(process)
        return process

    def stands_at(self) -> dict[tuple[str, int], int]:
        if self._place.sql("SELECT to_regclass('marketpulse.offsets') IS NULL") == ["t"]:
            return {}
        found = self._place.found(
            "SELECT topic, partition, min(coalesce(next_offset, 0)) AS n FROM marketpulse.offsets GROUP BY 1, 2"
        )
        return {(row["topic"], row["partition"]): row["n"] for row in found}

    def wait_for(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not reached():
            assert time.monotonic() < deadline, f"PostgreSQL stands at {self.stands_at()}"
            time.sleep(0.1)

    def wait_until_stored(self) -> None:
        """Until the tables stand at the end of the topics, as they end now."""
        wanted = {
            (topic.name, partition): end
            for topic in (BareTopic.of(self._settings), BareTopic.of(self._settings, "bars"))
            for partition, end in topic.ends().items()
        }
        self.wait_for(lambda: all(self.stands_at().get(key, 0) >= end for key, end in wanted.items()))

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def processes(kafka_settings: Settings, postgres_store: PostgresPlace) -> Iterator[SinkProcesses]:  # noqa: F811
    kafka_settings.data_dir.mkdir(parents=True)
    found = SinkProcesses(kafka_settings, postgres_store)
    yield found
    found.close()


def as_lines(rows: list[Row]) -> Counter[str]:
    return Counter(json.dumps(row, sort_keys=True) for row in rows)


def test_the_tables_are_the_topics_row_for_row_through_kills_of_the_process_and_of_the_server(
    kafka_settings: Settings,
    processes: SinkProcesses,
    postgres_store: PostgresPlace,  # noqa: F811
) -> None:
    place, writer = postgres_store, Writer(kafka_settings)
    writer.write(4)
    process = processes.start()
    processes.wait_for(lambda: bool(processes.stands_at()))
    writer.write(3)
    process.kill()
    process.wait()
    last = processes.start()
    writer.write(3)
    time.sleep(0.5)  # somewhere in its work
    place.stop()
    writer.write(3)
    place.start()
    processes.wait_until_stored()
    last.terminate()
    assert last.wait(30) == 0

    market = BareTopic.of(kafka_settings).committed()
    for table, kind, fields in (
        ("trades", "trade", (*HEAD, "price", "size", "trade_id")),
        ("quotes", "quote", (*HEAD, "bid", "ask", "ask_size")),
        ("events", "halt", HEAD),
    ):
        found = Counter((r["partition"], r["offset"], *(r[f] for f in fields)) for r in place.rows(table))
        assert found == Counter(
            (r.partition, r.offset, *(r.row[f] for f in fields)) for r in market if r.row["type"] == kind
        )
    newest: dict[tuple[str, int], Row] = {}
    for record in sorted(BareTopic.of(kafka_settings, "bars").committed(), key=lambda r: r.offset):
        newest[record.row["symbol"], record.row["open_time_ns"]] = record.row
    assert as_lines(place.rows("bars")) == as_lines(list(newest.values()))
    assert any(row["revision"] for row in newest.values())
