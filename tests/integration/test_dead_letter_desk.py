"""Dead letters on the real broker: read newest first, mended, and sent again."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from bare_clients import BareTopic, bare_producer, transaction
from marketpulse.errors import ParameterError, RejectedRecord
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.dead_letter_desk import KafkaDeadLetters
from marketpulse.kafka.record_count import RecordCount
from marketpulse.model.market import ABSENT, DeadLetter
from marketpulse.settings import Settings
from refused import assert_raises
from waiting import wait_until

TRADE = {"type": "trade", "symbol": "AAPL", "source": "desk", "event_time_ns": 1_700_000_000_000_000_000, "price": 187.5, "size": 100}  # fmt: skip


@pytest.fixture
def desk(kafka_settings: Settings) -> Iterator[KafkaDeadLetters]:
    desk = KafkaDeadLetters(kafka_settings)
    yield desk
    desk.close()


def set_aside(settings: Settings, *values: bytes | None) -> None:
    """Dead letters of these records, a second apart, as the engine writes them: in transactions. A transaction's end stands in the
    topic a moment after the broker has answered its commit."""
    topic = BareTopic.of(settings, "dead-letters")
    wanted = len(topic.committed()) + len(values)
    producer = bare_producer(settings.kafka.bootstrap_servers, settings.topic("test"))
    for i, value in enumerate(values):
        letter = DeadLetter("bad_price", "price must be above 0", settings.topic("market"), 0, i, ABSENT, b"AAPL", value, "AAPL")  # fmt: skip
        key, record = encode_dead_letter(letter)
        with transaction(producer):
            producer.produce(settings.topic("dead-letters"), record, key, timestamp=1_700_000_000_000 + 1_000 * i)
    producer.begin_transaction()
    producer.produce(settings.topic("dead-letters"), b"{}", b"AAPL")  # what was aborted was never set aside
    producer.abort_transaction(20)
    wait_until(lambda: len(topic.committed()) == wanted, "the letters are committed")


def test_the_newest_come_first_each_with_its_place(kafka_settings: Settings, desk: KafkaDeadLetters) -> None:
    assert desk.newest(5) == []
    set_aside(kafka_settings, b'{"price": -1}', b"\xff\xfe", None, b"x" * 30_000)
    letters = desk.newest(3)
    assert [letter["offset"] for letter in letters] == [3, 2, 1]
    assert (letters[0]["cut"], len(letters[0]["value"])) == (True, 20_000)
    every = desk.newest(10)
    assert [letter["value"] for letter in every[1:]] == [None, "\\xff\\xfe", '{"price": -1}']
    assert len({(letter["letter_partition"], letter["letter_offset"]) for letter in every}) == 4


def test_their_count_is_of_letters_and_not_of_offsets(kafka_settings: Settings) -> None:
    count = RecordCount(kafka_settings, kafka_settings.topic("dead-letters"))
    topic = BareTopic.of(kafka_settings, "dead-letters")

    def counted() -> bool:
        return count.up_to(topic.ends()) == expected

    expected = 0
    with closing(count):
        wait_until(counted)
        for letters, expected in (((b"1", b"2", b"3"), 3), ((b"4",), 4)):
            set_aside(kafka_settings, *letters)
            assert sum(topic.ends().values()) > expected, "each is beside the end of its transaction"
            wait_until(counted, f"{expected} letters are counted")


def test_a_mended_record_stands_in_the_log_once(kafka_settings: Settings, desk: KafkaDeadLetters) -> None:
    set_aside(kafka_settings, json.dumps({**TRADE, "price": -1}).encode())
    (letter,) = desk.newest(5)
    place = (letter["letter_partition"], letter["letter_offset"])
    beat = b'{"type": "heartbeat", "source": "desk", "event_time_ns": 1700000000000000000}'
    for record, said in ((letter["value"].encode(), "price"), (beat, "by the pipeline alone")):
        assert_raises(RejectedRecord, said, desk.send_again, *place, record)
    with pytest.raises(ParameterError, match="no dead letter stands"):
        desk.send_again(place[0], place[1] + 50, json.dumps(TRADE).encode())

    sent = desk.send_again(*place, json.dumps(TRADE).encode())
    assert_raises(ParameterError, "already", desk.send_again, *place, json.dumps(TRADE).encode())
    assert desk.newest(5)[0]["sent_to"] == sent

    topic = BareTopic.of(kafka_settings)
    (found,) = [m for m in topic.messages()[sent["partition"]] if m.offset() == sent["offset"]]
    assert (topic.name, found.key(), json.loads(found.value() or b"")) == (sent["topic"], b"AAPL", TRADE)
    origin = f"{kafka_settings.topic('dead-letters')}/{place[0]}@{place[1]}"
    assert dict(found.headers() or []) == {"sent-again-from": origin.encode()}
