"""What only sinks that keep files promise: their names, their merging, and every step that a kill can fall between.

Run as a program, this file is the process that gets killed before its n-th call that changes a disk (storing_child.py).
"""

import errno
import itertools
import json
import math
import os
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from log_of_rows import HOUR_NS, START_NS, TOPICS, batch, expected, indicators, rows_of_file, stretch
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model import commit_log
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.sinks import commits, compaction
from marketpulse.sinks.commits import read_states
from marketpulse.sinks.files import FileSink
from marketpulse.sinks.filing import BY_DATE_ALONE, Layout
from marketpulse.sinks.formats import FORMATS
from marketpulse.sinks.storage import Storage, open_storage
from refused import assert_raises
from storing_child import STRIDE, KilledChildren, kill_at_call, moments, serve_orders, store, write

NOW_NS = 1_715_000_000 * 10**9
KINDS: dict[str, tuple[str, Layout]] = {
    "lines by date": ("json-lines", "date"), "lines by symbol": ("json-lines", "symbol/date"),
    "parquet by date": ("parquet", "date"), "parquet by symbol": ("parquet", "symbol/date"),
}  # fmt: skip
"""Format and layout."""


@dataclass(frozen=True)
class Place:
    """A sink's kind and where it stores; reads it as any tool would: all files, no commit log."""

    kind: str
    url: str

    def open(self, storage: Storage | None = None, clock: ManualClock | None = None) -> FileSink:
        form, layout = KINDS[self.kind]
        storage = storage or open_storage(self.url)
        return FileSink("archive", storage, FORMATS[form], clock or ManualClock(NOW_NS), layout=layout)

    def files(self) -> list[str]:
        return sorted(open_storage(self.url).find())

    def rows(self, table: str, files: Iterable[str] | None = None) -> list[str]:
        storage = open_storage(self.url)
        chosen = [f for f in (self.files() if files is None else files) if f.startswith(f"table={table}/")]
        found = [row for path in chosen for row in rows_of_file(path, storage.read(path))]
        return sorted(json.dumps(row, sort_keys=True) for row in found)

    @property
    def suffix(self) -> str:
        return FORMATS[KINDS[self.kind][0]].suffix

    def directory(self, table: str, symbol: str | None) -> str:
        by_symbol = KINDS[self.kind][1] == "symbol/date" and table not in BY_DATE_ALONE
        return f"table={table}/symbol={symbol}" if by_symbol else f"table={table}"

    def committed_rows(self, table: str) -> list[str]:
        states = read_states(open_storage(self.url)).values()
        return self.rows(table, [path for state in states for path in state.files])


@pytest.fixture(params=["lines by date", "parquet by symbol", "parquet by date in a store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param.endswith("in a store"):
        there = Place("parquet by date", f"memory:/{tmp_path}")
        yield there
        left = fsspec.filesystem("memory").find(str(tmp_path))
        open_storage(there.url).delete(path.removeprefix(f"{tmp_path}/") for path in left)
    else:
        yield Place(request.param, str(tmp_path / "store"))


@pytest.fixture(params=["lines by symbol", "parquet by date"])
def local_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, str(tmp_path / "store"))


MARKET = TOPICS["market"]


def assert_stored(
    place: Place, end: int, partitions: Iterable[int] = (0, 1), tables: Iterable[str] = (*MARKET, "bars")
) -> None:
    for table in tables:
        assert place.rows(table) == place.committed_rows(table) == expected(table, partitions, end), table


def test_rows_that_overlap_what_is_stored_are_cut_at_their_offset_or_asked_for_again(place: Place) -> None:
    store(place.open(), end=20, cut=20, partitions=[0])
    sink = place.open()
    write(sink, stretch("market", 0, 5, 33))
    sink.flush()
    assert_stored(place, 33, [0], MARKET)
    sink.resume()
    with pytest.raises(Retryable, match="stored is up to 20"):  # a bar says no offset of its own
        sink.write(batch("bars", 0, 10, 30))
    store(sink, end=33, cut=33, partitions=[0])
    assert_stored(place, 33, [0])


def test_batches_without_rows_move_the_position_and_a_dead_letter_is_filed_under_its_day(place: Place) -> None:
    rows = pa.RecordBatch.from_pylist([{"reason": "not_json"}], schema=TABLES["dead_letters"][1])
    clock = ManualClock(NOW_NS)
    sink = place.open(clock=clock)

    def without_rows(first: int, end: int) -> dict[tuple[str, int], int]:
        """What another process would go on from, once nothing has come between these offsets."""
        for one in stretch("market", 3, first, end):
            sink.write(SinkBatch(one.table, one.topic, 3, first, end, one.rows.slice(0, 0)))
        sink.flush()
        return place.open().resume()

    assert without_rows(0, 20) == {("market", 3): 20}
    assert place.files() == []
    assert without_rows(20, 30) == without_rows(30, 40) == {("market", 3): 20}, "a position alone waits for ten minutes"
    write(sink, stretch("market", 3, 40, 45))
    sink.flush()
    assert place.open().resume() == {("market", 3): 45}
    assert len(place.rows("trades")) == 2
    clock.sleep(600)
    assert without_rows(45, 50) == {("market", 3): 50}
    open_storage(place.url).delete(place.files())
    sink.write(SinkBatch("dead_letters", "dead-letters", 7, 5, 6, rows))
    sink.flush()
    day = datetime.fromtimestamp(NOW_NS / 1e9, UTC).date()
    assert place.files() == [f"table=dead_letters/date={day}/dead-letters-07-000000000005-000000000006{place.suffix}"]


def test_a_file_name_follows_from_topic_partition_and_offsets(place: Place) -> None:
    sink = place.open()
    write(sink, stretch("market", 3, 0, 8))
    sink.flush()
    name = f"date=2024-05-01/market-03-000000000000-000000000008{place.suffix}"
    every = ((one.table, row["symbol"]) for one in stretch("market", 3, 0, 8) for row in one.rows.to_pylist())
    assert place.files() == sorted({f"{place.directory(*each)}/{name}" for each in every})


def test_a_flush_between_two_tables_of_a_stretch_loses_neither_and_rows_behind_a_gap_are_refused(place: Place) -> None:
    trades, quotes, events = stretch("market", 0, 0, 20)
    sink = place.open()
    sink.write(trades)
    sink.flush()
    assert place.open().resume() == {}  # quotes and events of these offsets are not stored yet
    again = place.open()
    again.resume()
    write(again, (trades, quotes, events))
    again.flush()
    assert_stored(place, 20, [0], MARKET)
    assert again.resume() == {("market", 0): 20}
    write(again, stretch("bars", 0, 0, 20) + stretch("market", 0, 20, 25))
    again.flush()
    write(again, stretch("market", 0, 25, 30))
    for table, early in (("bars", 21), ("bars", 26), ("bars", 99), ("trades", 31)):
        assert_raises(Retryable, "rows before it are not stored", again.write, batch(table, 0, early, 120))


def test_a_flush_with_nothing_new_writes_nothing_and_an_emptied_store_is_filled_again(local_place: Place) -> None:
    sink = local_place.open()
    store(sink, end=10, cut=10)
    before = sorted(Path(local_place.url).rglob("*"))
    sink.flush()
    write(sink, stretch("market", 0, 0, 10))
    sink.flush()
    assert sorted(Path(local_place.url).rglob("*")) == before

    subprocess.run(["rm", "-r", local_place.url], check=True)
    write(sink, stretch("market", 0, 10, 20))
    for told in ("", "lost rows"):
        assert_raises(Retryable, told, sink.flush)
    assert_raises(Retryable, "rows before it are not stored", sink.write, batch("trades", 0, 20, 30))
    store(sink, end=20, cut=20)
    assert_stored(local_place, 20)


def test_small_files_are_merged_and_every_row_stays(place: Place) -> None:
    sink = place.open()
    sink.resume()
    for first in range(100):
        write(sink, stretch("market", 0, first, first + 1))
        sink.flush()
    assert_stored(place, 100, [0], MARKET)
    # 40 trades lie on 13 days, so there are at most 4 a day: nothing to merge. The same in one day:
    same_day = place.open()
    for n in range(100, 200):
        row = {"symbol": "A", "event_time_ns": START_NS + n, "offset": n, "partition": 0}
        rows = pa.RecordBatch.from_pylist([row], schema=TABLES["trades"][1])
        same_day.write(SinkBatch("trades", "market", 0, n, n + 1, rows))
        same_day.flush()
    merged = [f for f in place.files() if f.startswith(f"{place.directory('trades', 'A')}/date=2024-05-01/")]
    assert merged
    assert len(merged) <= compaction.FILES_MAX
    assert len(place.rows("trades")) == 40 + 100


def daily(symbol: str, first: int, end: int, days: int = 1) -> SinkBatch:
    """A bar a day from START_NS on, or back where `days` is -1; its close tells which."""
    head, day_ns = {"symbol": symbol, "timeframe": "1d"}, days * 24 * HOUR_NS
    rows = [{**head, "open_time_ns": START_NS + n * day_ns, "close": float(n)} for n in range(first, end)]
    return SinkBatch("bars", "bars", 0, first, end, pa.RecordBatch.from_pylist(rows, schema=TABLES["bars"][1]))


def test_daily_history_lies_in_files_of_a_year_at_once_or_bit_by_bit_with_every_row(place: Place) -> None:
    years, bits = Place(place.kind, f"{place.url}/at once"), Place(place.kind, f"{place.url}/bit by bit")
    sink = years.open()
    sink.write(daily("SPX", 0, 30 * 365, days=-1))
    sink.flush()
    assert sorted(json.loads(row)["close"] for row in years.rows("bars")) == [float(n) for n in range(30 * 365)]
    assert len(years.files()) < 40  # a year each, and the last days, which are not settled, on their own
    for path in years.files():
        assert "-year" in path or path.split("/")[-2] >= "date=2024-04-28"
    sink = bits.open()
    sink.resume()
    for n in range(200):
        sink.write(daily("A", n, n + 1))
        sink.flush()
    assert sorted(json.loads(row)["close"] for row in bits.rows("bars")) == [float(n) for n in range(200)]
    assert bits.rows("bars") == bits.committed_rows("bars")
    assert len(bits.files()) < 60


@pytest.mark.parametrize("count", [3, 20])  # 20: merged with each other
def test_a_new_indicator_is_a_new_column_and_old_rows_stay(place: Place, count: int) -> None:
    sink = place.open()
    sink.write(indicators(0, {"sma_20": 0.1}))
    sink.write(indicators(1, {"sma_20": 1.1, "ema_12": 1.1}))  # within one flush
    sink.flush()
    for n in range(2, count):
        sink.write(indicators(n, {"ema_12": 0.1 + n, f"rsi_{n}": 0.1 + n}))
        sink.flush()
    rows = [json.loads(row) for row in place.rows("indicators")]
    found = Counter(key for row in rows for key, value in row.items() if key[:3] in ("sma", "ema", "rsi") and value)
    assert found == {"sma_20": 2, "ema_12": count - 1, **{f"rsi_{n}": 1 for n in range(2, count)}}
    assert all(row["receipt"]["topic"] == "market" for row in rows)


def test_two_processes_store_their_partitions_side_by_side_and_one_that_was_replaced_nothing_more(place: Place) -> None:
    first, second = place.open(), place.open()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda sink, p: store(sink, end=60, cut=5, partitions=[p]), (first, second), (0, 1)))
    assert_stored(place, 60)
    second.resume()
    for sink in (first, second):
        write(sink, stretch("market", 0, 60, 70))
    second.flush()
    assert_raises(Retryable, "took market-00 over", first.flush)
    first.flush()  # claims anew, and finds all of it stored
    for table in MARKET:
        wanted = sorted(expected(table, [0], 70) + expected(table, [1], 60))
        assert place.rows(table) == place.committed_rows(table) == wanted


def test_an_owner_that_froze_between_its_files_and_its_commit_changes_nothing(place: Place) -> None:
    def freeze(action: str, path: str) -> None:
        if action == "create" and path.endswith("000000000001.json") and "market" in path:
            store(place.open(), end=25, cut=25, partitions=[0])  # meanwhile another takes over

    frozen = place.open(Watched(open_storage(place.url), freeze))
    write(frozen, stretch("market", 0, 0, 20))
    assert_raises(Retryable, "took market-00 over", frozen.flush)
    store(place.open(), end=30, cut=30, partitions=[0])
    assert_stored(place, 30, [0])


class Watched:
    """A store that tells `watch` what it is about to do."""

    def __init__(self, storage: Storage, watch: Callable[[str, str], None]) -> None:
        self._storage, self._watch = storage, watch
        self.where, self.read, self.names, self.find = storage.where, storage.read, storage.names, storage.find
        self.clear_interrupted = storage.clear_interrupted

    def put(self, files: Mapping[str, bytes], owner: str) -> None:
        for path, data in files.items():
            self._watch("put", path)
            self._storage.put({path: data}, owner)

    def create(self, path: str, data: bytes, owner: str) -> bool:
        self._watch("create", path)
        return self._storage.create(path, data, owner)

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._watch("delete", path)
            self._storage.delete([path])


class StoppedHereError(BaseException):
    """The process ends here: nothing of it goes on, nothing is caught."""


def raising(error: BaseException, first: int, last: float = math.inf) -> Callable[[str, str], None]:
    """Raises this instead of these steps, counted from 1."""
    steps = itertools.count(1)  # safe among threads

    def watch(action: str, path: str) -> None:
        if first <= next(steps) <= last:
            raise error

    return watch


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge and restate so often that a short run does both."""
    _make_busy(monkeypatch.setattr)


def _make_busy(setattr_: Callable[[Any, str, Any], None]) -> None:
    setattr_(compaction, "FILES_MAX", 2)
    setattr_(commit_log, "COMPLETE_EVERY", 3)
    setattr_(commits, "COMPLETE_EVERY", 3)


@pytest.mark.usefixtures("busy")
def test_a_process_that_ends_at_any_step_loses_and_doubles_nothing(place: Place, tmp_path: Path) -> None:
    for step in moments(first=sorted(KINDS).index(place.kind)):
        here = Place(place.kind, f"{place.url}/{step}")
        dying = Watched(open_storage(here.url), raising(StoppedHereError(), step))
        try:
            store(here.open(dying), end=16, cut=4, partitions=[0])
        except StoppedHereError:
            for seen in map(here.committed_rows, TABLES):
                assert len(seen) == len(set(seen))  # a reader of commits sees each row once, at every moment
            store(here.open(), end=19, cut=5, partitions=[0])
            assert_stored(here, 19, [0])
            continue
        break
    assert 30 < step < 900


@pytest.mark.usefixtures("busy")
def test_a_store_that_fails_at_any_step_is_tried_again_until_it_answers(place: Place) -> None:
    for step in range(1, 60, 4):
        here = Place(place.kind, f"{place.url}/{step}")
        sink = here.open(Watched(open_storage(here.url), raising(Retryable("the store is away"), step, step)))
        for first in range(0, 16, 4):
            for topic in TOPICS:
                write(sink, stretch(topic, 0, first, first + 4))
            try:
                sink.flush()
            except Retryable:
                sink.flush()  # the rows were kept
        assert_stored(here, 16, [0])


def test_a_full_disk_is_said_and_nothing_is_lost(local_place: Place) -> None:
    def full(action: str, path: str) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        try:
            open_storage(local_place.url).put({"table=x/too-large": bytes(1_000)}, "x-00")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        sink = local_place.open(Watched(open_storage(local_place.url), full))
        sink.resume()
        write(sink, stretch("market", 0, 0, 20))
        assert_raises(Retryable, r"is full .*free some space", sink.flush)
    finally:
        signal.signal(signal.SIGXFSZ, previous)
    store(local_place.open(), end=20, cut=20)
    assert_stored(local_place, 20)


def test_only_what_a_person_must_mend_is_fatal(local_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = ((errno.EACCES, Fatal), (errno.EROFS, Fatal), (errno.ENOSPC, Retryable), (errno.EIO, Retryable))
    for number, kind in faults:

        def fail(*args: object, number: int = number, **more: object) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            assert_raises(kind, "nothing is lost", store, local_place.open(), end=10, cut=10)
    store(local_place.open(), end=10, cut=10)
    assert_stored(local_place, 10)
    file = Path(local_place.url).with_name("file")
    file.write_text("not a directory")
    with pytest.raises(Fatal, match="give this user access, or set another url"):
        store(Place("parquet by date", str(file / "archive")).open(), end=10, cut=10)


def test_files_that_a_person_removed_do_not_stop_the_others(local_place: Place) -> None:
    sink, few = local_place.open(), compaction.FILES_MAX - 1
    for n in range(2 * few + 2):
        if n == few:
            (Path(local_place.url) / local_place.files()[3]).unlink()
        sink.write(indicators(n, {"sma_20": 0.1 + n}))
        sink.flush()
    assert len(local_place.rows("indicators")) == 2 * compaction.FILES_MAX - 1
    assert local_place.rows("indicators") == local_place.committed_rows("indicators")


@pytest.fixture
def children() -> Iterator[KilledChildren]:
    process = KilledChildren(__file__)
    yield process
    process.close()


@pytest.mark.chaos
@pytest.mark.usefixtures("busy")
def test_kill_9_at_any_change_of_a_disk_loses_and_doubles_none(local_place: Place, children: KilledChildren) -> None:
    kills = 0
    for kill_at in moments(every=4, first=3 * sorted(KINDS).index(local_place.kind)):
        here = Place(local_place.kind, f"{local_place.url}/{kill_at}")
        ended = children.run(kind=here.kind, url=here.url, end=12, cut=4, kill_at=kill_at)
        store(here.open(), end=15, cut=5, partitions=[0])
        assert_stored(here, 15, [0])
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kills += 1
    assert kills * STRIDE > 25


@pytest.mark.chaos
@pytest.mark.usefixtures("busy")
def test_killed_again_and_again_it_gets_there(local_place: Place, children: KilledChildren) -> None:
    where = {"kind": local_place.kind, "url": local_place.url}
    for n in range(1, 20):
        children.run(**where, end=5 * n, cut=1 + n % 4, kill_at=3 + (n * 17) % 60)
    assert children.run(**where, end=100, cut=9, kill_at=0) == 0
    assert_stored(local_place, 100, [0])
    assert [path for path in (Path(local_place.url) / "_tmp").rglob("*") if path.is_file()] == []


def _store_until_killed(order: dict[str, Any]) -> None:
    _make_busy(setattr)
    kill_at_call(order["kill_at"], [(os, name) for name in ("fsync", "link", "replace", "unlink", "mkdir")])
    store(Place(order["kind"], order["url"]).open(), order["end"], order["cut"], partitions=[0])


if __name__ == "__main__":
    batch("trades", 0, 0, 1)  # what Arrow imports at its first row is imported once, not by every child
    serve_orders(_store_until_killed)
