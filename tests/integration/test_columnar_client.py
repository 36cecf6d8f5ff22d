"""Records in and out past the Python client, held against the Python client, on the real broker."""

import itertools
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bare_clients import BareTopic
from marketpulse.errors import Retryable
from marketpulse.kafka.client import client_config
from marketpulse.kafka.codec import FRAME_CONTENT_TYPE, encode_rows, lay_out_rows
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.record_queue import RecordQueue
from marketpulse.kafka.records import Records, records_of_messages
from marketpulse.kafka.row_sender import RowSender
from marketpulse.model.rows import BAR
from marketpulse.settings import Settings
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
    with pytest.raises(KafkaException, match="size"):
        sender.send(kafka_settings.topic("bars"), lay_out_rows(large))
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
    with pytest.raises(RuntimeError, match="closed"):
        consumer.poll(0)


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
