"""Requests of transactions that are lost, come late or come twice, by seed: every row is there once, in order. And an
answer about the cluster that names no broker."""

import os
import uuid
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from bare_clients import BareTopic
from late_schedules import run_schedules
from marketpulse.app.chaos.proxy import END_TXN, INIT_PRODUCER_ID, TXN_OFFSET_COMMIT, KafkaProxy, Schedule
from marketpulse.kafka.broker import EmbeddedBroker
from marketpulse.kafka.client import LogProducer, client_config, connected_to
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.settings import Settings
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(3_600)]

SEEDS = range(5 * int(os.environ.get("MARKETPULSE_SOAK_SEEDS", "0")) or 6)
"""`make soak` runs 500."""
BATCH = 100  # in one process, which has room for a thousand clients; the library does not let go of all of them


def test_requests_of_transactions_that_are_lost_late_or_doubled_lose_and_double_no_row(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    late: Counter[int] = Counter()
    wrong: dict[int, str] = {}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        batches = [SEEDS[begin : begin + BATCH] for begin in range(0, len(SEEDS), BATCH)]
        for running in [processes.submit(run_schedules, batch, broker.bootstrap, tmp_path) for batch in batches]:
            came_late, went_wrong = running.result()
            late.update(came_late)
            wrong |= went_wrong
    assert not wrong, f"seeds {sorted(wrong)}; {next(iter(wrong.values()))}"
    for api in (END_TXN, TXN_OFFSET_COMMIT, INIT_PRODUCER_ID):
        assert late[api] > 0


def test_clients_go_on_after_the_cluster_said_that_it_has_no_broker(broker: EmbeddedBroker, tmp_path: Path) -> None:
    topic = BareTopic(broker.bootstrap, f"hidden-{uuid.uuid4().hex[:8]}")
    topic.make(1)
    with KafkaProxy(broker.bootstrap, Schedule(0, most=0)) as proxy:
        settings = connected_to(Settings(data_dir=tmp_path), proxy.address)
        producer = LogProducer(client_config(settings, "producer"))
        consumer = LogConsumer(settings, client_config(settings, "consumer", group_id="own"))
        consumer.assign([TopicPartition(topic.name, 0, 0)])

        def passes(value: bytes) -> None:
            producer.produce(topic.name, value)
            wait_until(lambda: producer.poll(0) >= 0 and (got := consumer.poll(0.2)) and got.value() == value)

        passes(b"before")
        proxy.hides_brokers = True
        assert producer.list_topics(timeout=10).brokers == consumer.list_topics(timeout=10).brokers == {}
        proxy.hides_brokers = False
        passes(b"after")
        consumer.close()
        assert producer.flush(10) == 0
