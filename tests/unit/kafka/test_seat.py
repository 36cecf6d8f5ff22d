"""The hand-over of states, on a log in memory; on the real broker in tests/integration/test_load.py. And their keys."""

from collections.abc import Callable, Sequence

import pytest

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka import seat
from marketpulse.kafka.seat import Seat, StateOf
from marketpulse.kafka.snapshot import Pointer, chunk_of, chunks_of, load_of
from marketpulse.kafka.transaction import BEGINNING, Taken
from marketpulse.settings import Settings

Places = dict[int, tuple[int, Pointer | None]]
Take = Callable[[Sequence[Taken]], dict[int, int]]
Give = Callable[[Sequence[int]], None]
LOAD = "file:t.csv@1.2"


class LogInMemory:
    """What the group gives at each poll, and what was committed: kafka.transaction.TransactionalLog as far as a seat uses it."""

    def __init__(self, comes: list[list[Taken]], goes: list[int] | None = None) -> None:
        self.comes, self.goes = comes, goes or []
        self.starts_at: dict[int, int] = {}
        self.written: list[tuple[int, int, bytes, str | None]] = []
        self.committed: Places | None = None
        self.calls: list[str] = []

    def held(
        self, _settings: Settings, slot: int, take: Take, give: Give, places: Callable[[], Places]
    ) -> "LogInMemory":
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
    Seat(Settings(), LOAD, states).hand_over()


def test_all_states_are_committed_at_once_with_the_offsets_that_they_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory([[Taken(0, None, None)], [Taken(1, 30, Pointer(5, 20)), Taken(2, 8, None)]])
    hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 30, 30)})
    assert log.calls == ["start", "begin", "commit", "close"]
    assert log.written == [(0, 0, b"zero", LOAD), (1, 30, b"one", LOAD)]
    assert log.committed == {0: (0, Pointer(100, 0)), 1: (30, Pointer(101, 30))}
    assert log.starts_at == {0: BEGINNING, 1: 30, 2: 8}


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


def test_a_partition_that_is_lost_before_the_commit_keeps_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory([[Taken(0, None, None), Taken(1, None, None)]])
    log.begin = lambda: log._give([1])  # type: ignore[method-assign]
    hand_over(monkeypatch, log, {0: StateOf(b"zero", 0, None), 1: StateOf(b"one", 0, None)})
    assert (log.committed, log.written) == ({}, [])


@pytest.mark.parametrize("load", [None, "file:a.csv@1.2"])
def test_a_chunk_says_whose_it_is(load: str | None) -> None:
    chunks = chunks_of("g", 3, 7, b"x" * 2_000_000, load)
    assert [load_of(key, "g", 3) for key, _ in chunks] == [load or ""] * 3
    assert {load_of(key, "g", 30) for key, _ in chunks} == {None}
    assert b"".join(chunk_of(value).content for _, value in chunks) == b"x" * 2_000_000


def test_a_later_snapshot_takes_no_place_of_a_loads() -> None:
    """So that those of a load are never compacted away by later ones."""
    later, end = chunks_of("g", 0, 9, b"later"), chunks_of("g", 0, 7, b"end", "file:a@1.2")
    assert {key for key, _ in later}.isdisjoint(key for key, _ in end)
