"""The sink's loop, with a topic in memory and a store that may be away; the real ones are in tests/integration."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline import sink as sink_process
from marketpulse.app.pipeline.sink import _Storing
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import Settings
from marketpulse.sinks.commits import read_states
from marketpulse.sinks.files import FileSink
from marketpulse.sinks.formats import FORMATS
from marketpulse.sinks.storage import LocalStorage
from marketpulse.telemetry import Health
from refused import assert_raises
from waiting import wait_until

Positions = Callable[[], Mapping[tuple[str, int], int]]


class Topic:
    """One partition of `market`: a trade at every offset. `faults` are raised by the next polls."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.faults: list[Exception] = []
        self.opened = self.closed = 0
        self.committed: list[int] = []
        self.at_commit: Callable[[int], None] = lambda _: None

    def batches(self, first: int, end: int) -> list[SinkBatch]:
        rows = [{"symbol": "A", "event_time_ns": 10**18 + n, "offset": n, "partition": 0} for n in range(first, end)]
        schemas = {table: schema for table, (topic, schema) in TABLES.items() if topic == "market"}
        made = {t: pa.RecordBatch.from_pylist(rows if t == "trades" else [], schemas[t]) for t in schemas}
        return [SinkBatch(table, "market", 0, first, end, batch) for table, batch in made.items()]

    def reader(self, _settings: Settings, tables: Sequence[str], _group: str, start: Positions) -> "TopicReader":
        assert list(tables) == list(TABLES)
        self.opened += 1
        return TopicReader(self, start)


class TopicReader:
    """As kafka.consumer.TableReader does: positions come from `start`, stretches follow without a gap."""

    has_joined = True

    def __init__(self, topic: Topic, start: Positions) -> None:
        self._topic, self._start = topic, start
        self._next: int | None = None
        self._flush: Callable[[], None] = lambda: None

    def on_revoke(self, callback: Callable[[], None]) -> None:
        self._flush = callback

    def poll(self, _timeout_s: float) -> list[SinkBatch]:
        if self._topic.faults:
            raise self._topic.faults.pop(0)
        if self._next is None:
            self._next = self._start().get(("market", 0), 0)
        first, end = self._next, min(self._next + 10, self._topic.end)
        if first == end:
            time.sleep(0.01)
            return []
        self._next = end
        return self._topic.batches(first, end)

    def commit(self) -> None:
        assert self._next is not None
        self._topic.at_commit(self._next)
        self._topic.committed.append(self._next)

    def lag(self) -> int:
        return self._topic.end - (self._next or 0)

    def close(self) -> None:
        self._topic.closed += 1
        self._flush()


class Running:
    """`run` in a thread, on a topic in memory and a real directory."""

    def __init__(self, topic: Topic, directory: Path, patch: pytest.MonkeyPatch, flush_s: float = 0.02) -> None:
        self.topic, self.storage = topic, LocalStorage(directory / "lake")
        settings = Settings(data_dir=directory, sinks={"lake": {"flush_s": flush_s}})
        sink = self.sink = FileSink("lake", self.storage, FORMATS["json-lines"], ManualClock())
        patch.setattr(sink_process, "TableReader", topic.reader)
        patch.setattr(sink_process, "open_sink", lambda *_: sink)
        self.life = Lifecycle("sink-lake", threading.Event(), Health(), directory / "run" / "sink.json", 0)
        self.result: Future[int] = ThreadPoolExecutor(1).submit(sink_process.run, settings, self.life, "lake")

    def position(self) -> int:
        state = read_states(self.storage).get(("market", 0))
        return min(state.next_offsets.values()) if state and state.next_offsets else 0

    def wait_for(self, reached: Callable[[], bool]) -> None:
        def reached_alive() -> bool:
            assert not self.result.done(), self.result.result()
            return reached()

        wait_until(reached_alive, "the sink's position")

    def stop(self) -> list[int]:
        """The offsets that are stored in the end."""
        self.life.stop.set()
        assert self.result.result(120) == 0
        files = [gzip.decompress((self.storage.root / path).read_bytes()) for path in self.storage.find()]
        return sorted(json.loads(line)["offset"] for file in files for line in file.splitlines())


@pytest.fixture
def topic() -> Topic:
    return Topic(end=100)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sink_process, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(sink_process, "_LONGEST_WAIT_S", 0.05)
    return monkeypatch


Starts = Callable[..., Running]


@pytest.fixture
def start(topic: Topic, tmp_path: Path, quick: pytest.MonkeyPatch) -> Starts:
    return lambda **more: Running(topic, tmp_path, quick, **more)


def test_offsets_are_committed_only_after_their_rows_are_stored(topic: Topic, start: Starts) -> None:
    stored: list[tuple[int, int]] = []
    running = start()
    topic.at_commit = lambda offset: stored.append((running.position(), offset))
    running.wait_for(lambda: running.position() == 100)
    assert str(running.storage.root) in running.life.run_file.read_text(), "it says where it stores"
    assert running.stop() == list(range(100))
    assert all(position >= offset for position, offset in stored)
    assert topic.committed[-1] == 100


def test_what_stands_in_the_topic_is_stored_when_it_is_asked_to_stop(topic: Topic, start: Starts) -> None:
    running = start(flush_s=1_000)
    running.wait_for(running.life.run_file.exists)
    assert running.position() == 0
    topic.end = 500
    assert running.stop() == list(range(500))


def test_a_topic_that_never_ends_holds_up_no_stop(topic: Topic, start: Starts, quick: pytest.MonkeyPatch) -> None:
    quick.setattr(sink_process, "_DRAIN_S", 0.2)
    topic.end = 10**9
    running = start(flush_s=1_000)
    running.wait_for(running.life.run_file.exists)
    assert running.stop() == list(range(running.position()))
    assert running.position() > 0


def test_no_flood_is_held_beyond_the_bound(topic: Topic, start: Starts, quick: pytest.MonkeyPatch) -> None:
    quick.setattr(sink_process, "_HELD_BYTES_MAX", 20_000)
    held: list[int] = []
    topic.end = 3_000
    running = start(flush_s=1_000)
    put = running.storage.put

    def slow(files: Mapping[str, bytes], owner: str) -> None:
        held.append(running.sink.waiting_bytes)
        time.sleep(0.01)
        put(files, owner)

    quick.setattr(running.storage, "put", slow)
    running.wait_for(lambda: running.position() > 2_000)
    one_poll = sum(batch.rows.nbytes for batch in topic.batches(0, 10))
    assert running.stop() == list(range(3_000))
    assert 0 < max(held) <= 20_000 + one_poll


def test_a_broker_that_is_away_is_waited_for_and_a_fault_for_a_person_is_the_end(topic: Topic, start: Starts) -> None:
    topic.faults = [Retryable("the broker is away")] * 3
    running = start()
    running.wait_for(lambda: running.position() == 100)
    assert running.life.health.ready()[0]
    assert running.stop() == list(range(100))
    assert topic.opened == topic.closed == 4
    topic.faults = [Fatal("the topic was made anew")]
    assert_raises(Fatal, "made anew", start().result.result, 120)
    assert topic.closed == 5


@pytest.mark.parametrize(("patience_s", "times", "opened"), [
    pytest.param(600.0, 4, range(1, 2), id="for a moment costs no new reader"),
    pytest.param(0.05, 30, range(2, 99), id="for longer is read for again"),
])  # fmt: skip
def test_a_store_that_is_away(
    patience_s: float, times: int, opened: range, topic: Topic, start: Starts, quick: pytest.MonkeyPatch
) -> None:
    quick.setattr(sink_process, "_PATIENCE_S", patience_s)
    running = start()
    running.wait_for(lambda: running.position() > 0)
    put, left = running.storage.put, [times]

    def fail_then_put(files: Mapping[str, bytes], owner: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise Retryable("the store is away")
        put(files, owner)

    quick.setattr(running.storage, "put", fail_then_put)
    topic.end = 200
    running.wait_for(lambda: running.position() == 200)
    assert running.stop() == list(range(200))
    assert topic.opened in opened


@pytest.mark.parametrize("fault", [None, Fatal("the store refuses")])
def test_offsets_are_committed_behind_the_rows_and_not_without_them(tmp_path: Path, fault: Fatal | None) -> None:
    done: list[str] = []

    def flush() -> None:
        done.append("rows")
        if fault is not None:
            raise fault

    reader: Any = SimpleNamespace(poll=lambda _: [], commit=lambda: done.append("offsets"))
    sink: Any = SimpleNamespace(flush=flush, name="any", waiting_rows=1)
    life = Lifecycle("sink", threading.Event(), Health(), tmp_path / "sink.json", metrics_port=0)
    storing = _Storing(reader, sink, life, cast(Any, None))
    if fault is None:
        storing.finish()
        assert done == ["rows", "offsets"]
    else:
        assert_raises(Fatal, "the store refuses", storing.finish)
        assert done == ["rows"]
