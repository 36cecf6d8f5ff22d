"""`load` without a broker: what it stores, says and refuses, its parts, and where a pipeline stands before it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from market_rows import Row, at, batch_of, config_of, hello, trade
from marketpulse.app.cli.load import lines
from marketpulse.app.loading import base as looked
from marketpulse.app.loading import storing
from marketpulse.app.loading.base import Base, base_of
from marketpulse.app.loading.engine import Given, PartitionLoad, empty_rows
from marketpulse.app.loading.identity import WHOLE, Identity, check_settings, identify
from marketpulse.app.loading.load import Request, Summary, load
from marketpulse.app.loading.storing import Storing
from marketpulse.app.loading.stretch import Load, stretch_of
from marketpulse.engine.checkpoint import state_to_bytes
from marketpulse.engine.state import PartitionState, kept_trades, new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.log_reader import Span
from marketpulse.kafka.market_reader import Decoded
from marketpulse.kafka.records import records_of
from marketpulse.kafka.snapshot import Pointer, SnapshotGone
from marketpulse.model.market import LOADED, Kind, MarketBatch, StringTable
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Mapping, Settings
from marketpulse.sources.history import NUMBER, PART
from refused import assert_raises

pytestmark = pytest.mark.usefixtures("kernels")

T0 = 1_767_366_000


def settings(home: Path) -> Settings:
    return Settings(data_dir=home, engine={"timeframes": ["1m", "1h"], "indicators": "sma(2)"})


def trades(path: Path, count: int = 300, more: str = "") -> Path:
    rows = "".join(f"{T0 + n},{'AB'[n % 2]},{10 + n % 7},{n % 5},x{n}\n" for n in range(count))
    path.write_text("time,symbol,price,size,trade_id\n" + rows + more)
    return path


def asked(home: Path, sql: str) -> list[dict[str, object]]:
    with contextlib.closing(LakeQuery(settings(home))) as query:
        return list(query.run(sql).to_pylist())


def loaded(home: Path, path: Path, mapping: Mapping | None = None, **more: Any) -> Summary:
    return load(settings(home), Request([str(path)], mapping or Mapping(), lake_only=True, **more))


def test_a_file_is_loaded_once_goes_on_when_it_grew_and_is_refused_when_read_in_another_way(tmp_path: Path) -> None:
    home, path = tmp_path / "d", trades(tmp_path / "t.csv")
    first = loaded(home, path)
    assert (first.outcome, first.rows, first.symbols, first.stored["trades"]) == ("loaded", 300, 2, 300)
    second = loaded(home, path)
    assert second.outcome == "nothing"
    assert lines(second) == [f"{first.topic} is in the lake already, whole: nothing was changed."]
    assert asked(home, "SELECT count(*) AS n FROM trades") == [{"n": 300}]
    assert not (home / "load").exists()
    assert_raises(Fatal, "other settings", loaded, home, path, Mapping(venue="XNYS"))
    grown = loaded(home, trades(path, 301))
    assert (grown.stored["trades"], grown.again) == (1, 300)
    assert any("Left out 300 rows" in line for line in lines(grown))
    again = loaded(home, trades(tmp_path / "again.csv", 300))
    assert (again.topic.startswith("file:again.csv@"), sum(again.stored.values()), again.again) == (True, 0, 300)


def test_the_last_bars_stay_open_unless_complete_and_broken_rows_are_dead_letters_or_stop(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv")
    open_ended, complete = loaded(tmp_path / "a", path), loaded(tmp_path / "b", path, complete=True)
    assert (open_ended.forming, complete.forming) == (4, 0)  # two symbols, two timeframes
    assert complete.stored["bars"] == open_ended.stored["bars"] + 4
    assert any("4 bars are open" in line for line in lines(open_ended))
    path = trades(tmp_path / "t.csv", more=f"{T0},A,cheap,1,y\n{T0},A,1e19,1,z\n")
    assert_raises(Fatal, "--strict", loaded, tmp_path / "s", path, strict=True)
    found = loaded(tmp_path / "d", path)
    assert found.refused == {"wrong_type": 1, "bad_price": 1}
    letters = asked(tmp_path / "d", 'SELECT topic, "offset", reason, value FROM dead_letters ORDER BY "offset"')
    told = [(r["topic"], r["offset"], r["reason"]) for r in letters]
    assert told == [(found.topic, 302, "wrong_type"), (found.topic, 303, "bad_price")]
    assert any("1 wrong_type" in line for line in lines(found))


def test_what_was_done_is_told_and_the_same_file_read_in_the_same_way_is_the_same_load(tmp_path: Path) -> None:
    found = Summary("file:a@1.2", rows=10, symbols=1, cut=3, duplicates=2, restored=4, handed_over=True, forming=1)
    text = "\n".join(lines(found))
    for words in ("Left out 3", "Dropped 2", "had stored 4 of", "The pipeline goes on", "1 bars are open"):
        assert words in text
    path, other = tmp_path / "trades 2023-01.csv", tmp_path / "b.csv"
    for file in (path, other):
        file.write_text("a")
    one = identify([path], ["x"])
    assert one == identify([path], ["x"])
    assert one.topic.startswith("file:trades_2023-01.csv@")
    assert identify([path], ["y"]).settings != one.settings
    assert identify([path], ["x"], "mine").name == "file:mine"
    assert identify([path, other], ["x"]).name == "file:trades_2023-01.csv+1"


def test_the_same_contents_read_in_another_way_are_refused() -> None:
    one = Identity("file:a.csv", "c1", "s1")
    other = {(Identity("file:b.csv", "c1", "s2").topic, 0): WHOLE, ("market", 0): 7}
    assert_raises(Fatal, "other settings", check_settings, one, other)
    check_settings(one, {("market", 3): 5, ("file:b.csv@c1.s1", 0): WHOLE, ("file:a.csv@c2.s2/1", 0): 40})


class Recording:
    """A sink that notes its calls; `faults` are raised by the flushes, one after the other."""

    name, where = "lake", "nowhere"
    tables: Sequence[str] = ("trades",)
    waiting_bytes = 0
    todo = ("", "")

    def __init__(self, *faults: Exception) -> None:
        self.calls: list[str] = []
        self.waiting_rows = 0
        self._faults = list(faults)

    def resume(self) -> dict[tuple[str, int], int]:
        return {}

    def write(self, batch: SinkBatch) -> None:
        self.calls.append(f"write {batch.first_offset}")
        self.waiting_rows += 1

    def flush(self) -> None:
        self.calls.append("flush")
        if self._faults:
            raise self._faults.pop(0)
        self.waiting_rows = 0

    def close(self) -> None: ...


def batch(first: int) -> SinkBatch:
    return SinkBatch("trades", "file:a", 0, first, first + 1, pa.RecordBatch.from_pylist([], pa.schema([])))


def test_stretches_are_written_in_order_and_flushed_and_wait_for_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_WAITING_ROWS", 3)
    work = Storing(sink := Recording())
    for first in range(0, 8, 2):
        work.put([batch(first), batch(first + 1)])
    work.finish()
    writes = [f"write {n}" for n in range(8)]
    assert sink.calls == [*writes[:4], "flush", *writes[4:], "flush", "flush"]
    monkeypatch.setattr(storing, "_FIRST_WAIT_S", 0.001)
    work = Storing(sink := Recording(Retryable("away"), Retryable("away")))
    work.put([batch(0)])
    work.finish()
    assert sink.calls == ["write 0", "flush", "flush", "flush"]


def test_a_fault_is_raised_where_the_load_waits_and_an_abandoned_load_flushes_nothing() -> None:
    work = Storing(sink := Recording(Fatal("forbidden")))
    work.put([batch(0)])
    assert_raises(Fatal, "forbidden", work.finish)
    assert_raises(Fatal, "forbidden", work.put, [batch(1)])
    assert sink.calls == ["write 0", "flush"]
    work = Storing(abandoned := Recording())
    work.put([])
    work.abandon()
    assert "flush" not in abandoned.calls


def file_rows(**columns: list[object]) -> pa.Table:
    n = len(columns["time_ns"])
    return pa.table({**columns, NUMBER: list(range(2, n + 2)), PART: pa.array([0] * n, pa.int32())})


def test_rows_are_stamped_events_carry_their_record_muted_ones_move_the_state_and_tables_may_be_empty() -> None:
    rows = file_rows(time_ns=[5, 6], symbol=["A", "B"], price=[1.0, 2.0], size=[1.0, 1.0])
    found = stretch_of({"trade": rows}, Load(0, "old"), 10)
    (table,) = found.tables
    stamps = table.select(["type", "source", "event_time_ns"]).to_pydict()
    assert stamps == {"type": ["trade"] * 2, "source": ["old"] * 2, "event_time_ns": [5, 6]}
    assert "ingest_time_ns" not in table.column_names
    assert (found.end, found.numbers[0].tolist()) == (12, [2, 3])
    events = file_rows(time_ns=[5], type=["dividend"], symbol=["A"], body=['{"amount": 0.5, "ex_time_ns": 5}'])
    (table,) = stretch_of({"event": events}, Load(0, "old"), 0).tables
    assert '"source":"old"' in table["body"][0].as_py()
    assert '"amount":0.5' in table["body"][0].as_py()
    engine, other = LoadEngine(), LoadEngine()
    assert engine.take(2, [0.5, 1.5], muted=True).rows == {}
    other.take(2, [0.5, 1.5])
    ours, theirs = (one.take(4, [2.5, 3.5]).rows["indicators"] for one in (engine, other))
    assert ours.equals(theirs)
    rows = empty_rows(CONFIG)
    assert rows.keys() == TABLES.keys()
    assert "sma_2" in rows["indicators"].schema.names
    assert not any(batch.num_rows for batch in rows.values())


TOPIC = "file:t.csv@1.2"
CONFIG, OTHER = config_of(["1s", "1m"], "sma(2)"), config_of(["1h"])
ROWS = [
    hello(mode="historical", lateness_ns=10**9), trade("A", 1, 10.0, 1.0), trade("A", 2, 11.0, 1.0), trade("B", 4, 20.0, 1.0),
    trade("B", 3, 21.0, 1.0), trade("A", 9, 12.0, 1.0),
]  # fmt: skip


@dataclass(slots=True)
class LogInMemory:
    """One partition of `market` and what is kept beside it: kafka.log_reader.LogReader as far as a load asks it."""

    rows: list[Row] = field(default_factory=list)
    position: dict[int, tuple[int, Pointer | None]] = field(default_factory=dict)
    snapshot: bytes | None = None
    names: list[tuple[Pointer, str]] = field(default_factory=list)
    gone_before: int = 0
    closed: bool = False
    strings: StringTable = field(default_factory=StringTable)

    def partitions(self) -> int:
        return 1

    def committed(self) -> dict[int, tuple[int, Pointer | None]]:
        return self.position

    def loads(self, _partition: int) -> list[tuple[Pointer, str]]:
        return self.names

    def span(self, _partition: int) -> Span:
        return Span(self.gone_before, len(self.rows))

    def read(self, _partition: int, begin: int, end: int) -> Iterator[Decoded]:
        for offset in range(begin, min(end, len(self.rows))):
            yield Decoded(batch_of([self.rows[offset]], offset, self.strings), [], records_of([]), offset + 1)

    def read_snapshot(self, _partition: int, _pointer: Pointer) -> bytes:
        if self.snapshot is None:
            raise SnapshotGone("its records have been removed")
        return self.snapshot

    def close(self) -> None:
        self.closed = True


def look(monkeypatch: pytest.MonkeyPatch, log: LogInMemory, running: bool | Exception = False) -> Base:
    def engine_runs(_settings: Settings) -> bool:
        if isinstance(running, Exception):
            raise running
        return running

    monkeypatch.setattr(looked, "engine_runs", engine_runs)
    monkeypatch.setattr(looked, "LogReader", lambda _settings: log)
    for name in ("_LEAVES_S", "_PATIENCE_S", "_LOOK_EVERY_S"):
        monkeypatch.setattr(looked, name, 0.01)
    return base_of(Settings(), CONFIG)


def state_after(rows: list[Row]) -> PartitionState:
    state, stepper, strings = new_state(CONFIG), Stepper(CONFIG), StringTable()
    for offset, row in enumerate(rows):
        for after, _ in stepper.steps(state, batch_of([row], offset, strings)):
            state = after
    return state


def test_the_state_is_of_the_log_from_a_snapshot_up_to_the_commit_if_any(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory(ROWS, names=[(Pointer(0, 0), TOPIC)])
    base = look(monkeypatch, log)
    assert (base.partitions, base.states, base.committed) == (1, {}, {})
    assert (base.loads, base.first_live_ns) == ({TOPIC}, {"A": at(1), "B": at(3)})
    assert not base.knows("A", 0)
    assert log.closed
    base = look(monkeypatch, LogInMemory(ROWS, {0: (3, None)}))
    assert base.committed == {0: 3}
    assert kept_trades(base.states[0])["offset"].tolist() == [1, 2]
    assert base.first_live_ns == {"A": at(9), "B": at(3)}  # behind the commit
    assert (base.knows("A", 0), base.knows("B", 0), base.knows("A", 1)) == (True, False, False)
    assert [
        base.goes_on_with(0, [(symbol, at(second))], source)
        for symbol, second, source in (("A", 9, "file"), ("A", 0, "file"), ("C", 0, "file"), ("C", 0, "feed"))
    ] == [True, False, True, False]
    log = LogInMemory(ROWS, {0: (4, Pointer(7, 2))}, state_to_bytes(state_after(ROWS[:2]), CONFIG))
    base = look(monkeypatch, log)
    assert state_to_bytes(base.states[0], CONFIG) == state_to_bytes(state_after(ROWS[:4]), CONFIG)


@pytest.mark.parametrize(("log", "running", "fault", "said"), [
    pytest.param(LogInMemory(ROWS, {0: (4, Pointer(7, 2))}), False, Fatal, "partition 0 cannot be gone on with", id="its snapshot is gone"),
    pytest.param(LogInMemory(ROWS, {0: (4, Pointer(7, 2))}, state_to_bytes(new_state(OTHER), OTHER)), False, Fatal,
                 "partition 0 cannot be gone on with", id="its snapshot is of other settings"),
    pytest.param(LogInMemory(ROWS, {0: (4, None)}, gone_before=2), False, Fatal, "not in the log any more", id="its records are gone"),
    pytest.param(LogInMemory(), True, Fatal, "engine is running", id="the engine runs"),
    pytest.param(LogInMemory(), Retryable("the broker is away"), Retryable, "away", id="the broker stays away"),
])  # fmt: skip
def test_where_a_load_cannot_begin_that_is_told(
    log: LogInMemory, running: bool | Exception, fault: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_raises(fault, said, look, monkeypatch, log, running)


class LoadEngine:
    """An engine after hello, and trades for it."""

    def __init__(self, fill: bool = False) -> None:
        self.strings = StringTable()
        self.strings.intern("old")
        config = config_of(["1s", "1m"], "sma(2)", fill=fill)
        self.load = PartitionLoad(config, TOPIC, 0, new_state(config), self.strings)
        self.load.hear_hello("old", 1, None)

    def take(self, first: int, seconds: list[float], *, muted: bool = False) -> Given:
        n, strings = len(seconds), self.strings
        batch = MarketBatch.empty(TOPIC, 0, strings, n)
        batch.kind[:], batch.symbol[:], batch.source[:] = Kind.TRADE, strings.intern("A"), strings.intern("old")
        batch.event_time_ns[:] = [at(s) for s in seconds]
        batch.a[:], batch.b[:], batch.offset[:] = 10 + np.arange(n), 1, first + np.arange(n)
        return self.load.take(batch, muted=muted)


def test_stored_rows_name_lines_the_state_earlier_places_and_only_complete_data_closes_all() -> None:
    engine = LoadEngine()
    given = engine.take(2, [0.5, 1.5, 2.5])
    bars = given.rows["bars"].to_pylist()
    assert [(b["receipt"]["first_offset"], b["receipt"]["topic"]) for b in bars] == [(2, TOPIC), (3, TOPIC)]
    assert given.rows["trades"]["offset"].to_pylist() == [2, 3, 4]
    assert kept_trades(engine.load.state)["offset"].tolist() == [LOADED + 2, LOADED + 3, LOADED + 4]
    filled = LoadEngine(fill=True).take(2, [0.5, 3.5]).rows["bars"].to_pylist()
    assert [b["receipt"]["first_offset"] for b in filled] == [2, None, None]
    engine, complete = LoadEngine(), LoadEngine()
    engine.take(2, [0.5])
    complete.take(2, [0.5])
    assert "bars" not in engine.load.hear_goodbye("old", complete=False).rows
    assert engine.load.forming() == 1  # the minute over it holds nothing before the second closes
    assert complete.load.hear_goodbye("old", complete=True).rows["bars"]["timeframe"].to_pylist() == ["1s", "1m"]
    assert complete.load.forming() == 0
