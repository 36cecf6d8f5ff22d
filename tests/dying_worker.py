"""Engine workers for tests of kills: one that kills itself with -9 at a step of its work, one that has little time, and
a process that gets a share of one core, as on a small or a crowded machine.

Each life of the first dies at the next of STEPS and writes its name into the file DEATHS; after the last it lives on.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from forked import command
from marketpulse.app import worker
from marketpulse.app.pace import Pace
from marketpulse.app.pipeline import working
from marketpulse.engine.step import Stepper
from marketpulse.kafka import transaction
from marketpulse.kafka.client import LogProducer
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.log_consumer import LogConsumer
from marketpulse.kafka.row_sender import RowSender

STEPS = {
    "after init_transactions": 1, "before its partitions are assigned": 1, "after its partitions are assigned": 1,
    "after the first batch": 1, "after begin_transaction": 2, "between two outputs": 7,
    "after a chunk of a snapshot was sent": 1, "after a snapshot was acknowledged": 1, "before the offsets are sent": 2,
    "after the offsets were sent": 2, "before commit_transaction": 2, "after commit_transaction": 6,
    "after a snapshot was read": 1, "between two snapshots read": 2, "after the first batch of another life": 1,
    "before the third commit": 3,
}  # fmt: skip
"""Where to die, and at which time of passing there."""
SAME = {
    "after the first batch of another life": "after the first batch",
    "between two snapshots read": "after a snapshot was read",
    "before the third commit": "before commit_transaction",
}


class Fate:
    """Where this life ends."""

    def __init__(self, deaths: Path) -> None:
        self._deaths = deaths
        lives = len(deaths.read_text().splitlines()) if deaths.exists() else 0
        self._name = [*STEPS, ""][lives]
        self._step, self._left = SAME.get(self._name, self._name), STEPS.get(self._name, 0)

    def at(self, step: str) -> None:
        if step != self._step:
            return
        self._left -= 1
        if self._left == 0:
            with self._deaths.open("a") as deaths:
                deaths.write(self._name + "\n")
            os.kill(os.getpid(), signal.SIGKILL)


def doom(fate: Fate) -> None:
    """Put the fate's eyes into the worker's clients and its engine."""

    class DyingProducer(LogProducer):
        def init_transactions(self, *args: Any) -> None:
            super().init_transactions(*args)
            fate.at("after init_transactions")

        def begin_transaction(self) -> None:
            super().begin_transaction()
            fate.at("after begin_transaction")

        def produce(self, topic: str, *args: Any, **more: Any) -> None:
            super().produce(topic, *args, **more)
            if topic.endswith("state"):
                fate.at("after a chunk of a snapshot was sent")

        def send_offsets_to_transaction(self, *args: Any) -> None:
            fate.at("before the offsets are sent")
            super().send_offsets_to_transaction(*args)
            fate.at("after the offsets were sent")

        def commit_transaction(self, *args: Any) -> None:
            fate.at("before commit_transaction")
            super().commit_transaction(*args)
            fate.at("after commit_transaction")

    class DyingSender(RowSender):
        def send(self, topic: str, rows: RowRecords) -> None:
            for row in range(len(rows)):
                value_ends, key_ends = rows.value_ends[row : row + 2], rows.key_ends[row : row + 2]
                super().send(topic, RowRecords(rows.values, value_ends, rows.keys, key_ends))
                fate.at("between two outputs")

    class DyingConsumer(LogConsumer):
        def incremental_assign(self, partitions: Any) -> None:
            fate.at("before its partitions are assigned")
            super().incremental_assign(partitions)
            fate.at("after its partitions are assigned")

    class DyingLog(transaction.TransactionalLog):
        def write_snapshot(self, *args: Any) -> Any:
            pointer = super().write_snapshot(*args)
            fate.at("after a snapshot was acknowledged")
            return pointer

        def read_snapshot(self, *args: Any) -> bytes:
            data = super().read_snapshot(*args)
            fate.at("after a snapshot was read")
            return data

    class DyingStepper(Stepper):
        def step(self, *args: Any) -> Any:
            result = super().step(*args)
            fate.at("after the first batch")
            return result

    for module, replacement in (
        (transaction, DyingProducer), (transaction, DyingSender), (transaction, DyingConsumer), (worker, DyingLog),
        (worker, DyingStepper),
    ):  # fmt: skip
        setattr(module, replacement.__bases__[0].__name__, replacement)


def doomed_command(deaths: Path, *words: str) -> None:
    """`marketpulse WORDS…` in this process, until it kills itself."""
    doom(Fate(deaths))
    command(*words)


_TICK_S = 0.01


@contextmanager
def throttled(pid: int, share: float) -> Iterator[None]:
    """Inside, the process is stopped whenever it has had more processor time than `share` of the time that has passed."""
    process, over = psutil.Process(pid), threading.Event()

    def hold_back() -> None:
        began, used = time.monotonic(), sum(process.cpu_times()[:2])
        while not over.wait(_TICK_S):
            process.suspend()
            while sum(process.cpu_times()[:2]) - used > share * (time.monotonic() - began) and not over.wait(_TICK_S):
                pass
            process.resume()

    thread = threading.Thread(target=hold_back)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def hurried_command(timed_out: Path, *words: str) -> None:
    """`marketpulse WORDS…` with a second for each transaction at first; those that run out of it are noted."""
    transaction.TRANSACTION_S = 1.0

    class NotedPace(Pace):
        def slow_down(self) -> None:
            super().slow_down()
            with timed_out.open("a") as file:
                file.write(f"{self.transaction_s}\n")

    with patch.object(working, "Pace", NotedPace):
        command(*words)
