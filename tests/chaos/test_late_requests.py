"""Requests of transactions that are lost, come late or come twice, by seed: every row is there once, in order.

`make soak` runs 500 schedules.
"""

import contextlib
import os
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from bare_clients import BareTopic
from kafka_proxy import END_TXN, INIT_PRODUCER_ID, TXN_OFFSET_COMMIT, KafkaProxy, Schedule
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline import working
from marketpulse.errors import Fatal
from marketpulse.kafka import transaction
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import connected_to
from marketpulse.settings import Settings
from marketpulse.telemetry import Health
from summing_worker import Numbers, SummingWorker, draw_numbers, sums_of, write_numbers, written_sums

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(3_600)]

PARTITIONS, NUMBERS = 2, 40
SEEDS = range(5 * int(os.environ.get("MARKETPULSE_SOAK_SEEDS", "0")) or 8)
AT_ONCE = 8  # a schedule waits most of its time
DONE_S = 180


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gets no answer is given up within a second, and begun again at once."""
    monkeypatch.setattr(transaction, "_CALL_S", 0.8)
    monkeypatch.setattr(working, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(working, "_LONGEST_WAIT_S", 0.1)


def work_until_done(settings: Settings, numbers: Numbers, run_file: Path) -> None:
    """The product's loop; and where a late request has fenced the worker, what its supervisor does. Raises AssertionError."""
    life = Lifecycle("process-0", threading.Event(), Health(), run_file, 0)
    give_up = threading.Timer(DONE_S, life.stop.set)
    give_up.start()
    done = threading.Event()

    def finish() -> None:
        done.set()
        life.stop.set()

    while not life.stop.is_set():
        with contextlib.suppress(Fatal):
            working.work(life, 0, lambda _: SummingWorker(settings, numbers, done=finish))
    give_up.cancel()
    assert done.is_set(), f"not done within {DONE_S} s"


def run_schedule(seed: int, direct: Settings, run_file: Path) -> Counter[int]:
    """Raises AssertionError when a row is lost, doubled or out of order. Returns what has come late."""
    topics = [BareTopic.of(direct, name) for name in ("market", "bars", "state")]
    for topic in topics:
        topic.make(PARTITIONS)
    numbers = draw_numbers(PARTITIONS, NUMBERS, seed)
    write_numbers(topics[0], numbers)
    with KafkaProxy(str(direct.kafka.bootstrap_servers), Schedule(seed)) as proxy:
        work_until_done(connected_to(direct, proxy.address), numbers, run_file)
        proxy.deliver_all()
    assert written_sums(topics[1], numbers) == sums_of(numbers)
    group = Consumer({"bootstrap.servers": topics[0].bootstrap, "group.id": direct.group(direct.process.group)})
    ends = group.committed([TopicPartition(topics[0].name, partition) for partition in numbers], timeout=20)
    group.close()
    assert [place.offset for place in ends] == [NUMBERS] * PARTITIONS
    for topic in topics:
        topic.delete()
    return proxy.late


@pytest.mark.usefixtures("soon")
def test_requests_of_transactions_that_are_lost_late_or_doubled_lose_and_double_no_row(
    broker: EmbeddedBroker, broker_cache: Path, tmp_path: Path
) -> None:
    late: Counter[int] = Counter()
    wrong: dict[int, str] = {}

    def run(seed: int) -> None:
        kafka = {"bootstrap_servers": broker.bootstrap, "topic_prefix": f"k{uuid.uuid4().hex[:8]}-"}
        settings = Settings(data_dir=tmp_path / "data", cache_dir=broker_cache, kafka=kafka)
        try:
            late.update(run_schedule(seed, settings, tmp_path / f"{seed}.json"))
        except Exception as error:  # noqa: BLE001  (which seeds fail is what matters)
            wrong[seed] = f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, SEEDS))
    assert not wrong, f"seeds {sorted(wrong)}; {next(iter(wrong.values()))}"
    assert late[END_TXN] > 0
    assert late[TXN_OFFSET_COMMIT] > 0
    assert late[INIT_PRODUCER_ID] > 0
