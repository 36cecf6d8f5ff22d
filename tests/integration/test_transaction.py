"""What callbacks raise while partitions move, on the real broker: it comes out of the call that served them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

import bare_clients
from bare_clients import BareTopic, bare_producer
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import group, transaction
from marketpulse.kafka.client import client_config
from marketpulse.kafka.client_names import Role
from marketpulse.kafka.snapshot import Pointer
from marketpulse.kafka.transaction import BEGINNING, AbortedTransaction, Taken, TransactionalLog, TransactionTimedOut
from marketpulse.settings import Settings
from marketpulse.telemetry import CLIENTS_LEFT_BEHIND
from refused import assert_raises
from waiting import wait_until

pytestmark = pytest.mark.integration


class Sentinel(BaseException):
    """Nothing of ours or the client's: whoever raises it anew, or catches `Exception`, is seen."""


class Member:
    """A worker's hold on the log without an engine: it takes what it is given, and raises what it is told to."""

    def __init__(self, settings: Settings, slot: int = 0, transaction_s: float = 10) -> None:
        self.on_take: BaseException | None = None
        self.on_give: BaseException | None = None
        self.before_commit: BaseException | None = None
        self.owned: set[int] = set()
        self.log = TransactionalLog(settings, slot, self._take, self._give, self._places, transaction_s=transaction_s)
        self.log.start()

    def poll_until(self, done: Callable[[], bool], *others: "Member") -> None:
        def polled() -> bool:
            for member in () if done() else (self, *others):
                member.log.poll(0.1, 100)
            return done()

        wait_until(polled)

    def take_all(self) -> None:
        self.poll_until(lambda: self.owned == {0, 1, 2, 3})

    def _take(self, taken: Sequence[Taken]) -> dict[int, int]:
        _raise(self.on_take)
        self.owned |= {one.partition for one in taken}
        return {one.partition: one.committed or BEGINNING for one in taken}

    def _give(self, partitions: Sequence[int]) -> None:
        _raise(self.on_give)
        self.owned -= set(partitions)

    def _places(self) -> dict[int, tuple[int, Pointer | None]]:
        _raise(self.before_commit)
        return {}


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error


@contextmanager
def member(settings: Settings, slot: int = 0, transaction_s: float = 10) -> Iterator[Member]:
    joined = Member(settings, slot, transaction_s)
    try:
        yield joined
    finally:
        joined.on_give = None
        joined.log.close()


@pytest.fixture
def settings(kafka_settings: Settings) -> Settings:
    """Topics and a group of its own for each test: a worker that was left hanging keeps its place in its group."""
    return kafka_settings


def never() -> bool:
    return False


def on_and_on(ask: Callable[[], object]) -> None:
    wait_until(lambda: bool(ask() and False))


@pytest.mark.parametrize("call", ["poll", "consume"])
def test_the_client_raises_what_a_callback_raised_as_it_is(settings: Settings, call: str) -> None:
    sentinel = Sentinel()

    def assigned(*_: object) -> NoReturn:
        raise sentinel

    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "g" + call})
    consumer.subscribe([settings.topic("market")], on_assign=assigned)
    ask: Callable[[], object] = {"poll": lambda: consumer.poll(0.1), "consume": lambda: consumer.consume(10, 0.1)}[call]
    with pytest.raises(Sentinel) as caught:
        on_and_on(ask)
    assert caught.value is sentinel
    consumer.close()


def test_what_is_raised_as_partitions_come_or_in_the_commit_before_they_go_leaves_poll(settings: Settings) -> None:
    with member(settings) as worker:
        worker.on_take = Sentinel()
        with pytest.raises(Sentinel) as caught:
            worker.poll_until(never)
    assert caught.value is worker.on_take
    with member(settings) as worker:
        worker.take_all()
        worker.log.begin()
        worker.before_commit = Sentinel()
        with member(settings, slot=1) as other, pytest.raises(Sentinel) as caught:
            worker.poll_until(never, other)
    assert caught.value is worker.before_commit


PASSES, STAYS = KafkaError(KafkaError._TIMED_OUT, "slow"), KafkaError(KafkaError._FENCED, "fenced", fatal=True)


@pytest.mark.parametrize(("fault", "judged"), [(PASSES, Retryable), (STAYS, Fatal)])
def test_a_fault_of_the_client_in_a_callback_is_judged_by_whether_it_passes(
    settings: Settings, fault: KafkaError, judged: type[Exception]
) -> None:
    with member(settings) as worker:
        worker.on_take = KafkaException(fault)
        with pytest.raises(judged, match=f"rebalance: {fault.str()}") as caught:
            worker.poll_until(never)
    assert caught.value.__cause__ is worker.on_take


def test_what_a_method_of_the_client_raises_in_a_callback_is_judged_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def committed(*_: object, **__: object) -> NoReturn:
        raise KafkaException(PASSES)

    with member(settings) as worker:
        monkeypatch.setattr(worker.log._consumer, "committed", committed)
        assert_raises(Retryable, r"rebalance: slow", worker.poll_until, never)


def write_on(worker: Member) -> None:
    worker.log.write("bars", [(b"A", b"{}")])
    worker.log.serve()


def test_a_worker_whose_name_was_taken_says_by_whom_whatever_it_does_next(settings: Settings) -> None:
    name = f"{settings.group(settings.process.group)}-0"
    with member(settings) as first:
        first.take_all()
        write_on(first)
        with member(settings) as second:
            wait_until(lambda: second.log.poll(0.1, 100) or second.log._consumer.memberid())
            assert_raises(
                Fatal, f"newer producer instance.*took the name {name} over.*{name}-.* at /127.0.0.1", on_and_on,
                lambda: write_on(first),
            )  # fmt: skip


def test_a_transaction_that_ran_out_of_its_time_is_said_to_have_and_a_new_worker_goes_on(settings: Settings) -> None:
    with member(settings, transaction_s=1) as slow:
        slow.take_all()
        expected = r"open for \d+\.\d s, and the broker ends one after 1 s"
        assert_raises(TransactionTimedOut, expected, on_and_on, lambda: write_on(slow))
    with member(settings) as following:
        following.take_all()
        write_on(following)
        following.log.commit()
    assert len(list(BareTopic.of(settings, "bars").committed())) == 1


def test_what_is_raised_while_partitions_go_at_the_end_comes_out_of_close(settings: Settings) -> None:
    worker = Member(settings)
    worker.take_all()
    worker.on_give = Sentinel()
    with pytest.raises(Sentinel) as caught:
        worker.log.close()
    assert caught.value is worker.on_give


def test_a_worker_that_leaves_before_it_took_partitions_takes_none_and_the_next_gets_them(settings: Settings) -> None:
    worker, name = Member(settings), settings.group(settings.process.group)
    admin = AdminClient({"bootstrap.servers": str(settings.kafka.bootstrap_servers)})

    def assigned() -> int:
        members = admin.describe_consumer_groups([name])[name].result(20).members
        return sum(len(m.assignment.topic_partitions) for m in members if m.assignment)

    wait_until(lambda: assigned() == 4)
    worker.log.close()
    assert (worker.owned, assigned()) == (set(), 0)
    with member(settings) as other:
        other.take_all()


def test_a_client_that_closes_before_its_partitions_are_revoked_calls_nobody_and_holds_up_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_GIVE_BACK_S", 0)
    worker, before = Member(settings), CLIENTS_LEFT_BEHIND._value.get()
    worker.take_all()
    worker.log._membership.leave(close_s=0.5)
    assert worker.owned == {0, 1, 2, 3}, "what its owner is told comes out of `leave`, or not at all"
    assert CLIENTS_LEFT_BEHIND._value.get() == before + 1


def test_a_worker_away_for_too_long_gives_up_and_leaves(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = client_config

    def impatient(settings: Settings, role: Role, **overrides: Any) -> dict[str, Any]:
        """Away for six seconds is too long: the group asks for no less."""
        limits = {"max_poll_interval_ms": 6_000} if "max_poll_interval_ms" in overrides else {}
        return configured(settings, role, **{**overrides, **limits})

    monkeypatch.setattr(transaction, "client_config", impatient)
    worker = Member(settings)
    worker.take_all()
    worker.log.begin()
    time.sleep(7)
    assert_raises(Retryable, "", worker.poll_until, never)
    worker.log.close()
    assert worker.owned == set()
    assert not worker.log.in_transaction


def test_after_a_callback_has_failed_a_new_worker_gets_the_partitions_and_reads_on(settings: Settings) -> None:
    BareTopic.of(settings).write([b"1", b"2", b"3"])
    with member(settings) as worker:
        worker.on_take = Retryable("its state cannot be read")
        assert_raises(Retryable, "its state cannot be read", worker.poll_until, never)
    values: list[bytes | None] = []

    def read() -> bool:
        values.extend(records.value(i) for records in follower.log.poll(0.1, 100) for i in range(len(records)))
        return len(values) >= 3

    with member(settings) as follower:
        wait_until(read)
    assert values == [b"1", b"2", b"3"]


def test_the_engine_reads_no_record_of_an_aborted_transaction(kafka_settings: Settings) -> None:
    producer = bare_producer(kafka_settings.kafka.bootstrap_servers, f"{kafka_settings.kafka.topic_prefix}writer")
    for value, keep in ((b"first", True), (b"taken back", False), (b"last", True)):
        with bare_clients.transaction(producer, keep=keep):
            producer.produce(kafka_settings.topic("market"), value, partition=0)
    log = TransactionalLog(
        kafka_settings, 0, lambda taken: {t.partition: BEGINNING for t in taken}, lambda _: None, dict
    )
    log.start()
    try:
        found: list[bytes | None] = []
        deadline = time.monotonic() + 30
        while b"last" not in found and time.monotonic() < deadline:
            found += [r.value(i) for r in log.poll(0.1, 100) for i in range(len(r))]
    finally:
        log.close()
    assert found == [b"first", b"last"]


def test_refused_offsets_abort_a_commit_and_say_so(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "the group does not know this member"))

    owned: set[int] = set()

    def on_take(taken: Sequence[Taken]) -> dict[int, int]:
        owned.update(one.partition for one in taken)
        return {one.partition: BEGINNING for one in taken}

    log = TransactionalLog(kafka_settings, 0, on_take, lambda _: None, lambda: {0: (1, None)})
    log.start()
    try:
        deadline = time.monotonic() + 30
        while not owned and time.monotonic() < deadline:
            log.poll(0.1, 100)
        log.write("bars", [(b"AAA", b"{}")])
        monkeypatch.setattr("marketpulse.kafka.transaction.send_offsets", refuse)
        assert_raises(AbortedTransaction, "commit: the group does not know this member", log.commit)
        assert not log.in_transaction
    finally:
        log.close()
    assert list(BareTopic.of(kafka_settings, "bars").committed()) == []
