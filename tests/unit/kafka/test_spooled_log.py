"""A feed's log takes everything at once, and the log behind it gets everything once and in order, whoever dies when."""

import random
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from marketpulse.clock import SystemClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import spooled_log
from marketpulse.kafka.spool import Spool
from marketpulse.kafka.spooled_log import SpooledLog
from marketpulse.model.market import TRADE
from marketpulse.ports import Hello, Polled
from waiting import wait_until


class Broker:
    """What outlives the processes: committed records in order, and the position. While it is away nobody is answered."""

    def __init__(self) -> None:
        self.rows: list[object] = []
        self.position: str | None = None
        self.away = threading.Event()


class Log:
    """Commits rows and position together, every third call, as KafkaMarketLog does by time."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.open: list[object] = []
        self.moved: str | None = None
        self.known: str | None = None
        self.calls = 0
        self.taken: Polled | None = None
        self.dead = False

    def ask(self) -> None:
        if self.dead:
            raise Fatal("another process took over")
        if self.broker.away.is_set():
            raise Retryable("the broker is away")

    def last_position(self) -> str | None:
        self.ask()
        self.known = self.broker.position
        return self.known

    def committed_position(self) -> str | None:
        return self.known

    def clock(self) -> None:
        self.ask()
        self.open.append("clock")

    def write(self, polled: Polled) -> None:
        if polled is not self.taken:
            self.ask()
            self.taken = polled
            if polled.hello:
                self.open.append("hello")
            self.open += [p for batch in polled.batches for p in batch.column("price").to_pylist()]
            if polled.goodbye_watermark_ns is not None:
                self.open.append("goodbye")
            self.moved = polled.position or self.moved
        self.calls += 1
        if self.calls % 3 == 0 or polled.goodbye_watermark_ns is not None:
            self.flush()
        self.taken = None

    def heartbeat(self, source: str, event_time_ns: int) -> None:
        assert source == "s"
        self.ask()
        self.open.append(("beat", event_time_ns))

    def flush(self) -> None:
        self.ask()
        self.broker.rows += self.open
        self.open = []
        self.broker.position = self.known = self.moved

    def close(self) -> None:
        self.flush()


def trade(number: int) -> Polled:
    row = {"type": "trade", "symbol": "A", "source": "s", "event_time_ns": number, "price": float(number)}
    return Polled([pa.RecordBatch.from_pylist([row], schema=TRADE)], position=f"at {number}")


@pytest.fixture(autouse=True)
def a_short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_PATIENCE_S", 0.05), ("_FIRST_WAIT_S", 0.01), ("_LONGEST_WAIT_S", 0.05)):
        monkeypatch.setattr(spooled_log, name, seconds)


@pytest.fixture
def broker() -> Broker:
    return Broker()


def spool_of(tmp_path: Path, bytes_max: int = 1 << 30) -> Spool:
    return Spool(tmp_path / "s.sqlite", "s", bytes_max)


def begun(broker: Broker, spool: Spool, said: list[str | None] | None = None) -> SpooledLog:
    return SpooledLog(Log(broker), spool, "s", SystemClock(), ([] if said is None else said).append)


def opened(broker: Broker, spool: Spool, said: list[str | None] | None = None) -> SpooledLog:
    """One that has asked for its position, as a source does before it begins."""
    log = begun(broker, spool, said)
    log.last_position()
    return log


def inner(log: SpooledLog) -> Log:
    assert isinstance(log._log, Log)
    return log._log


def write(log: SpooledLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        log.write(trade(number))


def up_to(last: int) -> list[object]:
    """The prices of all trades from the first on."""
    return [float(number) for number in range(1, last + 1)]


def prices(broker: Broker) -> list[object]:
    return [row for row in broker.rows if isinstance(row, float)]


def left(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("s.sqlite*"))


def test_while_the_broker_is_there_nothing_touches_the_disk(tmp_path: Path, broker: Broker) -> None:
    log = begun(broker, spool_of(tmp_path))
    assert log.last_position() is None
    log.write(Polled(hello=Hello("s", "live", "r", 1)))
    write(log, 1, 199)
    log.write(Polled(goodbye_watermark_ns=9))
    log.close()
    assert broker.rows == ["hello", *up_to(199), "goodbye"]
    assert left(tmp_path) == []
    again = begun(broker, spool_of(tmp_path))
    assert again.last_position() == "at 199"
    again.close()
    broker.position = '{"BTC-USD":[1,2.5]}'  # from before there were spools: the source's own
    older = begun(broker, spool_of(tmp_path))
    assert older.last_position() == '{"BTC-USD":[1,2.5]}'
    older.close()


def test_what_came_while_it_was_away_follows_in_order_behind_a_clock(tmp_path: Path, broker: Broker) -> None:
    said: list[str | None] = []
    spool = spool_of(tmp_path)
    log = opened(broker, spool, said)
    log.write(trade(1))
    wait_until(lambda: prices(broker) == [1.0])
    broker.away.set()
    log.write(trade(2))
    wait_until(lambda: log.write(Polled()) or spool.last)  # type: ignore[func-returns-value]
    for number in range(3, 500):
        log.write(trade(number))
        log.heartbeat("s", number)
    assert (spool.first, spool.last, spool.rows) == (2, 499, 498)
    assert set(said) == {"the broker is away"}
    broker.away.clear()
    wait_until(lambda: not left(tmp_path))
    assert prices(broker) == up_to(499)
    assert broker.rows.index("clock") < broker.rows.index(3.0)
    assert said[-1] is None
    log.heartbeat("s", 1_000)
    log.write(trade(500))
    log.flush()
    assert broker.rows[-2:] == [("beat", 1_000), 500.0], "it goes on as before, promises too"
    log.close()


def test_a_process_that_ends_while_the_broker_is_away_leaves_all_to_the_next(tmp_path: Path, broker: Broker) -> None:
    log = opened(broker, spool_of(tmp_path))
    broker.away.set()
    write(log, 1, 49)
    for leave in (log.flush, log.close):
        with pytest.raises(Retryable):
            leave()
    second = begun(broker, spool_of(tmp_path))
    assert second.last_position() == "at 49", "without asking the broker"
    write(second, 50, 89)
    broker.away.clear()
    wait_until(lambda: not left(tmp_path))
    second.close()
    assert prices(broker) == up_to(89)
    assert left(tmp_path) == []


@pytest.mark.parametrize("seed", range(8))
def test_whoever_dies_when_every_row_comes_once_and_in_order(tmp_path: Path, broker: Broker, seed: int) -> None:
    """A death: what was in memory is gone, the file and the broker are as they were; the source goes on behind the position."""
    chance = random.Random(seed)
    number, last = 0, 600
    while True:
        spool = spool_of(tmp_path)
        log = begun(broker, spool)
        while True:
            try:
                position = log.last_position()
                break
            except Retryable:
                broker.away.clear()
        number = int(position.split()[1]) if position else 0
        until = min(last, number + chance.randrange(200))
        while number < until:
            number += 1
            log.write(trade(number))
            if chance.random() < 0.02:
                (broker.away.clear if broker.away.is_set() else broker.away.set)()
                time.sleep(chance.choice([0, 0.01, 0.07]))
        if number == last:
            break
        with log._change:  # it dies here
            inner(log).dead = True
            log._closing.set()
            spool.close()
            spool._file, spool.last = None, 0
        assert log._thread is not None
        log._thread.join()
    broker.away.clear()
    wait_until(lambda: log._is_done() and len(prices(broker)) >= last)
    assert prices(broker) == up_to(last)
    log.close()


def test_a_full_spool_refuses_the_newest_and_goes_on_when_there_is_room(tmp_path: Path, broker: Broker) -> None:
    spool = spool_of(tmp_path, 50_000)
    log = opened(broker, spool)
    broker.away.set()
    log.write(trade(1))
    wait_until(lambda: log.write(Polled()) or spool.last)  # type: ignore[func-returns-value]

    def takes(polled: Polled) -> bool:
        try:
            log.write(polled)
        except Retryable as error:
            return "full" not in str(error)
        return True

    number = next(number for number in range(2, 1_000) if not takes(trade(number)))
    refused = trade(number)
    assert not takes(refused)
    broker.away.clear()
    wait_until(lambda: takes(refused))
    wait_until(lambda: not left(tmp_path))
    assert prices(broker) == up_to(number)
    log.close()


def test_rows_of_another_log_are_not_mixed_into_this_one(tmp_path: Path, broker: Broker) -> None:
    log = opened(broker, spool_of(tmp_path))
    log.write(trade(1))
    log.flush()
    broker.away.set()
    log.write(trade(2))
    with pytest.raises(Retryable):
        log.close()
    other = Broker()
    first = opened(other, Spool(tmp_path / "other.sqlite", "s", 1 << 30))
    first.write(trade(7))
    first.close()
    second = opened(other, spool_of(tmp_path))
    with pytest.raises(Fatal, match=r"s\.sqlite is for another log"):
        wait_until(lambda: second.write(Polled()))
    assert prices(other) == [7.0]
    assert left(tmp_path), "it is kept"


def test_what_the_log_raises_for_good_is_raised_to_the_feed(tmp_path: Path, broker: Broker) -> None:
    log = opened(broker, spool_of(tmp_path))
    inner(log).dead = True
    log.write(trade(1))
    with pytest.raises(Fatal, match="took over"):
        wait_until(lambda: log.write(Polled()))
