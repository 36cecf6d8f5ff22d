"""The writing end of `market` on the real broker: order, partitions, exactly once, and a broker that goes away."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bare_clients import BareTopic, Record, rows
from given_settings import changed, outside
from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.producer import KafkaMarketLog
from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import COMPLETE, EVENT, TRADE
from marketpulse.ports import Hello, Polled, RejectedInput
from marketpulse.settings import Settings
from waiting import wait_until

pytestmark = pytest.mark.integration

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


def records(settings: Settings, topic: str = "market") -> dict[int, list[Record]]:
    """Every committed record of a topic, by partition in order."""
    found: dict[int, list[Record]] = {p: [] for p in range(settings.kafka.partitions)}
    for record in BareTopic.of(settings, topic).committed():
        found[record.partition].append(record)
    return found


def objects(settings: Settings, topic: str = "market") -> dict[int, list[dict[str, Any]]]:
    return {partition: rows(run) for partition, run in records(settings, topic).items()}


def prices(settings: Settings) -> list[float]:
    return sorted(r["price"] for run in objects(settings).values() for r in run if r["type"] == "trade")


@pytest.fixture
def opened(kafka_settings: Settings) -> Open:
    def open_log(source: str = "replay", *, exactly_once: bool = True, **kafka: Any) -> KafkaMarketLog:
        return KafkaMarketLog(changed(kafka_settings, kafka=kafka), source, exactly_once=exactly_once)

    return open_log


def test_a_symbol_lies_where_java_clients_put_it(kafka_settings: Settings, opened: Open) -> None:
    """The hashes are those of Kafka's own test of murmur2: "21" -973932308, "foobar" -790332482, "abc" 479470107."""
    log = opened(exactly_once=False)
    log.write(Polled(batches=[trades(range(9), ("21", "foobar", "abc"))]))
    log.close()
    found = objects(kafka_settings)
    places = {r["symbol"]: p for p, run in found.items() for r in run}
    assert places == {"21": 1_173_551_340 % 4, "foobar": 1_357_151_166 % 4, "abc": 479_470_107 % 4}
    assert [r["price"] for r in found[places["abc"]] if r["symbol"] == "abc"] == [3.0, 6.0, 9.0]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_hello_and_goodbye_stand_around_the_rows_in_every_partition(
    kafka_settings: Settings, opened: Open, exactly_once: bool
) -> None:
    log = opened(exactly_once=exactly_once)
    log.write(Polled(hello=HELLO, batches=[trades(range(20))]))
    log.heartbeat("replay", T0 + 20)
    log.write(Polled(goodbye_watermark_ns=COMPLETE, ended=True))
    log.close()
    for run in objects(kafka_settings).values():
        assert run[0] == {
            "type": "hello", "source": "replay", "mode": "historical", "run_id": "run-1",
            "lateness_ns": 2_000_000_000, "calendar": "XNYS", "simulated": False,
        }  # fmt: skip
        assert run[1] == {"type": "clock"}, "log time may have stood still: it is set before the first row"
        assert {r["type"] for r in run[2:-2]} <= {"trade"}
        assert run[-2] == {
            "type": "heartbeat", "source": "replay", "event_time_ns": T0 + 20, "run_id": "run-1",
        }  # fmt: skip
        assert run[-1] == {"type": "goodbye", "source": "replay", "watermark_ns": COMPLETE, "run_id": "run-1"}
    assert prices(kafka_settings) == [float(i) for i in range(1, 21)]


def test_an_event_without_a_symbol_reaches_every_partition(kafka_settings: Settings, opened: Open) -> None:
    body = b'{"type":"clock"}'
    batch = pa.RecordBatch.from_pydict(
        {"type": ["clock"], "symbol": [None], "source": [None], "event_time_ns": [None], "body": [body.decode()]},
        schema=EVENT,
    )
    log = opened(exactly_once=False)
    log.write(Polled(batches=[batch]))
    log.close()
    assert [[r.value for r in run] for run in records(kafka_settings).values()] == [[body]] * 4


def test_a_rejected_input_row_is_a_dead_letter_with_its_file_and_line(kafka_settings: Settings, opened: Open) -> None:
    log = opened()
    log.write(Polled(rejected=[RejectedInput("bad_price", "price is -1", "prices.csv", 17, b"AAA,-1\xff")]))
    log.close()
    (letter,) = [r for run in objects(kafka_settings, "dead-letters").values() for r in run]
    assert letter["reason"] == "bad_price"
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("prices.csv", -1, 17)
    assert letter["value_base64"] == "QUFBLC0x/w=="  # base64 of the bytes, by `base64`


def test_the_arrow_wire_writes_frames_that_say_so(kafka_settings: Settings, opened: Open) -> None:
    log = opened(wire="arrow")
    log.write(Polled(batches=[trades(range(100), ("21", "foobar", "abc"))]))
    log.close()
    symbols: dict[int, set[str]] = {}
    count = 0
    for partition, run in records(kafka_settings).items():
        for record in run:
            assert record.headers["content-type"] == b"application/vnd.apache.arrow.stream"
            table = pa.ipc.open_stream(record.value).read_all()
            count += table.num_rows
            symbols.setdefault(partition, set()).update(table.column("symbol").to_pylist())
    assert count == 100
    assert symbols == {0: {"21"}, 2: {"foobar"}, 3: {"abc"}}


def test_rows_and_position_commit_together(kafka_settings: Settings, opened: Open) -> None:
    log = opened()
    assert log.last_position() is None
    log.write(Polled(batches=[trades(range(10))], position='{"file": "a.csv", "row": 10}'))
    assert prices(kafka_settings) == []  # not committed yet
    log.flush()
    assert prices(kafka_settings) == numbered(10)
    log.write(Polled(position='{"file": "b.csv", "row": 0}'))  # a position may move without rows
    log.close()
    again = opened()
    assert again.last_position() == '{"file": "b.csv", "row": 0}'
    again.close()
    other = opened("another")
    assert other.last_position() is None
    other.close()


def test_what_is_open_is_committed_by_later_calls_within_a_moment(kafka_settings: Settings, opened: Open) -> None:
    log = opened()
    log.write(Polled(batches=[trades(range(5))], position="5"))

    def committed() -> bool:
        log.write(Polled())
        return len(prices(kafka_settings)) == 5

    wait_until(committed)
    log.close()


def test_a_second_process_of_a_source_takes_over_and_the_first_one_stops(
    kafka_settings: Settings, opened: Open
) -> None:
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
    with pytest.raises(Fatal, match="another process of the source replay took over"):
        first.flush()
    assert prices(kafka_settings) == [float(i) for i in range(1, 16)]


def test_a_position_must_fit_and_belong_to_a_log_that_keeps_positions(opened: Open) -> None:
    log = opened()
    with pytest.raises(ParameterError, match="4,001: write it shorter"):
        log.write(Polled(position="x" * 4_001))
    log.write(Polled(position="x" * 4_000))
    log.flush()
    assert log.last_position() == "x" * 4_000
    log.close()
    queue = opened("live", exactly_once=False)
    with pytest.raises(ParameterError, match="exactly_once"):
        queue.write(Polled(position="1"))
    queue.close()


def test_a_missing_topic_is_said_with_the_command_that_makes_it(opened: Open) -> None:
    log = opened(exactly_once=False, topic_prefix="nowhere-")
    with pytest.raises(Fatal, match="marketpulse topics"):
        log.write(Polled(batches=[trades(range(1))]))


@pytest.fixture
def own_broker(tmp_path: Path, broker_cache: Path) -> Iterator[tuple[EmbeddedBroker, Settings]]:
    """A broker that a test may kill, and settings for it with small queues and short patience."""
    settings = Settings(
        data_dir=tmp_path / "own", cache_dir=broker_cache, broker={"heap_mb": 192},
        kafka={"partitions": 2, "client": {"max.block.ms": 500, "queue.buffering.max.messages": 100}},
    )  # fmt: skip
    with EmbeddedBroker(settings) as broker:
        connected = connected_to(settings, broker.bootstrap)
        ensure_topics(connected)
        yield broker, connected


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_broker_that_is_killed_while_rows_come_loses_and_doubles_none(
    own_broker: tuple[EmbeddedBroker, Settings], exactly_once: bool
) -> None:
    broker, settings = own_broker
    log = KafkaMarketLog(settings, "replay", exactly_once=exactly_once)
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
    from pathlib import Path
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
