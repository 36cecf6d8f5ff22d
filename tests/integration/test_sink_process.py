"""The sinks' processes on the real broker and real stores: whatever happens to them, the store holds the topics."""

import gzip
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic, as_bytes, bare_producer, rows, transaction
from board_rows import row
from forked import Forked, forked_command
from given_settings import changed, environment_of
from influx_store import InfluxStore
from lake_store import LakeStore
from log_of_rows import of_flat_line
from marketpulse.app.pipeline import produce
from marketpulse.app.pipeline import sink as sink_process
from marketpulse.catalog import open_visible
from marketpulse.kafka.codec import encode_market
from marketpulse.model.market import TRADE
from marketpulse.model.redis_keys import RedisKeys
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import InfluxSettings, ReplaySettings, Settings, SinkSettings
from marketpulse.sinks.commits import read_states
from marketpulse.sinks.storage import LocalStorage
from postgres_store import PASSWORD as POSTGRES_PASSWORD
from postgres_store import PostgresPlace
from stored_pipeline import Working
from valkey_store import PASSWORD, ValkeyServer
from waiting import wait_until

Row = dict[str, Any]
T0 = 1_714_521_600_000_000_000  # 2024-05-01T00:00:00Z


def market_record(n: int) -> Row:
    """Trades, quotes, halts and heartbeats in turn, a minute apart, so that they fall on several days."""
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
    """Writes by transactions, every fourth of which is taken back. `record_of` gives a record for `market`, one for
    `bars`, and their partition."""

    def __init__(
        self,
        settings: Settings,
        record_of: Callable[[int], tuple[Row, Row, int]] = lambda n: (market_record(n), bar_record(n), n % 4),
    ) -> None:
        self._settings, self._record_of, self._n = settings, record_of, 0
        self._producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test-writer"))

    def write(self, transactions: int, records: int = 100) -> None:
        for _ in range(transactions):
            self._n += 1
            with transaction(self._producer, keep=self._n % 4 != 0):
                for n in range(self._n * records, (self._n + 1) * records):
                    trade, bar, partition = self._record_of(n)
                    for topic, record in (("market", trade), ("bars", bar)):
                        self._producer.produce(self._settings.topic(topic), as_bytes(record), partition=partition)


class SinkProcesses:
    """The processes of one sink. `stands_at` asks its store; `given` are the sink's settings in the environment."""

    def __init__(
        self, settings: Settings, which: str, stands_at: Callable[[], Mapping[tuple[str, int], int]], **given: str
    ) -> None:
        self.settings, self.stands_at, self._which = settings, stands_at, which
        self._given = {"flush_s": "0.2", **given}
        self._running: list[Forked] = []
        self.output = settings.data_dir.parent / f"{which}.out"
        """What its processes print."""
        settings.data_dir.mkdir(parents=True)

    def start(self, **given: str) -> Forked:
        section = {f"sinks__{self._which}__{name}": value for name, value in {**self._given, **given}.items()}
        self._running.append(
            forked_command(
                "sink", self._which, environment=environment_of(self.settings, **section),
                cwd=self.settings.data_dir.parent, output=self.output,
            )
        )  # fmt: skip
        return self._running[-1]

    def wait_until_moved(self, before: Mapping[tuple[str, int], int]) -> None:
        wait_until(lambda: self.stands_at() != before, f"{self._which} stands elsewhere than at {before}")

    def wait_until_shared(self, count: int) -> None:
        """Until so many processes have partitions."""
        kafka, group = self.settings.kafka, self.settings.topic(f"marketpulse-sink-{self._which}")
        admin = AdminClient({"bootstrap.servers": str(kafka.bootstrap_servers)})

        def shared() -> bool:
            members = admin.describe_consumer_groups([group])[group].result(20).members
            return sum(bool(m.assignment and m.assignment.topic_partitions) for m in members) == count

        wait_until(shared, f"{count} processes have partitions")

    def wait_until_stored(self) -> None:
        """Until the store stands behind the last row of the topics, as they end now."""
        wanted: dict[tuple[str, int], int] = {}
        for topic in (BareTopic.of(self.settings, name) for name in ("market", "bars")):
            for record in topic.committed():
                wanted[topic.name, record.partition] = record.offset + 1

        def stored() -> bool:
            now = self.stands_at()
            return all(now.get(key, 0) >= end for key, end in wanted.items())

        wait_until(stored, f"{self._which} stands at {wanted}")

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@contextmanager
def closing(processes: SinkProcesses) -> Iterator[SinkProcesses]:
    try:
        yield processes
    finally:
        processes.close()


def kill(process: Forked) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def stop(process: Forked) -> None:
    """In order, which is a success."""
    process.terminate()
    assert process.wait(30) == 0


FIELDS = {"trade": ("price", "size", "trade_id"), "quote": ("bid", "ask", "ask_size"), "halt": ()}


def assert_market_is_stored(settings: Settings, stored: Callable[[str], list[Row]], *kinds: str) -> None:
    """Every record of `market` of these kinds is in its table once, with its place, and nothing else is."""
    records = BareTopic.of(settings).committed()
    for kind in kinds or FIELDS:
        fields = ("partition", "offset", "symbol", "source", "event_time_ns", *FIELDS[kind])
        found = stored("events" if kind == "halt" else f"{kind}s")
        told = ({"partition": r.partition, "offset": r.offset, **r.row} for r in records if r.row["type"] == kind)
        stored_once, told_once = (Counter(tuple(map(row.get, fields)) for row in some) for some in (found, told))
        assert stored_once == told_once, kind


def as_lines(some: list[Row]) -> Counter[str]:
    return Counter(json.dumps(one, sort_keys=True) for one in some)


@pytest.fixture
def lake(kafka_settings: Settings) -> Iterator[SinkProcesses]:
    def stands_at() -> dict[tuple[str, int], int]:
        visible = open_visible(kafka_settings)
        visible.read()
        return dict(visible.positions())

    with closing(SinkProcesses(kafka_settings, "lake", stands_at)) as processes:
        yield processes


def assert_lake_is_the_topics(settings: Settings) -> None:
    """Every row of it, as its own library reads it."""
    table, bars = LakeStore(settings.data_dir / "lake").history, BareTopic.of(settings, "bars").committed()
    assert_market_is_stored(settings, table)
    assert as_lines([{**b, "session_date": str(b["session_date"])} for b in table("bars")]) == as_lines(rows(bars))


@pytest.mark.chaos
def test_killed_at_random_moments_the_lake_is_the_topic(kafka_settings: Settings, lake: SinkProcesses) -> None:
    writer, chance = Writer(kafka_settings), random.Random(11)
    writer.write(4)
    for _ in range(4):
        process, before = lake.start(), lake.stands_at()
        writer.write(3)
        lake.wait_until_moved(before)
        writer.write(3)
        time.sleep(chance.uniform(0, 0.6))  # somewhere in its work
        kill(process)
    last = lake.start()
    writer.write(2)
    lake.wait_until_stored()
    stop(last)
    assert_lake_is_the_topics(kafka_settings)

    query = LakeQuery(kafka_settings)
    trades = query.run('SELECT count(*) AS n, count(DISTINCT (partition, "offset")) AS d FROM trades').to_pylist()
    query.close()
    n = sum(row["type"] == "trade" for row in rows(BareTopic.of(kafka_settings).committed()))
    assert trades == [{"n": n, "d": n}]


def test_partitions_that_move_between_processes_are_stored_once(kafka_settings: Settings, lake: SinkProcesses) -> None:
    writer, first = Writer(kafka_settings), lake.start()
    writer.write(4)
    lake.wait_until_moved({})
    second = lake.start()
    writer.write(4, 50)
    lake.wait_until_shared(2)
    for _ in range(8):
        before = lake.stands_at()
        writer.write(2, 50)
        lake.wait_until_moved(before)
    stop(first)
    writer.write(4)
    lake.wait_until_stored()
    stop(second)
    assert_lake_is_the_topics(kafka_settings)


def test_the_archive_is_the_topic_line_for_line(kafka_settings: Settings) -> None:
    folder = kafka_settings.data_dir / "archive"

    def stands_at() -> dict[tuple[str, int], int]:
        states = read_states(LocalStorage(folder))
        return {key: min(state.next_offsets.values()) for key, state in states.items() if state.next_offsets}

    Writer(kafka_settings).write(6, 50)
    with closing(SinkProcesses(kafka_settings, "archive", stands_at)) as archive:
        process = archive.start()
        archive.wait_until_stored()
        stop(process)
    files = [gzip.decompress(path.read_bytes()).decode() for path in folder.glob("table=bars/*/*.jsonl.gz")]
    lines = [json.loads(line) for file in files for line in file.splitlines()]
    assert as_lines([*map(of_flat_line, lines)]) == as_lines(rows(BareTopic.of(kafka_settings, "bars").committed()))


@pytest.mark.parametrize("wire", ["json", "arrow"])
def test_the_archives_lines_have_the_columns_of_a_bars_source_under_their_names(
    kafka_settings: Settings, tmp_path: Path, wire: str
) -> None:
    (tmp_path / "index.csv").write_text(
        "Index,Date,Open,High,Low,Close,Adj Close,Volume,CloseUSD,Note,final\n"
        "HSI,1986-12-31,2568.3,2568.3,2568.3,2568.3,2568.3,0,333.879,,no\nHSI,1987-01-02,2540.1,2540.1,2540.1,2540.1,2540.1,0,330.213,half a day,7\n"
    )
    settings = changed(kafka_settings, kafka={"wire": wire}, sinks={"archive": {"enabled": True}})
    source = ReplaySettings(files=(str(tmp_path / "index.csv"),), speed="max")
    folder = settings.data_dir / "archive"

    def bars() -> list[Row]:
        files = [gzip.decompress(path.read_bytes()) for path in folder.glob("table=events/*/*.jsonl.gz")]
        return [row for row in map(json.loads, b"".join(files).splitlines()) if row["type"] == "bar"]

    with closing(SinkProcesses(settings, "archive", dict)) as archive:
        assert produce.run(settings, Working.life_of(settings, "index"), source, "index") == 0
        process = archive.start()
        wait_until(lambda: len(bars()) == 2, "both are stored")
        stop(process)
    names = ("symbol", "close", "CloseUSD", "Note", "final")
    expected = {("HSI", 2568.3, 333.879, None, True), ("HSI", 2540.1, 330.213, "half a day", True)}
    assert {tuple(row.get(name) for name in names) for row in bars()} == expected, "what is ours stays ours"
    assert "extra" not in bars()[0]


@pytest.mark.chaos
def test_tables_are_the_topics_through_kills_of_both(
    kafka_settings: Settings, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(kafka_settings)
    monkeypatch.setenv("PGPASSWORD", POSTGRES_PASSWORD)

    def stands_at() -> dict[tuple[str, int], int]:
        if place.sql("SELECT to_regclass('marketpulse.offsets') IS NULL") == ["t"]:
            return {}
        sql = "SELECT topic, partition, min(coalesce(next_offset, 0)) AS n FROM marketpulse.offsets GROUP BY 1, 2"
        return {(row["topic"], row["partition"]): row["n"] for row in place.found(sql)}

    with closing(SinkProcesses(kafka_settings, "postgres", stands_at, url=place.section()["url"])) as processes:
        writer.write(4)
        process = processes.start()
        processes.wait_until_moved({})
        writer.write(3)
        kill(process)
        last, before = processes.start(), stands_at()
        writer.write(3)
        processes.wait_until_moved(before)
        place.stop()
        writer.write(3)
        place.start()
        processes.wait_until_stored()
        stop(last)

    assert_market_is_stored(kafka_settings, place.rows)
    newest: dict[tuple[str, int], Row] = {}
    for record in sorted(BareTopic.of(kafka_settings, "bars").committed(), key=lambda r: r.offset):
        newest[record.row["symbol"], record.row["open_time_ns"]] = record.row
    assert as_lines(place.rows("bars")) == as_lines(list(newest.values()))
    assert any(row["revision"] for row in newest.values())


# Redis.

RECENT = 20


def of_five_symbols(n: int) -> tuple[Row, Row, int]:
    """Every third trade in order; bars of a minute. A symbol has one partition."""
    event_time_ns = T0 + (n - 7 * (n % 3)) * 10**9
    trade = {"type": "trade", "symbol": f"S{n % 5}", "source": "test", "event_time_ns": event_time_ns}
    bar = row(f"S{n % 5}", "1m", T0 // 10**9 + 60 * n, 1.0 / (n + 1), volume=0.1 * n)
    more = {"price": 1 / 3 + n, "size": 2.0, "trade_id": f"id-{n}"}
    return {**trade, **more}, {**bar, "session_date": "2024-05-01"}, n % 5 % 4


class SinkRedis(SinkProcesses):
    def __init__(self, settings: Settings, server: ValkeyServer) -> None:
        section = server.settings(recent_bars=RECENT)
        self.client, self.keys = server.client(), RedisKeys(section.prefix)
        given = {"url": section.url, "prefix": section.prefix, "recent_bars": str(RECENT), "password": PASSWORD}
        super().__init__(settings, "redis", self._stands_at, **given)

    def _stands_at(self) -> dict[tuple[str, int], int]:
        places = {place.rpartition("/"): text for place, text in self.client.hgetall(self.keys.offsets).items()}
        return {(topic, int(p)): min(json.loads(text).values()) for (topic, _, p), text in places.items() if text}


@pytest.fixture
def sink(kafka_settings: Settings, valkey: ValkeyServer) -> Iterator[SinkRedis]:
    processes = SinkRedis(kafka_settings, valkey)
    yield processes
    processes.close()


@pytest.mark.chaos
def test_killed_at_random_moments_redis_holds_what_the_topics_say(sink: SinkRedis) -> None:
    chance, writer = random.Random(5), Writer(sink.settings, of_five_symbols)
    for _ in range(3):
        process, before = sink.start(), sink.stands_at()
        writer.write(3, 60)
        sink.wait_until_moved(before)
        time.sleep(chance.uniform(0, 0.4))  # somewhere in its work
        kill(process)
    last = sink.start()
    writer.write(1, 60)
    sink.wait_until_stored()
    stop(last)

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


def test_a_wrong_password_ends_the_process_and_is_not_shown(sink: SinkRedis) -> None:
    assert sink.start(password="a-wrong-one").wait(60) == 1
    said = sink.output.read_text()
    assert "MARKETPULSE_SINKS__REDIS__PASSWORD" in said
    assert "a-wrong-one" not in said


def of_bursts(n: int) -> tuple[Row, Row, int]:
    """Four trades and a quote at each second."""
    head = {"symbol": f"S{n % 7}", "source": "test", "event_time_ns": T0 + n // 5 * 10**9}
    quote = {**head, "type": "quote", "bid": 1 / 3, "bid_size": 1.0, "ask": 2.0 + n, "ask_size": 3.0}
    times = {"open_time_ns": T0 + n * 10**9, "close_time_ns": T0 + (n + 60) * 10**9}
    bar = {"symbol": f"S{n % 7}", "timeframe": "1m", **times, "close": 1 / (n + 1), "vwap": None, "revision": 0}
    return (quote if n % 5 == 4 else {**head, "type": "trade", "price": 0.1 * n + 1, "size": 1.0}), bar, n % 7 % 4


def wait_for_rows(store: InfluxStore, table: str, number: int) -> None:
    wait_until(lambda: len(store.rows(table)) >= number, f"{number} {table} are stored")


def test_trades_of_arrow_frames_are_all_in_influx(kafka_settings: Settings, influx_store: InfluxStore) -> None:
    """Three frames of bursts of one nanosecond, by the process's own loop."""
    head = {"type": "trade", "source": "test", "size": 1.0, "conditions": ["@", "T"]}
    own = ({"symbol": f"S{n % 3}", "event_time_ns": T0 + n // 100, "price": 1 / (n + 1)} for n in range(900))
    some = [{**head, **each} for each in own]
    producer, market = bare_producer(kafka_settings.kafka.bootstrap_servers), kafka_settings.topic("market")
    for part in (some[:350], some[350:600], some[600:]):
        for frame in encode_market(pa.RecordBatch.from_pylist(part, schema=TRADE), wire="arrow", partitions=4):
            assert frame.partition is not None
            producer.produce(market, frame.value, partition=frame.partition, headers=dict(frame.headers or ()))
    assert producer.flush(20) == 0
    influx = InfluxSettings(**{**influx_store.section(), "flush_s": 0.2})
    kafka_settings.data_dir.mkdir(parents=True)
    with Working(changed(kafka_settings, sinks=SinkSettings(influx=influx)), sink_process.run, "influx", name="sink"):
        wait_for_rows(influx_store, "trades", 900)
    found = influx_store.rows("trades")
    stored, told = (sorted((r["symbol"], r["event_time_ns"], r["price"]) for r in every) for every in (found, some))
    assert stored == told
    assert {tuple(r["conditions"]) for r in found} == {("@", "T")}


@pytest.mark.chaos
def test_killed_on_the_way_influx_is_the_topics(kafka_settings: Settings, influx_store: InfluxStore) -> None:
    section = {k: v if isinstance(v, str) else json.dumps(v) for k, v in influx_store.section().items()}
    writer, end = Writer(kafka_settings, of_bursts), 0
    with closing(SinkProcesses(kafka_settings, "influx", dict, **section)) as processes:
        for dies in (True, True, False):
            process = processes.start()
            writer.write(8)
            end += 800
            if dies:
                wait_for_rows(influx_store, "bars", end // 2)
                kill(process)
        wait_for_rows(influx_store, "bars", end * 3 // 4)
        wait_for_rows(influx_store, "trades", end * 3 // 5)
        stop(process)

    columns = ("symbol", "timeframe", "open_time_ns", "close_time_ns", "close", "vwap", "revision")
    both = (influx_store.rows("bars"), rows(BareTopic.of(kafka_settings, "bars").committed()))
    stored, told = (sorted(tuple(str(r[c]) for c in columns) for r in some) for some in both)
    assert stored == told
    assert_market_is_stored(kafka_settings, influx_store.rows, "trade", "quote")
