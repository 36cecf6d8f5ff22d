"""Records in and out past the Python client, held against the Python client, on the real broker; and readers."""

import itertools
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bare_clients import BareTopic, bare_producer, transaction
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import feed as feed_module
from marketpulse.kafka.client import client_config
from marketpulse.kafka.codec import FRAME_CONTENT_TYPE, encode_market, encode_rows, lay_out_rows
from marketpulse.kafka.consumer import TableReader
from marketpulse.kafka.feed import KafkaLiveFeed
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.record_queue import RecordQueue
from marketpulse.kafka.records import Records, records_of_messages
from marketpulse.kafka.row_sender import RowSender
from marketpulse.kafka.tail import tail
from marketpulse.model.market import TRADE
from marketpulse.model.rows import BAR
from marketpulse.ports import FeedBatch, SinkBatch
from marketpulse.settings import Settings
from refused import assert_raises
from waiting import wait_until


@contextmanager
def reader(settings: Settings, partitions: int, offset: int = 0) -> Iterator[tuple[Consumer, RecordQueue]]:
    config = client_config(settings, "consumer", group_id="columnar", auto_offset_reset="error")
    consumer = LogConsumer(settings, config)
    queue, topic = RecordQueue(consumer), settings.topic("market")
    queue.lead_here(topic, range(partitions))
    consumer.assign([TopicPartition(topic, p, offset) for p in range(partitions)])
    try:
        yield consumer, queue
    finally:
        queue.close()
        consumer.close()


def taken(consumer: Consumer, queue: RecordQueue, count: int, most: int = 1_000) -> list[Records]:
    found: list[Records] = []

    def all_came() -> bool:
        assert consumer.poll(0) is None, "everything comes through the queue"
        found.extend(queue.take(0.1, most))
        return sum(map(len, found)) >= count

    wait_until(all_came)
    return found


def seen(parts: list[Records]) -> dict[int, list[tuple[object, ...]]]:
    rows: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    for part in parts:
        for i in range(len(part)):
            row = (int(part.offsets[i]), part.key(i), part.value(i), part.is_frame(i), int(part.appended_ms[i]))
            rows[part.partition].append(row)
    return rows


@pytest.mark.parametrize("most", [1, 7, 1_000])
def test_every_record_comes_as_the_python_client_gives_it(kafka_settings: Settings, most: int) -> None:
    topic = BareTopic.of(kafka_settings)
    producer = Producer({"bootstrap.servers": kafka_settings.kafka.bootstrap_servers})
    values = [b'{"a":1}', b"", None, b"  {}", b"ARROW", b"\x00", b"x" * 100_000]
    for i, (value, key) in enumerate(itertools.product(values, [b"k", b"", None])):
        kind = FRAME_CONTENT_TYPE if value == b"ARROW" and key else b"text"
        headers: list[tuple[str, str | bytes | None]] = [("content-type", kind), ("a", None)]
        producer.produce(topic.name, value, key, partition=i % 3, headers=headers)
    assert producer.flush(20) == 0
    with reader(kafka_settings, 3) as (consumer, queue):
        parts = taken(consumer, queue, 3 * len(values), most)
    wanted = [records_of_messages(p, messages) for p, messages in topic.messages().items() if messages]
    assert seen(parts) == seen(wanted)


def test_no_more_is_taken_at_once_than_its_bytes_allow_and_a_refused_row_is_an_error(kafka_settings: Settings) -> None:
    BareTopic.of(kafka_settings).write([b"x" * 100_000] * 200)
    with reader(kafka_settings, 1) as (consumer, queue):
        taken(consumer, queue, 1, most=1)
        time.sleep(1)  # all of it lies in the client
        counts: list[int] = []
        while sum(counts) < 199:
            assert consumer.poll(0) is None
            counts += [len(records) for records in queue.take(0.1, 10_000, 500_000)]
    assert max(counts) == 5
    sender = RowSender(Producer(client_config(kafka_settings, "producer", message_max_bytes=1_000)))
    large = pa.RecordBatch.from_pylist([{"symbol": "A", "timeframe": "1m"}, {"symbol": "B" * 2_000}], schema=BAR)
    assert_raises(KafkaException, "size", sender.send, kafka_settings.topic("bars"), lay_out_rows(large))
    sender.close()


def test_partitions_that_went_come_back_where_they_are_asked_to(kafka_settings: Settings) -> None:
    topic, name = BareTopic.of(kafka_settings), kafka_settings.topic("market")
    topic.write([b"0", b"1", b"2", b"3"], partition=1)
    with reader(kafka_settings, 2) as (consumer, queue):
        taken(consumer, queue, 4)
        for offset in (2, 0, 3):
            consumer.incremental_unassign([TopicPartition(name, 1)])
            time.sleep(0.2)
            queue.lead_here(name, [1])
            consumer.incremental_assign([TopicPartition(name, 1, offset)])
            (records,) = taken(consumer, queue, 4 - offset)
            assert records.offsets.tolist() == list(range(offset, 4))


def test_a_consumer_closes_after_a_missing_place_is_said_and_with_a_full_queue(kafka_settings: Settings) -> None:
    """The library would wait for ever for whoever holds a record or a queue of its."""
    BareTopic.of(kafka_settings).write([b"0"])
    with reader(kafka_settings, 1, offset=1_000_000) as asked, pytest.raises(Retryable, match="could not be read"):
        taken(*asked, 1)
    BareTopic.of(kafka_settings).write([b"%d" % i for i in range(1_000)])
    with reader(kafka_settings, 1) as (consumer, queue):
        taken(consumer, queue, 1, most=1)
        time.sleep(0.5)
    assert_raises(RuntimeError, "closed", consumer.poll, 0)


def rows(count: int) -> pa.RecordBatch:
    some = [{"symbol": f"S{i % 17}", "timeframe": "1m", "open_time_ns": i, "close": i / 7} for i in range(count)]
    return pa.RecordBatch.from_pylist(some, schema=BAR)


@pytest.mark.parametrize("queue_max", [100_000, 50])
def test_rows_stand_in_the_log_as_the_python_client_writes_them(kafka_settings: Settings, queue_max: int) -> None:
    """In the same partitions, in the same order, also when the client's queue is full again and again."""
    batch = rows(3_000).slice(1_000)
    ours, theirs = BareTopic.of(kafka_settings, "bars"), BareTopic.of(kafka_settings, "indicators")
    producer = Producer(client_config(kafka_settings, "producer", queue_buffering_max_messages=queue_max))
    sender = RowSender(producer)
    sender.send(ours.name, lay_out_rows(batch.slice(0, 0)))
    sender.send(ours.name, lay_out_rows(batch))
    assert producer.flush(20) == 0
    sender.close()
    python = Producer(client_config(kafka_settings, "producer"))
    for key, value in encode_rows(batch):
        python.produce(theirs.name, value, key)
    assert python.flush(20) == 0
    both = (topic.messages().items() for topic in (ours, theirs))
    written, wanted = ([(p, m.key(), m.value()) for p, run in found for m in run] for found in both)
    assert (written, len(written)) == (wanted, 2_000)


ENDS_OPEN = """
import sys
import pyarrow as pa
from confluent_kafka import Producer, TopicPartition
from marketpulse.kafka.codec import lay_out_rows
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.record_queue import RecordQueue
from marketpulse.kafka.row_sender import RowSender
from marketpulse.model.rows import BAR
from marketpulse.settings import Settings
bootstrap, market, bars = sys.argv[1:]
consumer = LogConsumer(Settings(), {"bootstrap.servers": bootstrap, "group.id": "g"})
queue = RecordQueue(consumer)
queue.lead_here(market, [0])
consumer.assign([TopicPartition(market, 0, 0)])
sender = RowSender(Producer({"bootstrap.servers": bootstrap}))
sender.send(bars, lay_out_rows(pa.RecordBatch.from_pylist([{"symbol": "A", "timeframe": "1m"}], schema=BAR)))
while not queue.take(1, 1):
    pass
raise SystemExit(7)
"""


def test_a_process_that_ends_without_closing_them_ends(kafka_settings: Settings) -> None:
    BareTopic.of(kafka_settings).write([b"%d" % i for i in range(1_000)])
    names = [kafka_settings.topic(name) for name in ("market", "bars")]
    program = [sys.executable, "-c", ENDS_OPEN, str(kafka_settings.kafka.bootstrap_servers), *names]
    assert subprocess.run(program, timeout=240, check=False).returncode == 7


T0 = 1_768_600_000_000_000_000
Place = tuple[str, int]
Open = Callable[..., TableReader]


def trades(count: int, symbol: str = "AAA", first: int = 0) -> pa.RecordBatch:
    head = {"type": "trade", "symbol": symbol, "source": "t", "size": 1.0}
    rows = [{**head, "event_time_ns": T0 + i, "price": 1.0 + i} for i in range(first, first + count)]
    return pa.RecordBatch.from_pylist(rows, schema=TRADE)


def bars(count: int, symbol: str = "AAA") -> pa.RecordBatch:
    head = {"symbol": symbol, "timeframe": "1s", "revision": 0}
    rows = [{**head, "open_time_ns": T0 + i, "close": 0.1 + i} for i in range(count)]
    return pa.RecordBatch.from_pylist(rows, schema=BAR)


class Writer:
    """Writes records of our topics, with or without transactions."""

    def __init__(self, settings: Settings, transactional_id: str | None = None) -> None:
        self._settings = settings
        self._producer = bare_producer(settings.kafka.bootstrap_servers, transactional_id)
        self._transactional = transactional_id is not None

    def market(self, batch: pa.RecordBatch, wire: str = "json", *, keep: bool = True) -> None:
        topic = self._settings.topic("market")
        with self._written(keep=keep):
            for record in encode_market(batch, wire=wire, partitions=4):  # type: ignore[arg-type]
                partition = -1 if record.partition is None else record.partition
                self._producer.produce(topic, record.value, record.key, partition, headers=list(record.headers or []))

    @contextmanager
    def bars(self, batch: pa.RecordBatch) -> Iterator[None]:
        """Bars; those of a transaction are open meanwhile, and then taken back."""
        with self._written(keep=False):
            for key, value in encode_rows(batch):
                self._producer.produce(self._settings.topic("bars"), value, key)
            assert self._producer.flush(10) == 0
            yield

    @contextmanager
    def _written(self, *, keep: bool) -> Iterator[None]:
        with transaction(self._producer, keep=keep) if self._transactional else nullcontext():
            yield
        assert self._producer.flush(10) == 0


def write_bars(settings: Settings, batch: pa.RecordBatch) -> None:
    with Writer(settings).bars(batch):
        pass


def collect(reader: TableReader, done: Callable[[list[SinkBatch]], bool]) -> list[SinkBatch]:
    batches: list[SinkBatch] = []

    def polled() -> bool:
        with suppress(Retryable):
            batches.extend(reader.poll(0.2))
        return done(batches)

    wait_until(polled)
    return batches


def rows_of(batches: list[SinkBatch], table: str) -> pa.Table:
    return pa.concat_tables([pa.Table.from_batches([b.rows]) for b in batches if b.table == table])


def has(table: str, count: int) -> Callable[[list[SinkBatch]], bool]:
    return lambda batches: sum(b.rows.num_rows for b in batches if b.table == table) >= count


@pytest.fixture
def reader_of(kafka_settings: Settings) -> Iterator[Open]:
    opened: list[TableReader] = []

    def open_reader(*tables: str, start: Any = None, group: str = "sink-a") -> TableReader:
        opened.append(TableReader(kafka_settings, tables, group, start or {}))
        return opened[-1]

    yield open_reader
    for reader in opened:
        reader.close()


def test_stretches_have_no_gap_over_marks_and_aborted_records(kafka_settings: Settings, reader_of: Open) -> None:
    writer = Writer(kafka_settings, kafka_settings.kafka.topic_prefix + "w")
    writer.market(trades(2))  # offsets 0, 1 and the mark 2
    writer.market(trades(5), keep=False)  # 3 … 7 and the mark 8
    writer.market(trades(1, first=7))  # 9 and the mark 10
    batches = collect(reader_of("trades"), lambda found: bool(found) and found[-1].next_offset == 11)
    assert batches[0].first_offset == 0
    assert all(a.next_offset == b.first_offset for a, b in pairwise(batches))
    assert rows_of(batches, "trades").column("offset").to_pylist() == [0, 1, 9]


def test_a_reader_starts_at_its_store_and_bad_records_only_move_it(kafka_settings: Settings, reader_of: Open) -> None:
    Writer(kafka_settings).market(trades(6))
    place = next(b for b in collect(reader_of("trades", group="probe"), has("trades", 6)) if b.rows.num_rows)
    BareTopic.of(kafka_settings).write([b"not json"], place.partition)
    reader = reader_of("trades", "quotes", start={(place.topic, place.partition): 4})
    at_seven = (7, place.partition)
    batches = collect(reader, lambda found: at_seven in {(b.next_offset, b.partition) for b in found})
    mine = [b for b in batches if b.partition == place.partition and b.table == "trades"]
    assert mine[0].first_offset == 4
    assert rows_of(mine, "trades").column("offset").to_pylist() == [4, 5]
    assert {b.table for b in batches} == {"trades", "quotes"}


def test_rows_are_flushed_before_partitions_move_positions_read_anew(kafka_settings: Settings, reader_of: Open) -> None:
    write_bars(kafka_settings, bars(4))
    stored: dict[Place, int] = {}
    held: dict[Place, int] = {}

    def opened() -> TableReader:
        reader = reader_of("bars", start=lambda: dict(stored))
        reader.on_revoke(lambda: stored.update(held))
        return reader

    first = opened()
    for batch in collect(first, has("bars", 4)):
        held[batch.topic, batch.partition] = batch.next_offset
    second = opened()

    def poll_both(done: Callable[[], bool]) -> list[list[SinkBatch]]:
        got: list[list[SinkBatch]] = [[], []]

        def polled() -> bool:
            for mine, reader in zip(got, () if done() else (first, second), strict=False):
                found = reader.poll(0.1)
                held.update({(b.topic, b.partition): b.next_offset for b in found})
                mine += found
            return done()

        wait_until(polled)
        return got

    again = poll_both(lambda: bool(stored))
    for name in "BCDEFGHIJKLMNOPQ":
        write_bars(kafka_settings, bars(1, name))
    everything = poll_both(lambda: sum(held.values()) == 4 + 16)
    symbols = [[s for b in mine for s in b.rows.column("symbol").to_pylist()] for mine in everything]
    assert [b for mine in again for b in mine if b.rows.num_rows] == []
    assert sorted(symbols[0] + symbols[1]) == list("BCDEFGHIJKLMNOPQ")
    assert all(symbols)
    first.commit()


def test_lag_a_lost_position_and_what_a_store_raises_are_told(kafka_settings: Settings, reader_of: Open) -> None:
    beyond = reader_of("bars", start={(kafka_settings.topic("bars"), 0): 99}, group="sink-b")
    assert_raises(Fatal, "made anew", collect, beyond, has("bars", 1))

    def fails() -> None:
        raise Retryable("the store is away")

    write_bars(kafka_settings, bars(4))
    reader = TableReader(kafka_settings, ["bars"], "sink-a", {})
    reader.on_revoke(fails)
    collect(reader, has("bars", 4))
    assert reader.lag() == 0
    assert_raises(Retryable, "the store is away", reader.close)


@contextmanager
def feed_of(settings: Settings, history: int, stored: dict[Place, int] | None = None) -> Iterator[KafkaLiveFeed]:
    feed = KafkaLiveFeed(settings, history=history, **({} if stored is None else {"stored": stored}))
    try:
        yield feed
    finally:
        feed.close()


def feed_rows(feed: KafkaLiveFeed, count: int, quiet_s: float = 20) -> list[FeedBatch]:
    """So many rows, or what came until it was quiet for so long."""
    found: list[FeedBatch] = []
    heard = time.monotonic()
    while sum(b.rows.num_rows for b in found) < count and time.monotonic() < heard + quiet_s:
        if batches := list(feed.batches(0.2)):
            heard = time.monotonic()
            found += batches
    return found


def test_the_feed_brings_recent_rows_then_uncommitted_ones_and_counts_records_and_lag(kafka_settings: Settings) -> None:
    write_bars(kafka_settings, bars(5))
    Writer(kafka_settings).market(trades(7))
    with feed_of(kafka_settings, history=100) as feed:
        assert sum(b.rows.num_rows for b in feed_rows(feed, 5)) == 5
        wait_until(lambda: (now := feed.stats()).broker_reachable and now.market_records >= 7, "they are counted")
        stats = feed.stats()
        assert (stats.market_records, stats.bars, stats.dead_letters, stats.engine_lag_records) == (7, 5, 0, 7)
        with Writer(kafka_settings, kafka_settings.kafka.topic_prefix + "f").bars(bars(2, "BBB")):
            open_rows = feed_rows(feed, 2)
    assert [r["symbol"] for b in open_rows for r in b.rows.to_pylist()] == ["BBB", "BBB"]
    assert abs(open_rows[-1].append_time_ms / 1e3 - time.time()) < 60


def test_the_feed_begins_at_stored_rows_or_its_limit(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bars(kafka_settings, bars(40))
    topic = BareTopic.of(kafka_settings, "bars")
    (place,) = [(topic.name, partition) for partition, end in topic.ends().items() if end]
    monkeypatch.setattr(feed_module, "_BACK_PER_BAR", 1)
    monkeypatch.setattr(feed_module, "_BACK_MAX", 4 * 30)
    for stored, wanted in (({}, 30), ({place: 39}, 5), ({place: 20}, 20), ({place: 2}, 30), ({place: 99}, 30)):
        with feed_of(kafka_settings, history=5, stored=stored) as feed:
            first = feed_rows(feed, wanted)
            assert sum(b.rows.num_rows for b in (*first, *feed_rows(feed, 1, quiet_s=1))) == wanted, stored


def test_reader_and_tail_give_both_wires_and_tail_says_what_is_bad(kafka_settings: Settings, reader_of: Open) -> None:
    writer = Writer(kafka_settings)
    writer.market(trades(2))
    writer.market(trades(2, first=2), "arrow")
    table = rows_of(collect(reader_of("trades"), has("trades", 4)), "trades")
    found = table.select(["price", "offset", "row"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [(1.0, 0, 0), (2.0, 1, 0), (3.0, 2, 0), (4.0, 2, 1)]
    BareTopic.of(kafka_settings).write([b"\xffnot json"])
    rows = list(tail(kafka_settings, "market", follow=False, from_beginning=True))
    good = [r for r in rows if "unreadable" not in r]
    assert sorted(r["price"] for r in good) == [1.0, 2.0, 3.0, 4.0]
    assert [(r["offset"], r["row"]) for r in sorted(good, key=lambda r: r["price"])] == [(0, 0), (1, 0), (2, 0), (2, 1)]
    assert [r["value"] for r in rows if "unreadable" in r] == ["\\xffnot json"]
    assert len(list(tail(kafka_settings, "market", from_beginning=True, limit=3))) == 3
    assert_raises(Fatal, "there is no topic", next, tail(kafka_settings, "nonsense"))
