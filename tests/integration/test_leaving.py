"""Workers that leave in the middle of something, and partitions that move in the middle of it: every row is there once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic
from kafka_proxy import END_TXN, FIND_COORDINATOR, KafkaProxy, Loss, OneLoss
from marketpulse.errors import Retryable
from marketpulse.kafka import transaction
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.transaction import AbortedTransaction
from marketpulse.settings import Settings
from refused import assert_raises
from summing_worker import SummingWorker, draw_numbers, sums_of, write_numbers, written_sums
from waiting import wait_until

NUMBERS = draw_numbers(partitions=4, count=24, seed=7)
HALF = 12


class Slot:
    """A worker, and after a fault of the log a new one, as app.pipeline.working has it."""

    def __init__(self, settings: Settings, slot: int, **more: Any) -> None:
        self._make = partial(SummingWorker, settings, NUMBERS, slot, **more)
        self.worker = self._make()
        self.worker.start()

    def turn(self) -> None:
        try:
            self.worker.turn()
        except Retryable:
            self.worker.close()
            self.worker = self._make()
            self.worker.start()

    def close(self) -> None:
        self.worker.close()


Start = Callable[..., Slot]


@pytest.fixture
def start(kafka_settings: Settings) -> Iterator[Start]:
    """Starts a worker of a slot, which leaves with the test."""
    with ExitStack() as leaving:

        def started(slot: int, **more: Any) -> Slot:
            worker = Slot(more.pop("settings", kafka_settings), slot, **more)
            leaving.callback(worker.close)
            return worker

        yield started


def turn_until(done: Callable[[], bool], *slots: Slot) -> None:
    def turned() -> bool:
        for slot in slots:
            slot.turn()
        return done()

    wait_until(turned)


def owned(*slots: Slot) -> list[int]:
    return sorted(partition for slot in slots for partition in slot.worker.sums)


def have_come_to(offset: int, *slots: Slot) -> bool:
    offsets = {p: state.next_offset for slot in slots for p, state in slot.worker.sums.items()}
    return offsets == dict.fromkeys(NUMBERS, offset)


@pytest.mark.parametrize("comes", ["unanswered", "before the next one", "after the next one took over"])
def test_rows_of_a_worker_that_leaves_while_nobody_knows_how_its_commit_ended_are_there_once(
    kafka_settings: Settings, start: Start, monkeypatch: pytest.MonkeyPatch, comes: str
) -> None:
    loss = Loss(arrives=comes == "unanswered", comes_late=comes != "unanswered", cuts=False)
    write_numbers(BareTopic.of(kafka_settings), NUMBERS)
    with KafkaProxy(str(kafka_settings.kafka.bootstrap_servers), OneLoss(END_TXN, loss)) as proxy:
        leaver = start(0, settings=connected_to(kafka_settings, proxy.address), transaction_s=1)
        with monkeypatch.context() as impatient:
            impatient.setattr(transaction, "_CALL_S", 0.6)
            assert_raises(AbortedTransaction, "commit", wait_until, lambda: leaver.worker.turn() and False)
        leaver.close()
        if comes == "before the next one":
            proxy.deliver_all()
        follower = start(1, on_take=proxy.deliver_all)
        turn_until(lambda: have_come_to(24, follower), follower)
    assert proxy.late[END_TXN] == loss.comes_late
    assert written_sums(BareTopic.of(kafka_settings, "bars"), NUMBERS) == sums_of(NUMBERS)


def test_a_commit_whose_offsets_are_never_answered_is_given_up_and_the_next_worker_goes_on(
    kafka_settings: Settings, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = OneLoss(-1, Loss(arrives=False, comes_late=False, cuts=False))
    with KafkaProxy(str(kafka_settings.kafka.bootstrap_servers), nobody) as proxy:
        asking = start(0, settings=connected_to(kafka_settings, proxy.address))
        turn_until(lambda: owned(asking) == [0, 1, 2, 3], asking)
        nobody.api = FIND_COORDINATOR  # of its group, which the producer asks for with its first offsets
        write_numbers(BareTopic.of(kafka_settings), NUMBERS)
        with monkeypatch.context() as impatient:
            impatient.setattr(transaction, "_CALL_S", 0.6)
            unanswered = "the offsets are not answered after 0.6 s"
            assert_raises(AbortedTransaction, unanswered, wait_until, lambda: asking.worker.turn() and False)
        asking.close()
        follower = start(0)
        turn_until(lambda: have_come_to(24, follower), follower)
    assert written_sums(BareTopic.of(kafka_settings, "bars"), NUMBERS) == sums_of(NUMBERS)


def test_partitions_that_are_revoked_while_their_state_is_loaded_lose_and_double_nothing(
    kafka_settings: Settings, start: Start
) -> None:
    write_numbers(BareTopic.of(kafka_settings), NUMBERS, 0, HALF)
    first = start(0)
    turn_until(lambda: have_come_to(HALF, first), first)
    first.close()
    others: list[Slot] = []
    admin = AdminClient({"bootstrap.servers": str(kafka_settings.kafka.bootstrap_servers)})
    group = kafka_settings.group(kafka_settings.process.group)

    def is_rebalancing() -> bool:
        state = admin.describe_consumer_groups([group])[group].result(20).state
        return bool(state == ConsumerGroupState.PREPARING_REBALANCING)

    def let_another_one_in() -> None:
        if not others:
            others.append(start(1))
            turn_until(is_rebalancing, *others)

    loading = start(0, on_take=let_another_one_in)
    turn_until(lambda: bool(others), loading)
    assert owned(loading) == [0, 1, 2, 3]
    turn_until(lambda: owned(*others, loading) == [0, 1, 2, 3] and bool(owned(*others)), loading, *others)
    write_numbers(BareTopic.of(kafka_settings), NUMBERS, HALF)
    turn_until(lambda: have_come_to(24, loading, *others), loading, *others)
    assert len(owned(loading)) == 2
    assert written_sums(BareTopic.of(kafka_settings, "bars"), NUMBERS) == sums_of(NUMBERS)


def test_two_rebalances_in_a_row_lose_and_double_nothing(kafka_settings: Settings, start: Start) -> None:
    write_numbers(BareTopic.of(kafka_settings), NUMBERS, 0, HALF)
    first, second = start(0), start(1)
    turn_until(lambda: owned(second) != [], first, second)
    second.close()
    third = start(2)
    turn_until(lambda: owned(third) != [] and owned(first, third) == [0, 1, 2, 3], first, third)
    write_numbers(BareTopic.of(kafka_settings), NUMBERS, HALF)
    turn_until(lambda: have_come_to(24, first, third), first, third)
    assert len(owned(first)) == 2
    assert written_sums(BareTopic.of(kafka_settings, "bars"), NUMBERS) == sums_of(NUMBERS)
