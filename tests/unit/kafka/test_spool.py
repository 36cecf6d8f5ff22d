"""A feed's log takes everything at once, and the log behind it gets everything once and in order, whoever dies when.

Its spool keeps entries in order over restarts and kills, within its bound, and goes when it is empty.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from marketpulse.clock import SystemClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import spooled_log
from marketpulse.kafka.spool import Entry, Spool
from marketpulse.kafka.spooled_log import SpooledLog
from marketpulse.model.market import TRADE
from marketpulse.ports import Hello, Polled
from refused import assert_raises
from waiting import wait_until

ROOM = 1 << 30


def spool_of(tmp_path: Path, bytes_max: int = ROOM) -> Spool:
    return Spool(tmp_path / "s.sqlite", "s", bytes_max)


def entry(number: int, size: int = 10) -> Entry:
    return Entry(number, 2, 1_000 + number, bytes([number % 256]) * size)


def test_entries_come_back_in_order_from_any_number_on_and_another_process_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.sqlite"
    before = Spool(path, "s", ROOM)
    before.append([entry(5), entry(6)], "abc")
    before.append([entry(7)], "abc")
    assert [before.after(number) for number in (0, 6, 7)] == [[entry(5), entry(6), entry(7)], [entry(7)], []]
    assert (before.first, before.last, before.rows, before.bytes, before.oldest_ns) == (5, 7, 6, 30, 1_005)
    before.drop_to(5)
    before.close()
    spool = Spool(path, "s", ROOM)
    assert (spool.owner, spool.after(0)) == ("abc", [entry(6), entry(7)])
    assert (spool.first, spool.last, spool.rows, spool.bytes, spool.oldest_ns) == (6, 7, 4, 20, 1_006)


def test_the_file_goes_with_its_last_entry_and_comes_anew_and_a_chunk_is_about_a_mebibyte(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.drop_to(9)
    spool.append([entry(1), entry(2)], "abc")
    spool.drop_to(2)
    assert (spool.last, spool.rows, spool.bytes, list(tmp_path.iterdir())) == (0, 0, 0, [])
    spool.append([entry(3)], "abc")
    assert spool.after(0) == [entry(3)]
    spool.append([entry(n, 300_000) for n in range(4, 14)], "abc")
    assert [[e.number for e in spool.after(n)] for n in (3, 7)] == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_file_that_is_none_of_ours_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(b"no database at all" * 100)
    assert_raises(Fatal, r"s\.sqlite cannot be read as a spool .*move it away", spool_of, tmp_path)
    (tmp_path / "s.sqlite").unlink()
    with sqlite3.connect(tmp_path / "s.sqlite") as other:
        other.execute("PRAGMA user_version = 99")
    assert_raises(Fatal, "another version", spool_of, tmp_path)


def test_what_does_not_fit_is_refused_whole_and_fits_once_others_are_gone(tmp_path: Path) -> None:
    spool = spool_of(tmp_path, 100)
    spool.append([entry(1, 60)], "abc")
    assert_raises(Retryable, r"s\.sqlite is full .*spool_mb", spool.append, [entry(2, 30), entry(3, 30)], "abc")
    assert (spool.last, spool.rows) == (1, 2)
    spool.append([entry(2, 40)], "abc")
    spool.drop_to(1)
    spool.append([entry(3, 30), entry(4, 30)], "abc")
    assert [e.number for e in spool.after(0)] == [2, 3, 4]


def test_a_full_disk_refuses_and_keeps_what_there_is(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.append([entry(1)], "abc")
    assert spool._file is not None
    pages = spool._file.execute("PRAGMA page_count").fetchone()[0]
    spool._file.execute(f"PRAGMA max_page_count = {pages + 2}")
    assert_raises(Retryable, r"cannot be written .*full.*make space", spool.append, [entry(2, 1_000_000)], "abc")
    assert spool.after(0) == [entry(1)]


KILLED = """
import sys
from pathlib import Path
from marketpulse.kafka.spool import Entry, Spool
spool = Spool(Path(sys.argv[1]), "s", 1 << 30)
for number in range(1, 1_000_000):
    spool.append([Entry(number, 1, number, b"%d" % number)], "abc")
    print(number, flush=True)
"""


def test_what_was_appended_before_a_kill_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "s.sqlite")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = next(number for line in child.stdout if (number := int(line)) >= 200)
    os.kill(child.pid, signal.SIGKILL)
    rest = child.communicate()[0].split()
    said = int(rest[-1]) if rest and rest[-1].isdecimal() else said
    spool = spool_of(tmp_path)
    assert spool.last >= said - 1  # the last line may have been cut
    found: list[Entry] = []
    while chunk := spool.after(found[-1].number if found else 0):
        found += chunk
    assert found == [Entry(n, 1, n, b"%d" % n) for n in range(1, spool.last + 1)]


class Broker:
    """What outlives the processes: committed records in order, and the position. While it is away nobody is answered."""

    def __init__(self) -> None:
        self.rows: list[object] = []
        self.position: str | None = None
        self.away = threading.Event()


class Log:
    """Commits rows and position together, every third call, as KafkaMarketLog does by time."""

    sender = "s-1"

    def __init__(self, broker: Broker) -> None:
        self.broker, self.open, self.calls, self.dead = broker, list[object](), 0, False
        self.moved: str | None = None
        self.known: str | None = None
        self.taken: Polled | None = None

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


def begun(broker: Broker, spool: Spool, said: Callable[[str | None], None] = lambda _: None) -> SpooledLog:
    return SpooledLog(Log(broker), spool, "s", SystemClock(), said)


def opened(broker: Broker, spool: Spool, said: Callable[[str | None], None] = lambda _: None) -> SpooledLog:
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
    return [*map(float, range(1, last + 1))]


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
    assert (broker.rows, left(tmp_path)) == (["hello", *up_to(199), "goodbye"], [])
    for position in ("at 199", '{"BTC-USD":[1,2.5]}'):  # the source's own, from before there were spools
        again = begun(broker, spool_of(tmp_path))
        assert again.last_position() == position
        again.close()
        broker.position = '{"BTC-USD":[1,2.5]}'


def test_what_came_while_it_was_away_follows_in_order_behind_a_clock(tmp_path: Path, broker: Broker) -> None:
    said: list[str | None] = []
    spool = spool_of(tmp_path)
    log = opened(broker, spool, said.append)
    log.write(trade(1))
    wait_until(lambda: prices(broker) == [1.0])
    broker.away.set()
    log.write(trade(2))
    wait_until(lambda: log.write(Polled()) or spool.last)  # type: ignore[func-returns-value]
    for number in range(3, 500):
        log.write(trade(number))
        log.heartbeat("s", number)
    assert (spool.first, spool.last, spool.rows, set(said)) == (2, 499, 498, {"the broker is away"})
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
        assert_raises(Retryable, "", leave)
    second = begun(broker, spool_of(tmp_path))
    assert second.last_position() == "at 49", "without asking the broker"
    write(second, 50, 89)
    broker.away.clear()
    wait_until(lambda: not left(tmp_path))
    second.close()
    assert (prices(broker), left(tmp_path)) == (up_to(89), [])


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
    assert_raises(Retryable, "", log.close)
    other = Broker()
    first = opened(other, Spool(tmp_path / "other.sqlite", "s", 1 << 30))
    first.write(trade(7))
    first.close()
    second = opened(other, spool_of(tmp_path))
    assert_raises(Fatal, r"s\.sqlite is for another log", wait_until, lambda: second.write(Polled()))
    assert prices(other) == [7.0]
    assert left(tmp_path), "it is kept"


def test_what_the_log_raises_for_good_is_raised_to_the_feed(tmp_path: Path, broker: Broker) -> None:
    log = opened(broker, spool_of(tmp_path))
    inner(log).dead = True
    log.write(trade(1))
    assert_raises(Fatal, "took over", wait_until, lambda: log.write(Polled()))
