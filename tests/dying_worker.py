"""An engine worker that kills itself with -9 at a step of its work: `dying_worker.py DEATHS CAMPAIGN process --slot 0`.

Each life dies at the next step of its campaign in STEPS and writes its name into the file DEATHS; after the last it lives on.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka

from marketpulse.app import worker
from marketpulse.app.cli import main
from marketpulse.engine.step import Stepper
from marketpulse.kafka import transaction, transactional_producer
from marketpulse.kafka.client import LogProducer
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.row_sender import RowSender

STEPS = {
    "one transaction": {
        "after init_transactions": 2,
        "before its partitions are assigned": 1,
        "after its partitions are assigned": 1,
        "after the first batch": 1,
        "after begin_transaction": 2,
        "between two outputs": 7,
        "after a chunk of a snapshot was sent": 1,
        "after a snapshot was acknowledged": 1,
        "before the offsets are sent": 2,
        "after the offsets were sent": 2,
        "before commit_transaction": 2,
        "after commit_transaction": 2,
        "after a snapshot was read": 1,
        "between two snapshots read": 2,
        "after the first batch of another life": 1,
        "before the third commit": 3,
    },
    "two in turn": {
        "between the two init_transactions": 1,
        "while rows wait for the commit under way": 1,
        "when the rows that waited may go": 1,
        "when the rows that waited have gone": 1,
        "before the offsets are sent, the next rows in the log": 1,
        "after the offsets were sent, the next rows in the log": 1,
        "before commit_transaction, the next rows in the log": 1,
        "after commit_transaction, the next rows in the log": 1,
        "when the second commit begins": 2,
    },
}
"""Where to die, and at which time of passing there: a campaign each."""
BEHIND = ", the next rows in the log"
"""The other producer's transaction is open then, and holds rows that the broker has acknowledged."""
WAITING = (
    "while rows wait for the commit under way",
    "when the rows that waited may go",
    "when the rows that waited have gone",
)
_PATIENCE_S = 20.0
_MOST_RECORDS = 50  # of a turn: so rows come while a commit is under way
SAME = {
    "between the two init_transactions": "after init_transactions",
    "after the first batch of another life": "after the first batch",
    "between two snapshots read": "after a snapshot was read",
    "before the third commit": "before commit_transaction",
}


class Fate:
    """Where this life ends."""

    def __init__(self, deaths: Path, campaign: str) -> None:
        self._deaths = deaths
        steps = STEPS[campaign]
        lives = len(deaths.read_text().splitlines()) if deaths.exists() else 0
        self._name = [*steps, ""][lives]
        self._step, self._left = SAME.get(self._name, self._name), steps.get(self._name, 0)
        self._one = threading.Lock()  # the engine's thread and the commit's

    def awaits(self, step: str) -> bool:
        return step == self._step

    def at(self, step: str) -> None:
        if step != self._step:
            return
        with self._one:
            self._left -= 1
            if self._left == 0:
                with self._deaths.open("a") as deaths:
                    deaths.write(self._name + "\n")
                os.kill(os.getpid(), signal.SIGKILL)


def wait_for(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not come() and time.monotonic() < deadline:
        time.sleep(0.001)
    if not come():
        raise AssertionError("what this life is to die in does not come")


def doom(fate: Fate) -> None:
    """Put the fate's eyes into the worker's clients and its engine."""
    producers: list[transactional_producer.TransactionalProducer] = []

    class DyingProducer(LogProducer):
        has_rows = False  # in the open transaction

        def init_transactions(self, *args: Any) -> None:
            super().init_transactions(*args)
            fate.at("after init_transactions")

        def begin_transaction(self) -> None:
            super().begin_transaction()
            self.has_rows = False
            fate.at("after begin_transaction")

        def produce(self, topic: str, *args: Any, **more: Any) -> None:
            super().produce(topic, *args, **more)
            if topic.endswith("state"):
                fate.at("after a chunk of a snapshot was sent")

        def passes(self, step: str) -> None:
            fate.at(step)
            if fate.awaits(step + BEHIND):
                others: list[Any] = [other for other in producers if other._client is not self]
                wait_for(lambda: any(other._client.has_rows for other in others))
                for other in others:
                    LogProducer.flush(other._client, _PATIENCE_S)
                fate.at(step + BEHIND)

        def send_offsets_to_transaction(self, *args: Any) -> None:
            self.passes("before the offsets are sent")
            super().send_offsets_to_transaction(*args)
            self.passes("after the offsets were sent")

        def commit_transaction(self, *args: Any) -> None:
            self.passes("before commit_transaction")
            super().commit_transaction(*args)
            self.has_rows = False
            self.passes("after commit_transaction")

    class DyingPair(transactional_producer.TransactionalProducer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            producers.append(self)

        def flush(self) -> None:
            if any(fate.awaits(step) for step in WAITING):
                wait_for(lambda: any(other.waiting_bytes for other in producers))
                fate.at("while rows wait for the commit under way")
            super().flush()

        def let_go(self) -> None:
            if waited := self.waiting_bytes:
                fate.at("when the rows that waited may go")
            super().let_go()
            if waited:
                fate.at("when the rows that waited have gone")

    class DyingSender(RowSender):
        def send(self, topic: str, rows: RowRecords) -> None:
            for row in range(len(rows)):
                value_ends, key_ends = rows.value_ends[row : row + 2], rows.key_ends[row : row + 2]
                super().send(topic, RowRecords(rows.values, value_ends, rows.keys, key_ends))
                self._producer.has_rows = True  # type: ignore[attr-defined]
                fate.at("between two outputs")

    class DyingConsumer(confluent_kafka.Consumer):
        def incremental_assign(self, partitions: Any) -> None:
            fate.at("before its partitions are assigned")
            super().incremental_assign(partitions)
            fate.at("after its partitions are assigned")

    class DyingLog(transaction.TransactionalLog):
        def begin_commit(self) -> None:
            fate.at("when the second commit begins")
            super().begin_commit()

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

    names: list[tuple[Any, str, type]] = [
        (transactional_producer, "LogProducer", DyingProducer),
        (transactional_producer, "RowSender", DyingSender),
        (transaction, "TransactionalProducer", DyingPair),
        (transaction, "Consumer", DyingConsumer),
        (worker, "TransactionalLog", DyingLog),
        (worker, "Stepper", DyingStepper),
    ]
    for module, name, replacement in names:
        setattr(module, name, replacement)
    worker._MOST_RECORDS = _MOST_RECORDS


if __name__ == "__main__":
    doom(Fate(Path(sys.argv[1]), sys.argv[2]))
    sys.argv = ["marketpulse", *sys.argv[3:]]
    main()
