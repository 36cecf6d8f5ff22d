"""The sink on a real InfluxDB 1.x and a real VictoriaMetrics: limits, logins, keys, and its process end to end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from bare_clients import BareTopic, as_bytes, bare_producer, rows, transaction
from influx_store import InfluxStore
from log_of_rows import HOUR_NS, START_NS, batch
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline import sink as sink_process
from marketpulse.errors import Fatal, Retryable, SettingsError
from marketpulse.kafka.codec import encode_market
from marketpulse.model.market import TRADE
from marketpulse.model.rows import ALERT, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import InfluxSettings, Settings, SinkSettings
from marketpulse.sinks.influx import InfluxSink, open_influx
from marketpulse.telemetry import REGISTRY, Health
from time_series_servers import PASSWORD, USER, InfluxServer, Server, victoria_metrics

pytestmark = pytest.mark.integration

DAY_NS = 24 * HOUR_NS


def opened(store: InfluxStore, **given: Any) -> InfluxSink:
    return open_influx(InfluxSettings(**{**store.section(), **given}))


def written(sink: InfluxSink, table: str, some: list[dict[str, Any]], schema: pa.Schema | None = None) -> None:
    """These rows and no others wait no more."""
    topic = TABLES[table][0]
    sink.resume()
    sink.write(SinkBatch(table, topic, 0, 0, len(some), pa.RecordBatch.from_pylist(some, schema or TABLES[table][1])))
    sink.flush()


def trade(time_ns: int, offset: int, row: int = 0, **given: Any) -> dict[str, Any]:
    return {
        "type": "trade", "symbol": "A", "source": "s", "event_time_ns": time_ns, "price": float(offset), "size": 1.0,
        "topic": "market", "partition": 0, "offset": offset, "row": row, **given,
    }  # fmt: skip


def bar(open_time_ns: int, **given: Any) -> dict[str, Any]:
    head = {"symbol": "A", "timeframe": "1m", "close_time_ns": open_time_ns + 60 * 10**9, "revision": 0, "close": 1.0}
    return {**head, "open_time_ns": open_time_ns, **given}


def refused_points(reason: str) -> float:
    labels = {"sink": "influx", "reason": reason}
    return REGISTRY.get_sample_value("marketpulse_points_refused_total", labels) or 0


# What a point is.


def test_trades_of_one_nanosecond_are_all_there_whatever_the_cut(influx_store: InfluxStore) -> None:
    burst = [trade(START_NS, offset, row) for offset in range(40) for row in range(2)]
    written(opened(influx_store), "trades", burst)
    sink = opened(influx_store)
    for cut in (burst[:6], burst[6:34], burst[34:]):
        written(sink, "trades", cut)
    found = sorted((row["offset"], row["row"], row["event_time_ns"]) for row in influx_store.rows("trades"))
    assert found == [(t["offset"], t["row"], START_NS) for t in burst]


@pytest.mark.parametrize("symbol", ["BTC-USD.COINBASE", "A B", "a,b=c", '"', "'", "Ünï", "a;b"])
def test_any_symbol_can_be_written_withdrawn_and_written_again(influx_store: InfluxStore, symbol: str) -> None:
    sink = opened(influx_store)
    for revision, close in enumerate([1.0, None, 3.0]):
        some = [bar(START_NS, symbol=symbol, revision=revision, close=close), bar(START_NS, symbol="other")]
        written(sink, "bars", some)
        found = {row["symbol"]: row["close"] for row in influx_store.rows("bars")}
        assert found == {"other": 1.0} | ({symbol: close} if close else {})


def test_whoever_asks_for_prices_sees_no_withdrawn_bar(influx_store: InfluxStore) -> None:
    sink = opened(influx_store)
    written(sink, "bars", [bar(START_NS, open=1.0), bar(START_NS + 1, close=2.0)])
    written(sink, "bars", [bar(START_NS, revision=1, close=None)])
    found = influx_store.server.rows("bars", influx_store.database, "open, close")
    assert [(row["time"], row["close"]) for row in found] == [(START_NS + 1, 2.0)]


def test_a_value_that_a_revision_took_back_is_gone(influx_store: InfluxStore) -> None:
    sink, schema = opened(influx_store), indicators_schema(["sma_20", "ema_12"])
    head = {"symbol": "A", "timeframe": "1m", "open_time_ns": START_NS, "close_time_ns": START_NS + 1, "close": 1.0}
    written(sink, "indicators", [{**head, "revision": 0, "sma_20": 1.0, "ema_12": 2.0}], schema)
    written(sink, "indicators", [{**head, "revision": 1, "sma_20": None, "ema_12": 3.0}], schema)
    (row,) = influx_store.rows("indicators")
    assert (row.get("sma_20"), row["ema_12"], row["revision"]) == (None, 3.0, 1)


def test_alerts_keep_their_last_state(influx_store: InfluxStore) -> None:
    head = {"symbol": "A", "severity": "info", "timeframe": "1m", "open_time_ns": START_NS, "late": False,
            "event_time_ns": START_NS + 60, "message": 'rsi "low", \\ 30\n', "value": 29.5}  # fmt: skip
    sink = opened(influx_store)
    some = [
        {**head, "rule": "dip, deep", "state": "raised", "revision": 0},
        {**head, "rule": "rise", "state": "raised", "revision": 0},
        {**head, "rule": "rise", "state": "withdrawn", "was": "raised", "revision": 1},
    ]
    written(sink, "alerts", some, ALERT)
    (row,) = influx_store.rows("alerts")
    assert (row["rule"], row["state"], row["message"], row["late"]) == ("dip, deep", "raised", head["message"], False)


# Databases, logins, limits.


def test_a_new_database_keeps_for_as_long_as_the_settings_say(influx_store: InfluxStore) -> None:
    sink = opened(influx_store, retention="30d")
    sink.resume()
    policies = influx_store.server.query(f'SHOW RETENTION POLICIES ON "{influx_store.database}"')
    assert policies[0]["values"][0][:2] == ["autogen", "720h0m0s"]
    opened(influx_store, retention="30d").resume()
    with pytest.raises(SettingsError, match=r'ALTER RETENTION POLICY "autogen" ON "suite [0-9]+" DURATION 4w'):
        opened(influx_store, retention="4w").resume()


def test_points_that_the_retention_has_passed_are_counted_and_the_others_stored(influx_store: InfluxStore) -> None:
    now_ns, before = time.time_ns(), refused_points("beyond_retention")
    written(opened(influx_store, retention="30d"), "bars", [bar(now_ns - age * DAY_NS) for age in (1, 2, 400, 401)])
    assert len(influx_store.rows("bars")) == 2
    assert refused_points("beyond_retention") == before + 2


def test_a_field_of_another_type_stops_it_with_what_to_do(influx_store: InfluxStore) -> None:
    sink = opened(influx_store)
    sink.resume()
    taken = {"db": influx_store.database}
    httpx.post(
        f"{influx_store.server.url}/write",
        params=taken,
        content=f"bars,symbol=A close=1i {START_NS}",
        auth=(USER, PASSWORD),
    ).raise_for_status()
    sink.write(batch("bars", 0, 0, 20))
    before = refused_points("refused")
    with pytest.raises(Fatal, match=r"field type conflict.*Give sinks.influx.database another name") as caught:
        sink.flush()
    assert "nothing is lost" in str(caught.value)
    assert refused_points("refused") == before + 1
    assert sink.waiting_rows == 16


def test_a_login_that_may_only_write_needs_its_database(influx_store: InfluxStore) -> None:
    server, name = influx_store.server, influx_store.database
    server.query(f"CREATE USER writer_{name.split()[1]} WITH PASSWORD 'w'")
    login = {"user": f"writer_{name.split()[1]}", "password": "w"}
    sink = opened(influx_store, **login)
    sink.resume()
    sink.write(batch("bars", 0, 0, 20))
    with pytest.raises(Fatal, match=f"{name}.*nothing is lost"):
        sink.flush()
    server.query(f'CREATE DATABASE "{name}"')
    server.query(f'GRANT WRITE ON "{name}" TO "{login["user"]}"')
    sink.flush()
    assert len(influx_store.rows("bars")) == 16


def test_bodies_shrink_to_what_the_server_takes_and_too_many_series_are_said(tmp_path: Path) -> None:
    server = InfluxServer(tmp_path, limits="max-values-per-tag = 5", http="max-body-size = 4000")
    server.start()
    try:
        store = InfluxStore(server)
        sink = opened(store, gzip=False)
        sink.write(batch("bars", 0, 0, 200))
        sink.flush()
        assert len(store.rows("bars")) == 160
        written(sink, "bars", [bar(START_NS, symbol=f"T{n}") for n in range(5)])  # the server counts before a write
        with pytest.raises(Fatal, match=r"at a limit of its own.*max-values-per-tag.*docs/influx.md"):
            written(sink, "bars", [bar(START_NS, symbol=f"U{n}") for n in range(5)])
    finally:
        server.kill()


def test_a_server_that_hangs_is_waited_for(tmp_path: Path) -> None:
    server = InfluxServer(tmp_path)
    server.start()
    try:
        store = InfluxStore(server)
        sink = opened(store, timeout_s=1)
        sink.write(batch("bars", 0, 0, 20))
        server.signal(signal.SIGSTOP)
        with pytest.raises(Retryable, match=r"does not answer .*; nothing is lost"):
            sink.flush()
        server.signal(signal.SIGCONT)
        sink.flush()
        assert len(store.rows("bars")) == 16
    finally:
        server.kill()


# VictoriaMetrics: numbers, to the millisecond.


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = victoria_metrics(tmp_path_factory.mktemp("victoria"))
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("version", ["auto", "v1", "v2"])
def test_victoriametrics_takes_the_numbers(metrics: Server, version: str) -> None:
    timeframe = f"1m{version}"
    some = [bar(START_NS + n * 60 * 10**9, timeframe=timeframe, close=0.1 + n, source="text") for n in range(50)]
    written(open_influx(InfluxSettings(url=metrics.url, api=version)), "bars", some)
    httpx.get(f"{metrics.url}/internal/force_flush").raise_for_status()
    lines = httpx.get(
        f"{metrics.url}/api/v1/export", params={"match[]": f'bars_close{{symbol="A",timeframe="{timeframe}"}}'}
    ).text.splitlines()
    (series,) = map(json.loads, lines)
    found = dict(zip(series["timestamps"], series["values"], strict=True))
    assert found == {row["open_time_ns"] // 10**6: row["close"] for row in some}


# The process.


def produced(settings: Settings, first: int, end: int) -> None:
    """Trades, quotes and bars in transactions, every fourth of which is taken back."""
    producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test-writer"))
    for number, start in enumerate(range(first, end, 100)):
        with transaction(producer, keep=number % 4 != 3):
            for n in range(start, start + 100):
                head = {"symbol": f"S{n % 7}", "source": "test", "event_time_ns": START_NS + n // 5 * 10**9}
                quote = {**head, "type": "quote", "bid": 1 / 3, "bid_size": 1.0, "ask": 2.0 + n, "ask_size": 3.0}
                record = quote if n % 5 == 4 else {**head, "type": "trade", "price": 0.1 * n + 1, "size": 1.0}
                whole = {**bar(START_NS + n * 10**9), "symbol": f"S{n % 7}", "close": 1 / (n + 1), "vwap": None}
                for topic, value in (("market", record), ("bars", whole)):
                    producer.produce(settings.topic(topic), as_bytes(value), partition=n % 7 % 4)


def started(settings: Settings, store: InfluxStore) -> subprocess.Popen[bytes]:
    section = {f"MARKETPULSE_SINKS__INFLUX__{k.upper()}": v for k, v in store.section().items()}
    environment = {
        **os.environ, "MARKETPULSE_DATA_DIR": str(settings.data_dir),
        "KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka.bootstrap_servers),
        "MARKETPULSE_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "MARKETPULSE_KAFKA__PARTITIONS": str(settings.kafka.partitions),
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in section.items()},
        "MARKETPULSE_SINKS__INFLUX__FLUSH_S": "0.2",
    }  # fmt: skip
    command = [sys.executable, "-m", "marketpulse", "sink", "influx"]
    return subprocess.Popen(command, env=environment, cwd=settings.data_dir.parent)


def wait_for_rows(store: InfluxStore, table: str, number: int) -> None:
    deadline = time.monotonic() + 120
    while (found := len(store.rows(table))) < number:
        assert time.monotonic() < deadline, f"{found} of {number} {table} are stored"
        time.sleep(0.2)


def test_trades_of_arrow_frames_are_all_there(kafka_settings: Settings, influx_store: InfluxStore) -> None:
    """Three frames of bursts of one nanosecond, by the process's own loop."""
    some = [
        {"type": "trade", "symbol": f"S{n % 3}", "source": "test", "event_time_ns": START_NS + n // 100, "price": 1 / (n + 1),
         "size": 1.0, "conditions": ["@", "T"]}
        for n in range(900)
    ]  # fmt: skip
    producer = bare_producer(kafka_settings.kafka.bootstrap_servers)
    for first in (0, 350, 600):
        part = some[first : {0: 350, 350: 600, 600: 900}[first]]
        for frame in encode_market(pa.RecordBatch.from_pylist(part, schema=TRADE), wire="arrow", partitions=4):
            assert frame.partition is not None
            producer.produce(
                kafka_settings.topic("market"),
                frame.value,
                partition=frame.partition,
                headers=dict(frame.headers or ()),
            )
    assert producer.flush(20) == 0
    settings = kafka_settings.model_copy(
        update={"sinks": SinkSettings(influx=InfluxSettings(**{**influx_store.section(), "flush_s": 0.2}))}
    )
    settings.data_dir.mkdir(parents=True)
    life = Lifecycle("sink", threading.Event(), Health(), settings.data_dir / "run" / "sink.json", 0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sink_process.run, settings, life, "influx")
        try:
            wait_for_rows(influx_store, "trades", 900)
        finally:
            life.stop.set()
        assert running.result(60) == 0
    found = influx_store.rows("trades")
    assert sorted((r["symbol"], r["event_time_ns"], r["price"]) for r in found) == sorted(
        (t["symbol"], t["event_time_ns"], t["price"]) for t in some
    )
    assert {tuple(r["conditions"]) for r in found} == {("@", "T")}


@pytest.mark.chaos
def test_killed_on_the_way_the_database_is_the_topics_row_for_row(
    kafka_settings: Settings, influx_store: InfluxStore
) -> None:
    kafka_settings.data_dir.mkdir(parents=True)
    end = 0
    for kill in (True, True, False):
        process = started(kafka_settings, influx_store)
        try:
            produced(kafka_settings, end, end + 800)
            end += 800
            if kill:
                wait_for_rows(influx_store, "bars", end // 2)
                process.send_signal(signal.SIGKILL)
            else:
                wait_for_rows(influx_store, "bars", end * 3 // 4)
                wait_for_rows(influx_store, "trades", end * 3 // 5)
                process.terminate()
                assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()

    bars = rows(BareTopic.of(kafka_settings, "bars").committed())
    columns = ("symbol", "timeframe", "open_time_ns", "close_time_ns", "close", "vwap", "revision")
    assert sorted(tuple(map(str, (row[c] for c in columns))) for row in influx_store.rows("bars")) == sorted(
        tuple(map(str, (row[c] for c in columns))) for row in bars
    )
    market = BareTopic.of(kafka_settings).committed()
    for table, kind, fields in (
        ("trades", "trade", ("price", "size")),
        ("quotes", "quote", ("bid", "ask", "ask_size")),
    ):
        wanted = [
            (r.partition, r.offset, r.row["symbol"], r.row["event_time_ns"], *(r.row[f] for f in fields))
            for r in market
            if r.row["type"] == kind
        ]
        found = [
            (r["partition"], r["offset"], r["symbol"], r["event_time_ns"], *(r[f] for f in fields))
            for r in influx_store.rows(table)
        ]
        assert sorted(found) == sorted(wanted), table
