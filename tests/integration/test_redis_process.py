"""`marketpulse sink redis` on the real broker and a real server: killed or not, it holds what the topics say."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bare_clients import BareTopic, as_bytes, bare_producer, rows, transaction
from board_rows import row
from marketpulse.model.redis_keys import RedisKeys
from marketpulse.settings import Settings
from valkey_store import PASSWORD, ValkeyServer, valkey  # noqa: F401

pytestmark = pytest.mark.integration

T0_S = 1_714_521_600  # 2024-05-01
RECENT = 20


def trade(n: int) -> dict[str, Any]:
    event_time_ns = (T0_S + n - 7 * (n % 3)) * 10**9  # every third in order
    head = {"type": "trade", "symbol": f"S{n % 5}", "source": "test", "event_time_ns": event_time_ns}
    return {**head, "price": 1 / 3 + n, "size": 2.0, "trade_id": f"id-{n}"}


def bar(n: int) -> dict[str, Any]:
    return {**row(f"S{n % 5}", "1m", T0_S + 60 * n, 1.0 / (n + 1), volume=0.1 * n), "session_date": "2024-05-01"}


class SinkRedis:
    """`marketpulse sink redis`, as a user starts it, and the keys that it writes."""

    def __init__(self, settings: Settings, server: ValkeyServer) -> None:
        section = server.settings(recent_bars=RECENT)
        self.settings, self.client, self.keys = settings, server.client(), RedisKeys(section.prefix)
        self._environment = {
            **os.environ,
            "MARKETPULSE_DATA_DIR": str(settings.data_dir),
            "KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka.bootstrap_servers),
            "MARKETPULSE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "MARKETPULSE_KAFKA__PARTITIONS": str(settings.kafka.partitions),
            "MARKETPULSE_SINKS__REDIS__URL": section.url,
            "MARKETPULSE_SINKS__REDIS__PREFIX": section.prefix,
            "MARKETPULSE_SINKS__REDIS__RECENT_BARS": str(RECENT),
            "MARKETPULSE_SINKS__REDIS__PASSWORD": PASSWORD,
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        self._running.append(
            subprocess.Popen(
                [sys.executable, "-m", "marketpulse", "sink", "redis"],
                env={**self._environment, **environment}, cwd=self.settings.data_dir.parent, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return self._running[-1]

    def stands_at(self) -> dict[str, int]:
        found = self.client.hgetall(self.keys.offsets)
        return {place: min(json.loads(text).values()) for place, text in found.items() if text}

    def wait_for(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not reached():
            assert time.monotonic() < deadline, f"it stands at {self.stands_at()}"
            time.sleep(0.05)

    def wait_until_stored(self) -> None:
        topics = [BareTopic.of(self.settings, name) for name in ("market", "bars")]
        ends = {f"{topic.name}/{p}": end for topic in topics for p, end in topic.ends().items()}
        self.wait_for(lambda: all(self.stands_at().get(place, 0) >= end for place, end in ends.items()))

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def sink(kafka_settings: Settings, valkey: ValkeyServer) -> Iterator[SinkRedis]:  # noqa: F811
    kafka_settings.data_dir.mkdir(parents=True)
    processes = SinkRedis(kafka_settings, valkey)
    yield processes
    processes.close()


def write(settings: Settings, first: int, count: int, *, keep: bool = True) -> None:
    producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test-writer"))
    with transaction(producer, keep=keep):
        for n in range(first, first + count):
            for topic, record in (("market", trade(n)), ("bars", bar(n))):
                producer.produce(settings.topic(topic), as_bytes(record), partition=n % 5 % 4)


@pytest.mark.chaos
def test_killed_at_random_moments_it_holds_what_the_topics_say(sink: SinkRedis) -> None:
    chance, n = random.Random(5), 0
    for _ in range(3):
        process = sink.start()
        before = sink.stands_at()
        for keep in (True, False, True):
            write(sink.settings, n, 60, keep=keep)
            n += 60
        sink.wait_for(lambda: sink.stands_at() != before)  # noqa: B023  (called within this turn only)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = sink.start()
    write(sink.settings, n, 60)
    sink.wait_until_stored()
    last.terminate()
    assert last.wait(20) == 0

    market = BareTopic.of(sink.settings).committed()
    bars = rows(BareTopic.of(sink.settings, "bars").committed())
    for symbol in (f"S{i}" for i in range(5)):
        own = [r for r in market if r.row["symbol"] == symbol]
        newest = max(own, key=lambda r: (r.row["event_time_ns"], r.offset))
        price = sink.client.hgetall(sink.keys.price(symbol))
        assert (float(price["price"]), price["trade_id"]) == (newest.row["price"], newest.row["trade_id"])
        assert int(price["offset"]) == newest.offset
        series = sorted((b for b in bars if b["symbol"] == symbol), key=lambda b: b["open_time_ns"])
        held = sink.client.zrange(sink.keys.recent("bars", symbol, "1m"), -RECENT, -1)
        assert [json.loads(text)["close"] for text in held] == [b["close"] for b in series[-RECENT:]]
        volume = {b["open_time_ns"]: b["volume"] for b in series}
        ranked = sink.client.zscore(sink.keys.ranking("volume", "2024-05-01"), symbol)
        assert ranked == pytest.approx(sum(volume.values()), rel=1e-14)


def test_a_wrong_password_ends_it_and_is_not_shown(sink: SinkRedis) -> None:
    process = sink.start(MARKETPULSE_SINKS__REDIS__PASSWORD="a-wrong-one")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"MARKETPULSE_SINKS__REDIS__PASSWORD" in said
    assert b"a-wrong-one" not in said
