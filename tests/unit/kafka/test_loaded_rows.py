"""What is loaded: rows of files by the wire's rules, and the hand-over of states, on a log in memory, with their keys.

On the real broker it is in tests/integration/test_load.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import seat
from marketpulse.kafka.codec import to_tables
from marketpulse.kafka.loaded_rows import LoadedRows
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.seat import Seat, StateOf
from marketpulse.kafka.snapshot import Pointer, chunk_of, chunks_of, load_of
from marketpulse.kafka.transaction import BEGINNING, Taken
from marketpulse.settings import Settings

T0 = 1_767_366_000 * 10**9
TOPIC = "file:t.csv@1.2"


def rows_of(kind: str, times: list[int], symbols: list[str], **columns: Any) -> pa.Table:
    head = {"type": kind, "source": "old", "bid": 1.0, "bid_size": 1.0, "ask": 2.0, "ask_size": 1.0, "size": 1.0}
    names = ("type", "source", *(("bid", "bid_size", "ask", "ask_size") if kind == "quote" else ("size",)))
    same = {name: [head[name]] * len(times) for name in names}
    return pa.table(same | {"symbol": symbols, "event_time_ns": [T0 + t for t in times]} | columns)


def trades(times: list[int], symbols: list[str], prices: list[float]) -> pa.Table:
    return rows_of("trade", times, symbols, price=prices, trade_id=[f"id{i}" for i in range(len(times))])


def loaded(partitions: int, *tables: tuple[pa.Table, int], ends: dict[str, int] | None = None) -> Any:
    """What becomes of these tables, each with its first line's number."""
    numbers = [np.arange(first, first + len(table)) for table, first in tables]
    parts = [np.zeros(len(table), np.int32) for table, _ in tables]
    return LoadedRows(TOPIC, partitions).batches([table for table, _ in tables], numbers, parts, ends or {})


def test_each_symbol_goes_to_the_partition_that_the_log_has_for_it() -> None:
    found, letters, cut = loaded(5, (trades(list(range(50)), [f"S{i % 7}" for i in range(50)], [1.0] * 50), 2))
    assert (letters, cut) == ([], 0)
    seen = []
    for partition, batch in found.items():
        rows = to_tables(batch)["trades"]
        names, offsets = [n.encode() for n in rows["symbol"].to_pylist()], rows["offset"].to_pylist()
        assert (set(partitions_of(names, 5).tolist()), offsets) == ({partition}, sorted(offsets))
        assert [f"id{o - 2}" for o in offsets] == rows["trade_id"].to_pylist()
        seen += offsets
    assert sorted(seen) == list(range(2, 52))


def test_kinds_of_one_time_keep_their_rank_bad_rows_are_dead_letters_and_rows_from_a_symbols_end_left_out() -> None:
    quotes = rows_of("quote", [1, 2, 3], ["A"] * 3)
    found, _, _ = loaded(1, (quotes, 2), (trades([1, 2, 2], ["A"] * 3, [1.0] * 3), 20))
    assert found[0].offset.tolist() == [2, 20, 3, 21, 22, 4]
    found, (letter,), _ = loaded(3, (trades([1, 2, 3], ["A"] * 3, [1.0, -1.0, 2.0]), 2))
    assert (letter.reason, letter.offset, letter.topic) == ("bad_price", 3, TOPIC)
    offsets = [(partition, batch.offset.tolist()) for partition, batch in found.items()]
    assert offsets[:1] == [(letter.partition, [2, 4])]
    found, _, cut = loaded(1, (trades([1, 2, 3, 4], ["A", "B"] * 2, [1.0] * 4), 2), ends={"A": T0 + 3})
    assert (cut, found[0].offset.tolist()) == (1, [2, 3, 5])


Places = dict[int, tuple[int, Pointer | None]]
Take = Callable[[Sequence[Taken]], dict[int, int]]
Give = Callable[[Sequence[int]], None]


class LogInMemory:
    """What the group gives at each poll, and what was committed: kafka.transaction.TransactionalLog as far as a seat uses it."""

    def __init__(self, comes: list[list[Taken]], goes: list[int] | None = None) -> None:
        self.comes, self.goes, self.starts_at, self.calls = comes, goes or [], dict[int, int](), list[str]()
        self.written: list[tuple[int, int, bytes, str | None]] = []
        self.committed: Places | None = None

    def held(self, _: Settings, slot: int, take: Take, give: Give, places: Callable[[], Places]) -> "LogInMemory":
        assert slot == 0  # the first worker's, so that it fences him
        self._take, self._give, self._places = take, give, places
        return self

    def start(self) -> None:
        self.calls.append("start")

    def poll(self, _wait_s: float, _records: int) -> None:
        if self.comes:
            self.starts_at |= self._take(self.comes.pop(0))
        elif self.goes:
            self._give(self.goes)
            self.goes = []

    def begin(self) -> None:
        self.calls.append("begin")

    def write_snapshot(self, partition: int, covered: int, data: bytes, load: str | None) -> Pointer:
        self.written.append((partition, covered, data, load))
        return Pointer(100 + partition, covered)

    def commit(self) -> None:
        self.calls.append("commit")
        self.committed = self._places()

    def close(self) -> None:
        self.calls.append("close")


def hand_over(monkeypatch: pytest.MonkeyPatch, log: LogInMemory, states: dict[int, StateOf]) -> None:
    monkeypatch.setattr(seat, "TransactionalLog", log.held)
    monkeypatch.setattr(seat, "_CALL_S", 0.05)
    Seat(Settings(), TOPIC, states).hand_over()


def test_all_states_are_committed_at_once_and_a_lost_partition_keeps_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory([[Taken(0, None, None)], [Taken(1, 30, Pointer(5, 20)), Taken(2, 8, None)]])
    hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 30, 30)})
    assert log.calls == ["start", "begin", "commit", "close"]
    assert log.written == [(0, 0, b"zero", TOPIC), (1, 30, b"one", TOPIC)]
    assert log.committed == {0: (0, Pointer(100, 0)), 1: (30, Pointer(101, 30))}
    assert log.starts_at == {0: BEGINNING, 1: 30, 2: 8}
    log = LogInMemory([[Taken(0, None, None), Taken(1, None, None)]])
    log.begin = lambda: log._give([1])  # type: ignore[method-assign]
    hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 0, None)})
    assert (log.committed, log.written) == ({}, [])


@pytest.mark.parametrize("committed", [None, 29, 31])
def test_nothing_is_committed_where_the_engine_went_on(monkeypatch: pytest.MonkeyPatch, committed: int | None) -> None:
    log = LogInMemory([[Taken(0, committed, None)]])
    with pytest.raises(Fatal, match=r"partition 0 .*not stored twice"):
        hand_over(monkeypatch, log, {0: StateOf(b"zero", 30, 30)})
    assert (log.calls, log.written) == (["start", "close"], [])


@pytest.mark.parametrize("goes", [[], [0]], ids=["never came", "went again"])
def test_partitions_that_do_not_stay_are_waited_for(monkeypatch: pytest.MonkeyPatch, goes: list[int]) -> None:
    log = LogInMemory([[Taken(0, None, None)]] if goes else [], goes)
    with pytest.raises(Retryable, match="load again"):
        hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 0, None)})
    assert (log.calls, log.written) == (["start", "close"], [])


@pytest.mark.parametrize("load", [None, "file:a.csv@1.2"])
def test_a_chunk_says_whose_it_is(load: str | None) -> None:
    chunks = chunks_of("g", 3, 7, b"x" * 2_000_000, load)
    assert [load_of(key, "g", 3) for key, _ in chunks] == [load or ""] * 3
    assert {load_of(key, "g", 30) for key, _ in chunks} == {None}
    assert b"".join(chunk_of(value).content for _, value in chunks) == b"x" * 2_000_000


def test_a_later_snapshot_takes_no_place_of_a_loads_and_never_compacts_it_away() -> None:
    later, end = chunks_of("g", 0, 9, b"later"), chunks_of("g", 0, 7, b"end", "file:a@1.2")
    assert {key for key, _ in later}.isdisjoint(key for key, _ in end)
