"""Two producers commit in turn, on the real broker: what each step may not overtake, and what a fault takes with it."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from bare_clients import BareTopic
from marketpulse.errors import Fatal
from marketpulse.kafka import transaction
from marketpulse.kafka.client import LogProducer, client_config
from marketpulse.kafka.client_names import Role
from marketpulse.kafka.codec import RowRecords
from marketpulse.kafka.snapshot import Pointer
from marketpulse.kafka.transaction import BEGINNING, AbortedTransaction, Taken, TransactionalLog
from marketpulse.kafka.transactional_producer import TransactionalProducer
from marketpulse.settings import Settings

pytestmark = pytest.mark.integration

TOO_LARGE = 10_000_000  # more bytes than `bars` takes in a record, however they are packed


class Member:
    """A worker's hold on the log without an engine: each commit says that it has come one record further."""

    def __init__(self, settings: Settings) -> None:
        self.offset = 0
        self.taken: dict[int, int | None] = {}
        self.log = TransactionalLog(settings, 0, self._take, self._give, self._places)
        self.log.start()

    def join(self) -> "Member":
        deadline = time.monotonic() + 30
        while len(self.taken) < 4:
            assert time.monotonic() < deadline
            self.log.poll(0.1, 100)
        return self

    def write(self, value: bytes) -> None:
        self.log.write("bars", [(b"A", value)])
        self.offset += 1

    def _take(self, taken: Sequence[Taken]) -> dict[int, int]:
        self.taken |= {one.partition: one.committed for one in taken}
        return dict.fromkeys((one.partition for one in taken), BEGINNING)

    def _give(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            del self.taken[partition]

    def _places(self) -> dict[int, tuple[int, Pointer | None]]:
        return {0: (self.offset, None)}


@contextmanager
def member(settings: Settings) -> Iterator[Member]:
    joined = Member(settings)
    try:
        yield joined.join()
    finally:
        joined.log.close()


class Gate:
    """Where commits wait, at one step of theirs, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        passed = getattr(TransactionalProducer, step)

        def stop(producer: TransactionalProducer, *args: object) -> None:
            self.reached.set()
            assert self._open.wait(30)
            passed(producer, *args)

        monkeypatch.setattr(TransactionalProducer, step, stop)

    def open(self) -> None:
        self._open.set()


def committed(settings: Settings) -> list[bytes]:
    return [record.value for record in BareTopic.of(settings, "bars").committed()]


def uncommitted(settings: Settings) -> list[bytes]:
    """Everything in the log's order, whatever became of it."""
    consumer = Consumer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "eyes", "enable.auto.commit": False,
        "isolation.level": "read_uncommitted", "enable.partition.eof": True, "log_level": 0,
    })  # fmt: skip
    consumer.assign([TopicPartition(settings.topic("bars"), p, 0) for p in range(4)])
    found, ended = [], 0
    while ended < 4:
        message = consumer.poll(10)
        assert message is not None
        if message.error() is None:
            found.append(message.value() or b"")
        else:
            ended += 1
    consumer.close()
    return found


def serve_until(log: TransactionalLog, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        log.serve()
        time.sleep(0.005)


def never() -> bool:
    return False


def test_what_is_written_while_a_commit_is_under_way_waits_until_the_rows_before_it_have_their_places(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "flush")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"2")
        worker.write(b"3")
        time.sleep(0.3)  # the client sends after two milliseconds
        assert set(uncommitted(kafka_settings)) <= {b"1"}
        gate.open()
        serve_until(worker.log, lambda: not worker.log.committing)
        worker.write(b"4")
        worker.log.commit()
    assert committed(kafka_settings) == [b"1", b"2", b"3", b"4"]


def test_rows_of_the_next_transaction_are_in_the_log_before_the_one_before_is_committed(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "commit")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"2")
        serve_until(worker.log, lambda: uncommitted(kafka_settings) == [b"1", b"2"])
        assert committed(kafka_settings) == []
        gate.open()
        serve_until(worker.log, lambda: not worker.log.committing)
        assert committed(kafka_settings) == [b"1"]
        worker.log.commit()
        assert committed(kafka_settings) == [b"1", b"2"]


def test_a_commit_begins_when_the_one_before_it_has_committed(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "commit")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"2")
        second = threading.Thread(target=worker.log.begin_commit)
        second.start()
        second.join(0.3)
        assert second.is_alive()
        gate.open()
        second.join(30)
        assert not second.is_alive()
        serve_until(worker.log, lambda: not worker.log.committing)
    assert committed(kafka_settings) == [b"1", b"2"]


def test_a_commit_that_fails_takes_what_was_written_meanwhile_with_it(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "commit")
        worker.write(b"1")
        worker.log._writing._client.produce(kafka_settings.topic("bars"), os.urandom(TOO_LARGE), b"A")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"2")
        serve_until(worker.log, lambda: b"2" in uncommitted(kafka_settings))
        gate.open()
        with pytest.raises(AbortedTransaction):
            serve_until(worker.log, never)
        assert not worker.log.in_transaction
        assert not worker.log.committing
    assert committed(kafka_settings) == []
    with member(kafka_settings) as follower:
        assert follower.taken[0] is None
        follower.write(b"again")
        follower.log.commit()
    assert committed(kafka_settings) == [b"again"]


def test_rows_that_wait_go_nowhere_when_the_rows_before_them_are_not_acknowledged(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "flush")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"2")
        monkeypatch.setattr(LogProducer, "flush", lambda *_: 1)  # the broker has been silent for too long
        gate.open()
        with pytest.raises(AbortedTransaction, match="1 records are not acknowledged"):
            serve_until(worker.log, never)
    assert committed(kafka_settings) == []
    assert b"2" not in uncommitted(kafka_settings)


def test_a_member_that_its_group_has_put_out_commits_nothing(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away for too long, it leaves the group by itself; the engine's loop has not heard of it when the offsets go."""
    configured = client_config

    def impatient(settings: Settings, role: Role, **overrides: Any) -> dict[str, Any]:
        limits = {"max_poll_interval_ms": 6_000} if "max_poll_interval_ms" in overrides else {}
        return configured(settings, role, **{**overrides, **limits})

    monkeypatch.setattr(transaction, "client_config", impatient)
    process = kafka_settings.process.model_copy(update={"static_membership": False})
    with member(kafka_settings.model_copy(update={"process": process})) as worker:
        gate = Gate(monkeypatch, "commit")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        time.sleep(8)
        gate.open()
        with pytest.raises(AbortedTransaction, match="commit failed"):
            serve_until(worker.log, never)
    assert committed(kafka_settings) == []


@pytest.mark.parametrize("step", ["flush", "commit"])
def test_a_worker_whose_place_is_taken_while_a_commit_is_under_way_commits_neither_of_its_transactions(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with member(kafka_settings) as frozen:
        gate = Gate(monkeypatch, step)
        frozen.write(b"1")
        frozen.log.begin_commit()
        assert gate.reached.wait(10)
        frozen.write(b"2")
        if step == "commit":
            serve_until(frozen.log, lambda: b"2" in uncommitted(kafka_settings))
        monkeypatch.undo()
        with member(kafka_settings) as worker:
            assert worker.taken[0] is None
            gate.open()
            with pytest.raises(Fatal, match="newer"):
                serve_until(frozen.log, never)
            worker.write(b"its own")
            worker.log.commit()
    assert committed(kafka_settings) == [b"its own"]


def test_a_full_memory_waits_for_the_commit_under_way(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_WAITING_MOST", 3)
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "flush")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"123")
        writing = threading.Thread(target=worker.write, args=(b"4",))
        writing.start()
        writing.join(0.3)
        assert writing.is_alive()
        gate.open()
        writing.join(30)
        assert not writing.is_alive()
        assert not worker.log.committing
        worker.log.commit()
    assert committed(kafka_settings) == [b"1", b"123", b"4"]


def test_rows_that_wait_are_kept_when_their_memory_is_written_over(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, key_ends = np.array([0, 4, 8]), np.array([0, 1, 2])
    values, keys = np.frombuffer(b"one\ntwo\n", np.uint8).copy(), np.frombuffer(b"AA", np.uint8).copy()
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "flush")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.log.write_rows("bars", RowRecords(values, ends, keys, key_ends))
        values[:], keys[:] = 0, 0
        gate.open()
        worker.log.commit()
    assert committed(kafka_settings) == [b"1", b"one", b"two"]


def test_a_commit_under_way_counts_when_the_worker_leaves(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with member(kafka_settings) as worker:
        gate = Gate(monkeypatch, "commit")
        worker.write(b"1")
        worker.log.begin_commit()
        assert gate.reached.wait(10)
        worker.write(b"2")
        threading.Timer(0.2, gate.open).start()
    assert committed(kafka_settings) == [b"1"]
    with member(kafka_settings) as follower:
        assert follower.taken[0] == 1
