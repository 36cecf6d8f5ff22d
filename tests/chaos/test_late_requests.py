"""Requests of transactions that are lost, come late or come twice, by seed: every row is there once, in order."""

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from kafka_proxy import END_TXN, INIT_PRODUCER_ID, TXN_OFFSET_COMMIT
from late_schedules import run_schedules
from marketpulse.kafka.broker import EmbeddedBroker

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
