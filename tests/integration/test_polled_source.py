"""Sources on the real broker: a polled vendor and pushed rows through faults and kills, every bar once, and whole
larger bars; and a live feed whose process is killed, the broker dies, the disk is full: each trade is there once."""

import json
import os
import random
import signal
import sqlite3
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pydantic import SecretStr
from websockets.sync.server import ServerConnection

from bare_clients import BareTopic, rows
from exchange_server import Exchange, running
from feed_processes import assert_every_trade_is_there_once, coinbase
from forked import Forked, forked_command
from given_settings import done_by
from marketpulse.app.pipeline import process
from marketpulse.app.pipeline.produce import run
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.polled_bytes import from_bytes
from marketpulse.kafka.topics import ensure_topics
from marketpulse.settings import HttpSettings, Settings, load_settings
from marketpulse.sources.streaming.connection import QUEUE_MAX
from marketpulse.telemetry import read_metrics
from stored_pipeline import Working
from vendor_server import Reply, Request, recorded, scripted, vendor
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("kernels")]

VENDORS_KEY = "K3Y-OF-THE-VENDOR"
SYMBOLS = ("AAPL", "BRK.B", "IBM", "MSFT", "NVDA", "TSLA")


class GrowingMarket:
    """A recorded answer's bars, of which each question shows some more; of the last one nobody knows that it closed."""

    def __init__(self) -> None:
        body = recorded("mock_time_series")
        self.meta = body["Meta Data"]
        self.bars = list(reversed(body["Time Series (1min)"].items()))
        self.shown: dict[str, int] = defaultdict(lambda: 20)
        self.rng = random.Random(8)
        self.whole = threading.Event()

    def __call__(self, request: Request) -> Reply:
        assert request.parameters["apikey"] == VENDORS_KEY
        if self.rng.random() < 0.1:
            busy, html = Reply(429, headers={"Retry-After": "0"}), Reply(200, b"<html></html>")
            return self.rng.choice([busy, Reply(500), html, Reply(200, b"{}" * 50, cut=9)])
        symbol = request.parameters["symbol"]
        until = self.shown[symbol] = min(len(self.bars), self.shown[symbol] + 3)
        if len(self.shown) == len(SYMBOLS) and min(self.shown.values()) == len(self.bars):
            self.whole.set()
        newest_first = dict(reversed(self.bars[max(0, until - 40) : until]))
        return Reply.json({"Meta Data": self.meta, "Time Series (1min)": newest_first})


def committed(settings: Settings, topic: str = "market") -> list[dict[str, Any]]:
    return [record.row for record in BareTopic.of(settings, topic).committed()]


HOW = {
    "alpha_vantage": """
        function = "intraday"
        interval = "1min"
        requests_per_day = 5_000
        spread = ["00:00", "00:01"]
        base_url = "{url}" """,
    "rest": """
        url = "{url}/query?symbol={{symbol}}&apikey=${{API_KEY}}"
        rows = "Time Series (1min).*"
        mapping.timezone = "America/New_York" """,
}


def configured(folder: Path, kafka: Settings, url: str, kind: str = "alpha_vantage") -> Path:
    """A configuration as a person writes it."""
    file = folder / "marketpulse.toml"
    file.write_text(
        f"""
        data_dir = "{kafka.data_dir}"
        cache_dir = "{kafka.cache_dir}"
        [kafka]
        bootstrap_servers = "{kafka.kafka.bootstrap_servers}"
        topic_prefix = "{kafka.kafka.topic_prefix}"
        [engine]
        timeframes = ["1m", "5m"]
        indicators = "sma(2)"
        [telemetry]
        log_level = "debug"
        [sources.{kind}-1]
        kind = "{kind}"
        symbols = {json.dumps(SYMBOLS)}
        every_s = 0.05
        delay_s = 1e9
        requests_per_minute = 60_000
        {HOW[kind].format(url=url)}
        """
    )
    return file


def words(source: str, config: Path, *more: str) -> tuple[str, ...]:
    return ("produce", source, *more, "--config", str(config))


@pytest.mark.parametrize("kind", HOW)
def test_a_polled_vendor_through_faults_and_kills(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("API_KEY", VENDORS_KEY)
    monkeypatch.chdir(tmp_path)
    market = GrowingMarket()
    output = tmp_path / "child.out"
    with vendor(market) as server:
        config = configured(tmp_path, kafka_settings, server.url, kind)
        settings = load_settings(config)
        for asked in (40, 80):
            child = forked_command(*words(f"{kind}-1", config), environment=os.environ, cwd=tmp_path, output=output)

            def has_asked(child: Forked = child, asked: int = asked) -> bool:
                assert child.poll() is None, output.read_text()
                return len(server.requests) >= asked

            wait_until(has_asked)
            child.kill()
            child.wait()

        def all_are_there() -> bool:
            bars = [r for r in committed(settings) if r["type"] == "bar"]
            return len(bars) >= len(SYMBOLS) * (len(market.bars) - 1)

        with Working(settings, run, settings.sources[f"{kind}-1"], f"{kind}-1", name="x"):
            wait_until(market.whole.is_set, "all was asked")
            wait_until(all_are_there)
    records = committed(settings)
    bars = [r for r in records if r["type"] == "bar"]
    for symbol in SYMBOLS:
        own = [r["open_time_ns"] for r in bars if r["symbol"] == symbol]
        assert len(own) == len(market.bars) - 1, "all but the one that still forms"
        assert own == sorted(set(own))
    assert not [r for r in committed(settings, "dead-letters") if r["reason"] != "bad_answer"]
    for shown in (output, *settings.data_dir.glob("budgets/*")):
        assert VENDORS_KEY.encode() not in shown.read_bytes()
    assert VENDORS_KEY not in repr(records)

    wanted = len(SYMBOLS) * (99 + 20)  # from 13:17 on twenty periods of five minutes have ended before 14:56
    with Working(settings, process.run):
        built = rows(BareTopic.of(settings, "bars").wait_for(wanted))
    volume_of = {(r["symbol"], r["open_time_ns"]): r["volume"] for r in bars}
    fives = [r for r in built if r["timeframe"] == "5m"]
    assert len(fives) == len(SYMBOLS) * 20
    for five in fives:
        parts = [volume_of.get((five["symbol"], five["open_time_ns"] + i * 60 * 10**9), 0) for i in range(5)]
        assert five["volume"] == sum(parts), "no larger bar closed before its parts were there"
        assert five["revision"] == 0


def test_a_wrong_key_ends_the_source_with_a_code_of_its_own_after_one_question(
    kafka_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", VENDORS_KEY)
    told = {"Error Message": f"the parameter apikey is invalid or missing: {VENDORS_KEY}"}
    with vendor(scripted(Reply.json(told))) as server:
        config = configured(tmp_path, kafka_settings, server.url)
        ended = done_by(*words("alpha_vantage-1", config), environment=os.environ, cwd=tmp_path)
        assert len(server.requests) == 1
    assert ended.returncode == 3
    assert "does not accept the key" in ended.stderr
    assert "`.env`" in ended.stderr
    assert VENDORS_KEY not in ended.stderr + ended.stdout


def test_rows_on_a_pipe_are_in_the_log_when_it_ends(kafka_settings: Settings, tmp_path: Path) -> None:
    config = configured(tmp_path, kafka_settings, "http://127.0.0.1:1")
    table = "time,symbol,price\n" + "".join(f"{1_772_463_600 + i},S{i % 3},{i + 1}\n" for i in range(500))
    ended = done_by(*words("replay", config, "-", "--no-wait"), typed=table, environment=os.environ, cwd=tmp_path)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (0, "stdin: 500 rows read, 500 sent, 0 dead letters")
    assert sorted([r["price"] for r in committed(kafka_settings) if r["type"] == "trade"]) == list(range(1, 501))


def test_pushed_rows_are_in_the_log_when_the_answer_comes(kafka_settings: Settings) -> None:
    word = "a-token-of-more-than-20-letters"
    source = HttpSettings(port=0, token=SecretStr(word), mode="historical")
    with Working(kafka_settings, run, source, "push", name="push") as pushing:
        url = pushing.facts()["ingest_url"]
        body = "\n".join(
            f'{{"symbol": "S{i % 3}", "price": {i + 1}, "timestamp": {1_772_463_600 + i}, "id": "{i}"}}'
            for i in range(60)
        )
        for part in (body, body, "[" + body.replace("\n", ",").replace('"id": "', '"id": "x') + "]"):
            headers = {"Authorization": f"Bearer {word}", "Idempotency-Key": part[:1]}
            assert httpx.post(url, content=part, headers=headers, timeout=60, trust_env=False).status_code == 200
            assert sum(r["type"] == "trade" for r in committed(kafka_settings)) == (60 if part is body else 120)


PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")


def test_a_feed_that_is_killed_and_faulty_brings_every_trade_exactly_once(kafka_settings: Settings) -> None:
    faulty = Exchange("coinbase", PRODUCTS, 6_000, seed=11, fault_rate=0.002, every_s=0.002)
    with running(faulty) as exchange, coinbase(exchange, kafka_settings, PRODUCTS, silence_s=2) as feed:
        feed.run_killed(exchange, [500] * 3, lambda: len(exchange.tape))
        assert_every_trade_is_there_once(feed.rows("trade"), exchange.tape)
        gaps = feed.rows("gap")
    assert {gap["state"] for gap in gaps} == {"found", "healed"}, json.dumps(gaps[:3])
    assert exchange.connections >= 4


@contextmanager
def own_broker(folder: Path, cache: Path, **kafka: Any) -> Iterator[tuple[EmbeddedBroker, Settings]]:
    """A broker that may be killed, and settings for it."""
    own = Settings(data_dir=folder / "own", cache_dir=cache, broker={"heap_mb": 192}, kafka={"partitions": 3, **kafka})
    with EmbeddedBroker(own) as broker:
        settings = connected_to(own, broker.bootstrap)
        ensure_topics(settings)
        yield broker, settings


def kill(broker: EmbeddedBroker) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    assert broker.wait(30)


def waiting(spool: Path) -> set[tuple[str, int]]:
    """(symbol, trade id) of what lies on the disk, read as another process reads it."""
    found: set[tuple[str, int]] = set()
    try:
        with sqlite3.connect(f"file:{spool}?mode=ro", uri=True) as file:
            bodies = file.execute("SELECT body FROM entries").fetchall()
    except sqlite3.OperationalError:  # there is none, or it has just gone
        return found
    for (body,) in bodies:
        for batch in from_bytes(body).batches:
            if "trade_id" in batch.schema.names:
                names = (batch.column("symbol").to_pylist(), batch.column("trade_id").to_pylist())
                found |= {(symbol, int(number)) for symbol, number in zip(*names, strict=True)}
    return found


class Reader:
    """Counts committed trades while the log grows: a reader that waits for its end would never see one."""

    def __init__(self, settings: Settings) -> None:
        who = {"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "counting", "log_level": 0}
        self.consumer = Consumer({**who, "isolation.level": "read_committed", "enable.auto.commit": False})
        partitions = range(settings.kafka.partitions)
        self.consumer.assign([TopicPartition(settings.topic("market"), p, OFFSET_BEGINNING) for p in partitions])
        self.count = 0

    def trades(self) -> int:
        while (message := self.consumer.poll(0.05)) is not None:
            if message.error() is None:
                self.count += b'"type":"trade"' in (message.value() or b"")
        return self.count


def test_a_dead_broker_and_a_feed_killed_meanwhile_leave_every_trade_once(tmp_path: Path, broker_cache: Path) -> None:
    exchange = Exchange("coinbase", PRODUCTS, 60_000, seed=5, every_s=0.004)
    with (
        own_broker(tmp_path, broker_cache) as (broker, settings),
        running(exchange),
        coinbase(exchange, settings, PRODUCTS, silence_s=5) as feed,
    ):
        spool, log = settings.data_dir / "spool" / "coinbase.sqlite", Reader(settings)
        feed.start()
        feed.until(lambda: log.trades() > 200, "trades come")
        kill(broker)
        feed.until(lambda: len(waiting(spool)) > 1_000, "trades wait on the disk")
        feed.kill()
        first = waiting(spool)
        feed.start()  # without a broker
        feed.until(lambda: len(waiting(spool)) > len(first) + 500, "more of them wait")
        kept = waiting(spool)
        assert first <= kept
        broker.start()
        feed.until(lambda: len(waiting(spool) & kept) < len(kept), "the first have gone")
        feed.kill()  # between what stands in the log and what is dropped from the disk
        feed.start()
        feed.until(lambda: not spool.exists(), "nothing waits")
        exchange.stop_trading()
        feed.until(lambda: log.trades() >= len(exchange.known()), "every trade is in the log")
        log.consumer.close()
        feed.stop()
        assert_every_trade_is_there_once(feed.rows("trade"), exchange.known())
        gaps = feed.rows("gap")
    asked_for = {(g["symbol"], number) for g in gaps for number in range(int(g["from_id"]), int(g["to_id"]) + 1)}
    assert asked_for, "the vendor was asked for what traded while nobody listened"
    assert not asked_for & first, "and never for what lay on the disk"


class Talkative(Exchange):
    """Once it is told to, it says more than a feed that does not read on can keep in memory: then trades are lost."""

    def __init__(self) -> None:
        super().__init__("coinbase", PRODUCTS, 200_000, seed=9, every_s=0.001)
        self.talk = threading.Event()
        self.talked = threading.Event()

    def send_one(self, socket: ServerConnection, known: list[Any], i: int, rng: Any) -> int:
        if self.talk.is_set() and not self.talked.is_set():
            beat = {"type": "heartbeat", "sequence": 1, "last_trade_id": self.first_id, "product_id": known[i][0]}
            said = json.dumps({**beat, "time": "2026-01-02T03:04:05.000000Z"})
            for _ in range(QUEUE_MAX + 1_000):
                socket.send(said)
            self.talked.set()
        return super().send_one(socket, known, i, rng)


def metric(settings: Settings, name: str) -> float:
    """A sum over the samples of the source's process; 0 while it has no address yet."""
    try:
        port = json.loads((settings.data_dir / "run" / "produce-coinbase.json").read_text())["metrics_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return sum(value for found, _, value in read_metrics(answer.read().decode()) if found == name)
    except (OSError, ValueError, KeyError):
        return 0.0


def test_what_a_full_disk_had_no_room_for_is_asked_for_again_and_kept_once(tmp_path: Path, broker_cache: Path) -> None:
    exchange = Talkative()
    with (
        own_broker(tmp_path, broker_cache, producer={"spool_mb": 1}) as (broker, settings),
        running(exchange),
        coinbase(exchange, settings, PRODUCTS, silence_s=30) as feed,
    ):
        feed.start()
        feed.until(lambda: metric(settings, "rows_produced") > 200, "trades come")
        kill(broker)
        feed.until(lambda: metric(settings, "spool_refused") > 0, "1. the disk is full")
        exchange.talk.set()
        feed.until(exchange.talked.is_set, "it says too much")
        feed.until(lambda: metric(settings, "stream_overrun") > 500, "2. and so is the memory")
        lost_until = exchange.happened
        broker.start()
        feed.until(lambda: metric(settings, "spool_rows") == 0, "the disk is free")
        feed.until(lambda: exchange.happened > lost_until + 500, "3. the feed brings what shows that some are missing")
        exchange.stop_trading()
        feed.until(lambda: metric(settings, "stream_missing_trades") > 0, "they are missed")
        feed.until(lambda: not (settings.data_dir / "spool" / "coinbase.sqlite").exists(), "nothing waits")
        feed.until(lambda: len(feed.so_far("trade")) >= len(exchange.known()), "every trade is in the log")
        feed.stop()
        assert_every_trade_is_there_once(feed.rows("trade"), exchange.known())
        gaps = feed.rows("gap")
    assert {str(gap["state"]) for gap in gaps} == {"found", "healed"}, json.dumps(gaps[:3])
    assert sum(int(gap["trades"]) for gap in gaps if gap["state"] == "healed") > 100
