"""Schedules of lost, late and doubled requests, each with a worker in the product's loop and topics of its own."""

import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from confluent_kafka import Consumer, TopicPartition

from bare_clients import BareTopic
from marketpulse.app.chaos.proxy import KafkaProxy, Schedule
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline import working
from marketpulse.errors import Fatal
from marketpulse.kafka import transaction
from marketpulse.kafka.client import connected_to
from marketpulse.settings import Settings
from marketpulse.telemetry import Health
from summing_worker import Numbers, SummingWorker, draw_numbers, sums_of, write_numbers, written_sums

PARTITIONS, NUMBERS = 2, 40
AT_ONCE = 8  # a schedule waits most of its time
DONE_S = 180


def run_schedules(seeds: Sequence[int], bootstrap: str, home: Path) -> tuple[Counter[int], dict[int, str]]:
    """What has come late, by the number of the request, and what went wrong, by seed.

    Requests that get no answer are given up within a second, and begun again at once.
    """
    late: Counter[int] = Counter()
    wrong: dict[int, str] = {}

    def run(seed: int) -> None:
        kafka = {"bootstrap_servers": bootstrap, "topic_prefix": f"k{uuid.uuid4().hex[:8]}-"}
        try:
            late.update(run_schedule(seed, Settings(data_dir=home / str(seed), kafka=kafka)))
        except Exception as error:  # noqa: BLE001  (which seeds fail is what matters)
            wrong[seed] = f"{type(error).__name__}: {error}"

    with (
        patch.object(transaction, "_CALL_S", 0.8),
        patch.object(working, "_FIRST_WAIT_S", 0.01),
        patch.object(working, "_LONGEST_WAIT_S", 0.1),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        list(pool.map(run, seeds))
    return late, wrong


def run_schedule(seed: int, direct: Settings) -> Counter[int]:
    """Raises AssertionError when a row is lost, doubled or out of order. Returns what has come late."""
    topics = [BareTopic.of(direct, name) for name in ("market", "bars", "state")]
    for topic in topics:
        topic.make(PARTITIONS)
    numbers = draw_numbers(PARTITIONS, NUMBERS, seed)
    write_numbers(topics[0], numbers)
    with KafkaProxy(str(direct.kafka.bootstrap_servers), Schedule(seed)) as proxy:
        _work_until_done(connected_to(direct, proxy.address), numbers)
        proxy.deliver_all()
    assert written_sums(topics[1], numbers) == sums_of(numbers)
    group = Consumer({"bootstrap.servers": topics[0].bootstrap, "group.id": direct.group(direct.process.group)})
    ends = group.committed([TopicPartition(topics[0].name, partition) for partition in numbers], timeout=20)
    group.close()
    assert [place.offset for place in ends] == [NUMBERS] * PARTITIONS
    for topic in topics:
        topic.delete()
    return proxy.late


def _work_until_done(settings: Settings, numbers: Numbers) -> None:
    """The product's loop; and where a late request has fenced the worker, what its supervisor does. Raises AssertionError."""
    life = Lifecycle("process-0", threading.Event(), Health(), settings.data_dir / "process-0.json", 0)
    give_up = threading.Timer(DONE_S, life.stop.set)
    give_up.start()
    done = threading.Event()
    workers: list[SummingWorker] = []

    def finish() -> None:
        done.set()
        life.stop.set()

    def begin(_: object) -> SummingWorker:
        workers[:] = [SummingWorker(settings, numbers, done=finish)]
        return workers[0]

    while not life.stop.is_set():
        try:
            working.work(life, 0, begin)
        except Fatal:  # its process would end
            workers.pop().close()
    give_up.cancel()
    assert done.is_set(), f"not done within {DONE_S} s"
