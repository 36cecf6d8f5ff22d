"""The engine's process on the real broker: a bare client writes, a bare client reads what was committed; also of
workers that leave in the middle of something, and partitions that move in the middle of it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from bare_clients import BareTopic, rows
from given_settings import changed
from market_rows import at
from marketpulse.app import pace
from marketpulse.app.chaos.proxy import END_TXN, FIND_COORDINATOR, KafkaProxy, Loss, OneLoss
from marketpulse.app.pipeline.process import run
from marketpulse.errors import Retryable
from marketpulse.kafka import transaction
from marketpulse.kafka.client import connected_to
from marketpulse.kafka.transaction import AbortedTransaction, TransactionalLog
from marketpulse.settings import Settings
from marketpulse.telemetry import REGISTRY
from refused import assert_raises
from stored_pipeline import HELLO, Working, heartbeat, quote, trade
from summing_worker import SummingWorker, draw_numbers, sums_of, write_numbers, written_sums
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kernels")]

COUNTED = {"crossed_quotes": {"book": "crossed"}, "late_quotes": {}, "dropped_quotes": {"why": "too_late"}}


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_{metric}_total", labels) or 0.0


def write(settings: Settings, *records: dict[str, Any] | bytes) -> None:
    BareTopic.of(settings).write(records)


def read(settings: Settings, topic: str, wanted: int, timeframe: str = "") -> list[dict[str, Any]]:
    """At least `wanted` committed rows of a topic, partition after partition; of them those of this timeframe."""
    found = rows(BareTopic.of(settings, topic).wait_for(wanted))
    return [row for row in found if not timeframe or row["timeframe"] == timeframe]


@pytest.fixture
def settings(kafka_settings: Settings) -> Settings:
    return changed(kafka_settings, engine={"timeframes": ("1s", "1m"), "indicators": "sma(2),vwap"})


@pytest.fixture
def worker(settings: Settings) -> Iterator[Working]:
    with Working(settings, run) as running:
        yield running


def test_the_worked_example_written_by_a_bare_client_gives_exactly_its_rows(settings: Settings) -> None:
    rows = [trade("AAA", 10.2, 5, 1), trade("AAA", 10.9, 7, 3), trade("AAA", 12.5, 6, 2), trade("AAA", 10.4, 4, 1)]
    late = [trade("AAA", 11.5, 9, 1), trade("AAA", 10.95, 8, 5)]
    write(settings, *rows, heartbeat(13.0), *late, heartbeat(13.5))
    with Working(settings, run):
        bars = read(settings, "bars", 4, "1s")
    names = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    assert [(b["open_time_ns"] - at(0)) / 1e9 for b in bars] == [10, 12, 10, 11]
    assert [tuple(b[n] for n in names) for b in bars] == [
        (5, 7, 4, 7, 5, 6.0, 3, 0), (6, 6, 6, 6, 2, 6.0, 1, 0), (5, 8, 4, 8, 10, 7.0, 4, 1), (9, 9, 9, 9, 1, 9.0, 1, 0),
    ]  # fmt: skip
    receipts = [tuple(b["receipt"][n] for n in ("first_offset", "last_offset", "late_count")) for b in bars]
    assert receipts == [(0, 3, 0), (2, 2, 0), (0, 6, 1), (5, 5, 1)]
    assert {b["receipt"]["topic"] for b in bars} == {settings.topic("market")}


def test_quotes_give_their_values_at_each_close_and_in_live_rows(settings: Settings) -> None:
    own = changed(settings, engine={"indicators": "spread,imbalance"})
    quotes = [quote("AAA", 10.3, 9, 10, (1, 3)), quote("AAA", 11.2, 9, 11, (0, 0))]
    write(own, HELLO, trade("AAA", 10.2, 5, 1), *quotes, trade("AAA", 11.4, 5, 1), heartbeat(15))
    with Working(own, run):
        found = read(own, "indicators", 2, "1s")
        shown = read(own, "live", 1, "1m")[0]
        before = {name: counted(name, **labels) for name, labels in COUNTED.items()}
        write(own, quote("AAA", 10.5, 9, 13, (3, 1)), quote("BBB", 15.5, 9, 8), heartbeat(16))
        revised = [r for r in read(own, "indicators", 3) if r["revision"]]
    assert [(r["spread"], r["imbalance"]) for r in found] == [(1, -0.5), (2, None)]
    assert [(r["receipt"]["first_offset"], r["receipt"]["last_offset"]) for r in found] == [(1, 2), (3, 4)]
    assert [shown[name] for name in ("bid", "bid_size", "ask", "ask_size", "spread")] == [9, 0, 11, 0, 2]
    assert [(r["spread"], r["imbalance"], r["open_time_ns"]) for r in revised] == [(4, 0.5, at(10))]
    assert revised[0]["receipt"]["last_offset"] > 5, "the late quote's place, among the clock's records"
    since = {name: counted(name, **labels) - before[name] for name, labels in COUNTED.items()}
    assert since == {"crossed_quotes": 1, "late_quotes": 1, "dropped_quotes": 0}


def test_indicators_are_null_while_they_warm_up_and_forming_bars_are_shown(settings: Settings, worker: Working) -> None:
    write(settings, HELLO, *(trade("AAA", t, 10 + t, 1) for t in range(4)), heartbeat(4))
    values = [(r["close"], r["sma_2"], r["vwap"]) for r in read(settings, "indicators", 4, "1s")]
    assert values == [(10, None, 10), (11, 10.5, 10.5), (12, 11.5, 11), (13, 12.5, 11.5)]
    write(settings, trade("BBB", 5, 10, 1), trade("BBB", 5.5, 12, 2))
    newest = wait_until(lambda: [r for r in read(settings, "live", 1, "1m") if r["symbol"] == "BBB"])[-1]
    assert (newest["open"], newest["close"], newest["volume"], newest["sma_2"]) == (10, 12, 3, None)


def test_what_cannot_be_used_is_set_aside_whole_with_its_place(settings: Settings) -> None:
    bad = trade("AAA", 1, 0, 1)
    write(settings, HELLO, b"not json", bad, trade("AAA", 5, 10, 1), heartbeat(1_000), trade("AAA", 2, 10, 1))
    with Working(settings, run):  # started after the rows: its clock writes to the topic too
        letters = read(settings, "dead-letters", 2)
        market = BareTopic.of(settings)
        (late,) = wait_until(lambda: [r.row for r in market.committed() if r.value.startswith(b'{"type":"late"')])
    assert [(d["partition"], d["offset"]) for d in letters if d["reason"] == "not_json"] == [(0, 1)]
    by_reason = {d["reason"]: d for d in letters}
    assert json.loads(by_reason.pop("bad_price")["value"]) == bad
    assert set(by_reason) == {"not_json"}, "history that comes too late is no dead letter"
    assert (late["symbol"], late["spans"], late["timeframes"]) == ("AAA", "5.0-5.0", ["1s", "1m"])
    assert {d["topic"] for d in letters} == {settings.topic("market")}


def test_a_suspect_row_stays_and_a_record_beside_it_says_what_is_wrong(settings: Settings) -> None:
    labels = {"rule": "price_unit", "severity": "mark", "source": "test"}
    before = counted("quality_found", **labels)
    steady = [trade("AAA", 1 + i / 100, 100, 1) for i in range(25)]
    write(settings, HELLO, *steady, trade("AAA", 1.5, 10_000, 1), heartbeat(3))

    def notices() -> list[dict[str, Any]]:
        """While the engine writes its clock, the log is never quiet."""
        return [r for r in rows(BareTopic.of(settings).committed()) if r["type"] == "quality"]

    with Working(settings, run):
        (notice,) = wait_until(notices)
        (bar,) = read(settings, "bars", 1, "1s")
    assert (bar["high"], bar["trade_count"]) == (10_000, 26), "what is marked stays"
    told = {"symbol": "AAA", "rule": "price_unit", "offset": len(steady) + 1, "value": 10_000, "expected": 100}
    assert notice.items() >= told.items()
    assert counted("quality_found", **labels) == before + 1
    with Working(settings, run):
        write(settings, heartbeat(120))
        read(settings, "bars", 2)
    assert notices() == [notice]


def test_a_flood_of_symbols_beyond_the_cap_is_set_aside_and_the_known_ones_go_on(settings: Settings) -> None:
    with Working(changed(settings, engine={"symbols_max": 1}), run):
        write(settings, HELLO, trade("AAA", 1, 10, 1))
        write(settings, *(trade(f"FLOOD-{i}", 1, 10, 1) for i in range(5_000)))
        write(settings, trade("AAA", 1.5, 11, 2), heartbeat(60))
        letters = read(settings, "dead-letters", 5_000)
        bars = read(settings, "bars", 2)
    assert {(d["reason"], d["symbol"][:6]) for d in letters} == {("too_many_symbols", "FLOOD-")}
    assert len(letters) == 5_000
    assert "engine.symbols_max" in letters[0]["detail"]
    assert [(b["symbol"], b["timeframe"], b["volume"]) for b in bars] == [("AAA", "1s", 3), ("AAA", "1m", 3)]


def test_a_worker_that_stops_and_one_that_follows_give_the_rows_of_one_that_never_stopped(settings: Settings) -> None:
    with Working(settings, run):
        write(settings, HELLO, trade("AAA", 1, 10, 1), trade("AAA", 2, 11, 1), heartbeat(2.5))
        assert len(read(settings, "bars", 1)) == 1
    write(settings, trade("AAA", 2.7, 12, 4), heartbeat(60))
    with Working(settings, run):
        bars = read(settings, "bars", 3)
    assert [(b["timeframe"], b["close"], b["volume"]) for b in bars] == [("1s", 10, 1), ("1s", 12, 5), ("1m", 12, 6)]
    assert [r["sma_2"] for r in read(settings, "indicators", 3, "1s")] == [None, 11]


def test_a_long_silence_with_a_fault_in_it_doubles_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    offsets: list[int] = []
    commit = TransactionalLog.commit

    def faulty(log: TransactionalLog) -> None:
        if not log.in_transaction:
            return
        if len(offsets) == 2:
            offsets.append(-1)
            log.abort()
            raise AbortedTransaction("the test says so")
        commit(log)
        (place,) = [p for p in log._committed(range(4)) if p.partition == 0]
        offsets.append(place.committed or 0)

    monkeypatch.setattr(TransactionalLog, "commit", faulty)
    monkeypatch.setattr(pace, "_TURN", 0.0)
    hours = 2 * 3_600
    trades = [trade(symbol, 0.5, 10, 1) for symbol in ("AAA", "BBB", "CCC")]
    write(settings, HELLO, *trades, b"not json", heartbeat(hours), trade("AAA", hours + 0.5, 11, 1))
    with Working(changed(settings, engine={"fill": "previous", "timeframes": ("1s",)}), run):
        bars, values = read(settings, "bars", 3 * hours), read(settings, "indicators", 3 * hours)
        letters = read(settings, "dead-letters", 1)
    assert -1 in offsets
    assert offsets.count(5) > 2, "the heartbeat's bars came in one commit"
    for found in (bars, values):
        places = [(row["symbol"], (row["open_time_ns"] - at(0)) // 10**9) for row in found]
        assert sorted(places) == [(symbol, second) for symbol in ("AAA", "BBB", "CCC") for second in range(hours)]
    assert [r["sma_2"] for r in values if r["symbol"] == "BBB"] == [None] + [10] * (hours - 1)
    assert [letter["offset"] for letter in letters] == [4]


def test_the_pipelines_clock_closes_bars_of_a_dead_source(settings: Settings) -> None:
    record = {**trade("AAA", 0, 10, 1), "event_time_ns": time.time_ns()}
    with Working(changed(settings, engine={"source_timeout_s": 1.0}), run):
        write(settings, {**HELLO, "mode": "live"}, record)
        (bar,) = read(settings, "bars", 1, "1s")
    assert (bar["close"], bar["trade_count"]) == (10, 1)


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
