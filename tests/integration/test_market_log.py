"""The writing end of `market` on the real broker: order, partitions, exactly once, and a broker that goes away; and
dead letters read newest first, mended, and sent again."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from bare_clients import BareTopic, Record, bare_producer, rows, transaction
from given_settings import changed, outside
from marketpulse.app.chaos.proxy import END_TXN, KafkaProxy, Loss, OneLoss
from marketpulse.errors import Fatal, ParameterError, RejectedRecord, Retryable
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.dead_letter import encode_dead_letter
from marketpulse.kafka.dead_letter_desk import KafkaDeadLetters
from marketpulse.kafka.producer import KafkaMarketLog
from marketpulse.kafka.record_count import RecordCount
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import ABSENT, COMPLETE, EVENT, TRADE, DeadLetter
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import Settings
from refused import assert_raises
from waiting import wait_until

T0 = 1_700_000_000_000_000_000
Open = Callable[..., KafkaMarketLog]
HELLO = Hello("replay", "historical", "run-1", lateness_ns=2_000_000_000, calendar="XNYS")


def trades(numbers: range, symbols: tuple[str, ...] = ("AAA", "BBB", "CCC", "DDD", "EEE")) -> pa.RecordBatch:
    """Trade number i has the price i + 1 and goes round the symbols."""
    head = {"type": "trade", "source": "replay", "size": 1.0}
    rows = [{**head, "symbol": symbols[i % len(symbols)], "event_time_ns": T0 + i, "price": i + 1.0} for i in numbers]
    return pa.RecordBatch.from_pylist(rows, schema=TRADE)


def numbered(last: int) -> list[float]:
    """The prices of the trades up to this one."""
    return [float(i) for i in range(1, last + 1)]


def records(settings: Settings) -> dict[int, list[Record]]:
    """Every committed record of `market`, by partition in order."""
    return {p: list(map(Record.of, run)) for p, run in BareTopic.of(settings).messages().items()}


def prices(settings: Settings) -> list[float]:
    return sorted(r["price"] for r in rows(BareTopic.of(settings).committed()) if r["type"] == "trade")


@pytest.fixture
def opened(kafka_settings: Settings) -> Open:
    def open_log(source: str = "replay", *, exactly_once: bool = True, **kafka: Any) -> KafkaMarketLog:
        return KafkaMarketLog(changed(kafka_settings, kafka=kafka), source, exactly_once=exactly_once)

    return open_log


def write(log: KafkaMarketLog, **polled: Any) -> None:
    log.write(Polled(**polled))
    log.close()


def test_a_symbol_lies_where_java_clients_put_it(kafka_settings: Settings, opened: Open) -> None:
    """The hashes are those of Kafka's own test of murmur2: "21" -973932308, "foobar" -790332482, "abc" 479470107."""
    write(opened(exactly_once=False), batches=[trades(range(9), ("21", "foobar", "abc"))])
    found = BareTopic.of(kafka_settings).committed()
    places = {r.row["symbol"]: r.partition for r in found}
    assert places == {"21": 1_173_551_340 % 4, "foobar": 1_357_151_166 % 4, "abc": 479_470_107 % 4}
    assert [r.row["price"] for r in found if r.row["symbol"] == "abc"] == [3.0, 6.0, 9.0]


def test_the_arrow_wire_writes_frames_that_say_so(kafka_settings: Settings, opened: Open) -> None:
    write(opened(wire="arrow"), batches=[trades(range(100), ("21", "foobar", "abc"))])
    found = BareTopic.of(kafka_settings).committed()
    assert {r.headers["content-type"] for r in found} == {b"application/vnd.apache.arrow.stream"}
    symbols = [(r.partition, s) for r in found for s in pa.ipc.open_stream(r.value).read_all()["symbol"].to_pylist()]
    assert (len(symbols), set(symbols)) == (100, {(0, "21"), (2, "foobar"), (3, "abc")})


@pytest.mark.parametrize("exactly_once", [False, True])
def test_hello_and_goodbye_surround_each_partition(kafka_settings: Settings, opened: Open, exactly_once: bool) -> None:
    log = opened(exactly_once=exactly_once)
    log.write(Polled(hello=HELLO, batches=[trades(range(20))]))
    log.heartbeat("replay", T0 + 20)
    log.write(Polled(goodbye_watermark_ns=COMPLETE, ended=True))
    log.close()
    own = {"source": "replay", "run_id": "run-1"}
    hello = {"mode": "historical", "lateness_ns": 2_000_000_000, "calendar": "XNYS", "simulated": False}
    for run in map(rows, records(kafka_settings).values()):
        assert run[0] == {"type": "hello", **own, **hello, "sender": log.sender}
        assert run[1] == {"type": "clock"}, "log time may have stood still: it is set before the first row"
        assert {r["type"] for r in run[2:-2]} <= {"trade"}
        assert run[-2] == {"type": "heartbeat", **own, "event_time_ns": T0 + 20}
        assert run[-1] == {"type": "goodbye", **own, "watermark_ns": COMPLETE}
    assert prices(kafka_settings) == numbered(20)


def test_events_without_symbol_are_everywhere_and_bad_rows_dead_letters(kafka_settings: Settings, opened: Open) -> None:
    event = pa.RecordBatch.from_pylist([{"type": "clock", "body": '{"type":"clock"}'}], schema=EVENT)
    wrong = RejectedInput("bad_price", "price is -1", "prices.csv", 17, b"AAA,-1\xff")
    write(opened(exactly_once=False), batches=[event], rejected=[wrong])
    assert [[r.value for r in run] for run in records(kafka_settings).values()] == [[b'{"type":"clock"}']] * 4
    (letter,) = rows(BareTopic.of(kafka_settings, "dead-letters").committed())
    assert letter["reason"] == "bad_price"
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("prices.csv", -1, 17)
    assert letter["value_base64"] == "QUFBLC0x/w=="  # base64 of the bytes, by `base64`


def test_rows_and_position_commit_together_or_soon_by_later_calls(kafka_settings: Settings, opened: Open) -> None:
    log = opened()
    assert log.last_position() is None
    log.write(Polled(batches=[trades(range(10))], position='{"file": "a.csv", "row": 10}'))
    assert prices(kafka_settings) == []  # not committed yet
    log.flush()
    assert prices(kafka_settings) == numbered(10)
    log.write(Polled(position='{"file": "b.csv", "row": 0}'))  # a position may move without rows
    log.close()
    for source, position in (("replay", '{"file": "b.csv", "row": 0}'), ("another", None)):
        again = opened(source)
        assert again.last_position() == position
        again.close()

    log = opened()
    log.write(Polled(batches=[trades(range(10, 15))], position="5"))

    def committed() -> bool:
        log.write(Polled())
        return prices(kafka_settings) == numbered(15)

    wait_until(committed)
    log.close()


def test_a_second_process_of_a_source_takes_over_and_the_first_stops(kafka_settings: Settings, opened: Open) -> None:
    first = opened()
    first.write(Polled(batches=[trades(range(10))], position="10"))
    first.flush()
    first.write(Polled(batches=[trades(range(10, 20))], position="20"))  # in an open transaction
    second = opened()
    assert second.last_position() == "10"
    second.write(Polled(batches=[trades(range(10, 15))], position="15"))
    second.close()
    with pytest.raises(Retryable):  # its transaction is gone, which may have many causes …
        first.flush()
    assert_raises(Fatal, "another process of the source replay took over", first.flush)
    assert prices(kafka_settings) == numbered(15)


def test_a_position_must_fit_a_log_that_keeps_positions_and_a_missing_topic_is_said(opened: Open) -> None:
    log = opened()
    assert_raises(ParameterError, "4,001: write it shorter", log.write, Polled(position="x" * 4_001))
    log.write(Polled(position="x" * 4_000))
    log.flush()
    assert log.last_position() == "x" * 4_000
    log.close()
    queue = opened("live", exactly_once=False)
    assert_raises(ParameterError, "exactly_once", queue.write, Polled(position="1"))
    queue.close()
    with pytest.raises(Fatal, match="marketpulse topics"):
        opened(exactly_once=False, topic_prefix="nowhere-").write(Polled(batches=[trades(range(1))]))


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_broker_killed_under_rows_keeps_each_once(tmp_path: Path, broker_cache: Path, exactly_once: bool) -> None:
    """With small queues and short patience."""
    kafka = {"partitions": 2, "client": {"max.block.ms": 500, "queue.buffering.max.messages": 100}}
    own = Settings(data_dir=tmp_path / "own", cache_dir=broker_cache, broker={"heap_mb": 192}, kafka=kafka)
    refused = 0

    def insist(call: Callable[[], None]) -> None:
        """What a caller does: the same again until it is taken. The broker comes back once it was missed."""
        nonlocal refused
        while refused < 100:
            try:
                return call()
            except Retryable:
                refused += 1
                broker.start()
        raise AssertionError("the broker is back, but nothing goes through")

    with EmbeddedBroker(own) as broker:
        settings = connected_to(own, broker.bootstrap)
        ensure_topics(settings)
        log = KafkaMarketLog(settings, "replay", exactly_once=exactly_once)
        for begin in range(0, 600, 20):
            if begin == 300:
                assert broker.pid is not None
                os.kill(broker.pid, signal.SIGKILL)
            position = str(begin + 20) if exactly_once else None
            insist(partial(log.write, Polled(batches=[trades(range(begin, begin + 20))], position=position)))
        insist(log.flush)
        assert refused > 0
        assert prices(settings) == numbered(600)
        assert log.last_position() == ("600" if exactly_once else None)
        log.close()


WRITER = """
    import sys
    import time
    sys.path[:0] = sys.argv[2:]
    from test_market_log import trades
    from marketpulse.kafka.producer import KafkaMarketLog
    from marketpulse.ports import Polled
    from marketpulse.settings import Settings

    log = KafkaMarketLog(Settings.model_validate_json(sys.argv[1]), "replay", exactly_once=True)
    at = int(log.last_position() or 0)
    print(at, flush=True)
    while at < 6_000:
        log.write(Polled(batches=[trades(range(at, at + 10))], position=str(at + 10)))
        at += 10
        time.sleep(0.002)
    log.close()
    print("done", flush=True)
"""


def test_a_source_killed_again_and_again_writes_every_row_once(kafka_settings: Settings) -> None:
    here = Path(__file__).parent
    words = (textwrap.dedent(WRITER), kafka_settings.model_dump_json(), str(here), str(here.parent))
    chance = random.Random(5)
    starts: list[int] = []
    for turn in range(3):
        writer = subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.PIPE, text=True, env=outside())
        assert writer.stdout is not None
        starts.append(int(writer.stdout.readline()))
        if turn < 2:
            time.sleep(chance.uniform(0.1, 0.8))  # somewhere in its work
            writer.kill()
        if "done" in writer.communicate(timeout=90)[0]:
            break
    assert starts == sorted(starts)
    assert len(starts) == 3, "it was never killed in the middle"
    assert prices(kafka_settings) == numbered(6_000)


def test_rows_of_a_transaction_that_was_lost_before_its_commit_are_written_again(
    kafka_settings: Settings, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    assert log.last_position() is None
    lost: list[Producer] = []

    def lose(producer: Producer, *arguments: object) -> None:
        lost.append(producer)
        producer.abort_transaction(20)  # as the broker does of itself with one that is open for too long
        monkeypatch.undo()

    log.write(Polled(batches=[trades(range(10))], position="10"))
    monkeypatch.setattr("marketpulse.kafka.source_position.send_offsets", lose)
    assert_raises(Retryable, "", log.flush)
    assert len(lost) == 1
    log.flush()
    assert prices(kafka_settings) == numbered(10)
    assert log.last_position() == "10"
    log.close()


def test_a_source_that_lost_a_connection_goes_on_with_a_new_one_which_fences_the_late(kafka_settings: Settings) -> None:
    lost = OneLoss(END_TXN, Loss(arrives=False, comes_late=True, cuts=True))
    with KafkaProxy(str(kafka_settings.kafka.bootstrap_servers), lost) as proxy:
        log = KafkaMarketLog(connected_to(kafka_settings, proxy.address), "replay", exactly_once=True)
        assert log.last_position() is None  # taking the source over was a transaction, and its end was sent twice
        first = Polled(batches=[trades(range(10))], position="10")
        assert_raises(Retryable, "begin: .*in state UP", log.write, first)
        log.write(first)
        proxy.deliver_all()
        log.flush()
        log.close()
    assert proxy.late[END_TXN] == 1
    assert prices(kafka_settings) == numbered(10)


LETTER = {"type": "trade", "symbol": "AAPL", "source": "desk", "event_time_ns": 1_700_000_000_000_000_000, "price": 187.5, "size": 100}  # fmt: skip


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
    set_aside(kafka_settings, json.dumps({**LETTER, "price": -1}).encode())
    (letter,) = desk.newest(5)
    place = (letter["letter_partition"], letter["letter_offset"])
    beat = b'{"type": "heartbeat", "source": "desk", "event_time_ns": 1700000000000000000}'
    for record, said in ((letter["value"].encode(), "price"), (beat, "by the pipeline alone")):
        assert_raises(RejectedRecord, said, desk.send_again, *place, record)
    with pytest.raises(ParameterError, match="no dead letter stands"):
        desk.send_again(place[0], place[1] + 50, json.dumps(LETTER).encode())

    sent = desk.send_again(*place, json.dumps(LETTER).encode())
    assert_raises(ParameterError, "already", desk.send_again, *place, json.dumps(LETTER).encode())
    assert desk.newest(5)[0]["sent_to"] == sent

    topic = BareTopic.of(kafka_settings)
    (found,) = [m for m in topic.messages()[sent["partition"]] if m.offset() == sent["offset"]]
    assert (topic.name, found.key(), json.loads(found.value() or b"")) == (sent["topic"], b"AAPL", LETTER)
    origin = f"{kafka_settings.topic('dead-letters')}/{place[0]}@{place[1]}"
    assert dict(found.headers() or []) == {"sent-again-from": origin.encode()}
