"""What no reader can read, among what all can, in every kind of topic on the real broker: it is stepped over, and noted
once. The batches are made by hand; the broker takes some of them, the others are changed in its files."""

import struct
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic, own_topics
from given_settings import changed
from marketpulse.catalog import open_visible
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import client_config
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.kafka.feed import KafkaLiveFeed
from marketpulse.kafka.foreign import KafkaForeignTopic
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings
from marketpulse.telemetry import DEAD_LETTERS, UNREADABLE_BATCHES
from raw_batches import BODY_AT, CONTROL, HEAD_BYTES, batch, bomb, patch_on_disk, produce_raw, record, sealed
from stored_pipeline import HELLO, Pipeline, heartbeat, trade
from waiting import wait_until

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("kernels")]

Edit = Callable[[bytearray], None]


def flip_value(content: bytearray) -> None:
    """Bytes that went bad on the disk: the checksum tells."""
    content[-9] ^= 0xFF


def set_codec(content: bytearray) -> None:
    struct.pack_into(">h", content, BODY_AT, 6)
    content[:] = sealed(content)


def set_version(content: bytearray) -> None:
    content[16] = 77


def set_control(content: bytearray) -> None:
    """A control record whose key is of another version than the mark of a transaction."""
    struct.pack_into(">h", content, BODY_AT, CONTROL)
    content[:] = sealed(content)


def break_inside(content: bytearray) -> None:
    """Right to the checksum, but its records cannot be parsed: the client library says nothing at all."""
    content[HEAD_BYTES : HEAD_BYTES + 3] = b"\xff\xff\xff"
    content[:] = sealed(content)


def rows_of(*marks: str) -> bytes:
    return batch([record(b"x" * 5_000 + mark.encode(), i) for i, mark in enumerate(marks)])


POISON: dict[str, tuple[Callable[[], bytes], Edit | None, int, str]] = {
    "unpacks to 200 MB (zstd)": (lambda: bomb(200_000_000, "zstd"), None, 1, "unreadable_batch"),
    "unpacks to 20 MB (gzip)": (lambda: bomb(20_000_000, "gzip"), None, 1, "too_large"),
    "bad checksum": (lambda: rows_of(*"abcde"), flip_value, 5, "unreadable_batch"),
    "unknown codec": (lambda: rows_of("a", "b"), set_codec, 2, "unreadable_batch"),
    "unknown version": (lambda: rows_of("a", "b", "c"), set_version, 3, "unreadable_batch"),
    "control key too short": (lambda: batch([record(b"", key=b"\0")]), set_control, 1, "unreadable_batch"),
    "broken inside": (lambda: rows_of("a", "b"), break_inside, 2, "unreadable_batch"),
}
"""-> bytes, what happens to them on the disk, how many offsets they have, the letter's reason."""

Letter = tuple[str, int, int, str]  # topic, partition, offset, reason


class Poisoner:
    """Puts poison into topics, and knows what letters have to come of it."""

    def __init__(self, broker: EmbeddedBroker, settings: Settings) -> None:
        self.logs = broker.log_file.parents[1] / "broker" / "storage"
        self._bootstrap, self._settings = broker.bootstrap, settings
        self.expected: list[Letter] = []

    def put(self, topic: str, partition: int, kind: str) -> None:
        content, edit, count, reason = POISON[kind]
        base = produce_raw(self._bootstrap, topic, partition, content())
        if edit is not None:
            patch_on_disk(self.logs, topic, partition, base, edit)
        self.expected.append((topic, partition, base, reason))
        assert BareTopic(self._bootstrap, topic).end(partition) == base + count

    def letters(self) -> list[dict[str, Any]]:
        return [r.row for r in BareTopic.of(self._settings, "dead-letters").committed()]

    def places(self) -> list[Letter]:
        return sorted((x["topic"], x["partition"], x["offset"], x["reason"]) for x in self.letters())

    def all_noted(self) -> bool:
        return self.places() == sorted(self.expected)


@pytest.fixture(scope="module")
def settings(
    broker: EmbeddedBroker, broker_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    with own_topics(broker, broker_cache, tmp_path_factory.mktemp("poison") / "data") as settings:
        yield changed(settings, engine={"timeframes": ("1s",)}, sinks={"lake": {"flush_s": 0.2}})


@pytest.fixture
def poisoner(broker: EmbeddedBroker, settings: Settings) -> Poisoner:
    return Poisoner(broker, settings)


def stored_prices(settings: Settings, symbol: str) -> list[float]:
    files = open_visible(settings).read(["bars"])["bars"].files
    rows = [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]
    return sorted(row["close"] for row in rows if row["symbol"] == symbol)


def shown_prices(settings: Settings, symbol: str, count: int) -> list[float]:
    """What a page gets of a symbol's closed bars, once that is `count`."""
    feed = KafkaLiveFeed(settings, 1_000)
    prices: list[float] = []

    def all_came() -> bool:
        for found in feed.batches(0.2):
            rows = found.rows.to_pylist() if found.topic == "bars" else []
            prices.extend(row["close"] for row in rows if row["symbol"] == symbol)
        return len(prices) >= count

    wait_until(all_came, "the page has every bar")
    feed.close()
    return sorted(prices)


def read_to_end(reader: KafkaForeignTopic, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    reader.seek({})

    def ended() -> bool:
        values.extend(value for records in reader.poll(0.2) for value in records.values)
        return len(values) >= count and reader.at_end()

    wait_until(ended)
    reader.close()
    return values


def test_poison_in_the_log_and_in_a_topic_of_results_costs_no_row_and_is_noted_once(
    settings: Settings, poisoner: Poisoner
) -> None:
    pipeline, market, bars = Pipeline(settings), settings.topic("market"), settings.topic("bars")
    ticks = [trade("AA", 10.0 * i, 100 + i, 1, trade_id=str(i)) for i in range(len(POISON) + 3)]
    half = len(POISON) + 1
    pipeline.write(HELLO, ticks[0])
    for kind, tick in zip(POISON, ticks[1:half], strict=True):
        poisoner.put(market, 0, kind)
        pipeline.write(tick)
    pipeline.write(heartbeat(10 * half - 5))
    expected = [100.0 + i for i in range(half)]
    counted = Counter(
        {reason: DEAD_LETTERS.labels(reason)._value.get() for reason in ("unreadable_batch", "too_large")}
    )
    with pipeline.running():
        wait_until(lambda: stored_prices(settings, "AA") == expected, "the lake has every bar")
        wait_until(poisoner.all_noted, "every poison is noted")
        (partition,) = {r.partition for r in BareTopic.of(settings, "bars").committed()}
    for kind in (
        "unpacks to 20 MB (gzip)",
        "bad checksum",
        "broken inside",
    ):  # while nobody reads: what is changed on the disk would be read before
        poisoner.put(bars, partition, kind)
        tombstone = produce_raw(str(settings.kafka.bootstrap_servers), bars, partition, batch([record(None)]))
        poisoner.expected.append((bars, partition, tombstone, "unreadable_row"))
    with pipeline.running():
        pipeline.write(*ticks[half:], heartbeat(10 * len(ticks)))
        expected += [tick["price"] for tick in ticks[half:]]
        wait_until(lambda: stored_prices(settings, "AA") == expected, "the lake has every bar behind them")
        assert shown_prices(settings, "AA", len(expected)) == expected
        wait_until(poisoner.all_noted, "every poison is noted")
    for reason, before in counted.items():
        noted = sum(letter[3] == reason for letter in poisoner.expected)
        assert DEAD_LETTERS.labels(reason)._value.get() == before + noted
        for topic in (market, bars):
            assert UNREADABLE_BATCHES.labels(topic, reason)._value.get() >= noted / 2
    zstd = next(x for x in poisoner.letters() if x["topic"] == market and "6,190 bytes" in x["detail"])
    assert zstd["value"] == f'{{"first_offset":{zstd["offset"]},"last_offset":{zstd["offset"]},"bytes":6190}}'

    poisoner.put(market, 0, "bad checksum")  # the last thing that stands there, also when the engine begins again
    for _ in range(2):
        with pipeline.running():
            wait_until(poisoner.all_noted, "the last poison is noted")
    assert stored_prices(settings, "AA") == expected == shown_prices(settings, "AA", len(expected))
    log = LogReader(settings)
    assert sum(len(found.batch) for found in log.read(0, 0, log.span(0).end)) >= len(ticks)
    log.close()
    assert pipeline.marketpulse("verify").returncode == 0


@pytest.mark.parametrize("kind", POISON)
def test_a_foreign_topic_is_read_past_poison_and_past_several_in_a_row(
    settings: Settings, poisoner: Poisoner, kind: str
) -> None:
    topic = BareTopic(settings.kafka.bootstrap_servers, f"foreign-{uuid.uuid4().hex[:8]}")
    topic.make(1)
    noted_before = Counter(poisoner.places())
    topic.write([b"first"])
    for _ in range(3):
        poisoner.put(topic.name, 0, kind)
    topic.write([b"last"])
    for _ in range(2):
        assert read_to_end(KafkaForeignTopic(settings, topic.name), 2) == [b"first", b"last"]
        found = Counter(poisoner.places()) - noted_before
        silent = kind in ("control key too short", "broken inside")  # then their borders cannot be told
        assert found == Counter(poisoner.expected[:1] if silent else poisoner.expected)
    topic.delete()


def test_what_can_be_read_between_two_batches_that_nothing_is_said_of_is_read_also_from_the_first_of_them_on(
    settings: Settings, poisoner: Poisoner
) -> None:
    topic = BareTopic(settings.kafka.bootstrap_servers, f"foreign-{uuid.uuid4().hex[:8]}")
    topic.make(1)
    topic.write([b"first"])
    for marks in ("abcd", "e"):
        base = produce_raw(str(topic.bootstrap), topic.name, 0, rows_of(*marks))
        patch_on_disk(poisoner.logs, topic.name, 0, base, break_inside)
        topic.write([marks.encode()])
    with closing(LogConsumer(settings, client_config(settings, "consumer", group_id="own"))) as consumer:
        for _ in range(2):
            consumer.assign([TopicPartition(topic.name, 0, 1)])
            values = [wait_until(lambda: (message := consumer.poll(0.2)) and message.value()) for _ in range(2)]
            assert values == [b"abcd", b"e"]
    assert [x[2] for x in poisoner.places() if x[0] == topic.name] == [1, 6]
    topic.delete()


def polled(consumer: LogConsumer) -> Message:
    message = wait_until(lambda: consumer.poll(0.2))
    assert message is not None
    return message


@pytest.mark.parametrize("reset", ["earliest", "error"])
def test_nothing_is_read_twice_from_a_position_that_the_library_makes_up_and_one_that_is_deleted_is_answered_as_asked(
    settings: Settings, reset: str
) -> None:
    topic = BareTopic(settings.kafka.bootstrap_servers, f"foreign-{uuid.uuid4().hex[:8]}")
    topic.make(1)
    values = [b"%d" % i for i in range(6)]
    for value in values:
        topic.write([value])
    config = client_config(settings, "consumer", group_id="own", auto_offset_reset=reset)
    with closing(LogConsumer(settings, config)) as consumer:
        consumer.assign([TopicPartition(topic.name, 0, 0)])
        read = [polled(consumer) for _ in range(3)]
        assert consumer.reads_on((topic.name, 0), KafkaError.OFFSET_OUT_OF_RANGE), "the library's, not the reader's"
        read += [polled(consumer) for _ in range(3)]
        assert [message.value() for message in read] == values
        admin, gone = AdminClient({"bootstrap.servers": str(topic.bootstrap)}), TopicPartition(topic.name, 0, 4)
        admin.delete_records([gone])[gone].result(20)
        consumer.assign([TopicPartition(topic.name, 0, 1)])
        first = polled(consumer)
        error = first.error()
        assert (error is None, first.offset()) == (reset == "earliest", 4 if reset == "earliest" else 1), error
    topic.delete()


def test_records_above_any_limit_are_let_go_by_their_place_and_the_rest_is_read(
    settings: Settings, poisoner: Poisoner
) -> None:
    topic = BareTopic(settings.kafka.bootstrap_servers, f"foreign-{uuid.uuid4().hex[:8]}")
    topic.make(1)
    large = {"value": record(b"v" * (MESSAGE_BYTES_MAX + 1)), "key": record(b"v", key=b"k" * (MESSAGE_BYTES_MAX + 1))}
    topic.write([b"0"])
    for content in large.values():
        produce_raw(str(topic.bootstrap), topic.name, 0, batch([content], "gzip"))
        topic.write([b"good"])
    headers = [(b"h", b"")] * 200_000
    produce_raw(str(topic.bootstrap), topic.name, 0, batch([record(b"many headers", headers=headers)], "gzip"))
    assert read_to_end(KafkaForeignTopic(settings, topic.name), 4) == [b"0", b"good", b"good", b"many headers"]
    places = [x for x in poisoner.places() if x[0] == topic.name]
    assert places == [(topic.name, 0, offset, "too_large") for offset in (1, 3)]
    topic.delete()
