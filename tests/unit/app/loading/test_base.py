"""Where a pipeline stands before a load, told from a log in memory; and one partition's engine over rows of files."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from market_rows import Row, at, batch_of, config_of, hello, trade
from marketpulse.app.loading import base as looked
from marketpulse.app.loading.base import Base, base_of
from marketpulse.app.loading.engine import Given, PartitionLoad, empty_rows
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
from marketpulse.settings import Settings

pytestmark = pytest.mark.usefixtures("kernels")

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


def test_before_the_engine_has_begun_only_what_waits_in_the_log_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory(ROWS, names=[(Pointer(0, 0), TOPIC)])
    base = look(monkeypatch, log)
    assert (base.partitions, base.states, base.committed) == (1, {}, {})
    assert (base.loads, base.first_live_ns) == ({TOPIC}, {"A": at(1), "B": at(3)})
    assert not base.knows("A", 0)
    assert log.closed


def test_the_state_is_that_of_the_log_up_to_the_commit_from_a_snapshot_on(monkeypatch: pytest.MonkeyPatch) -> None:
    base = look(monkeypatch, LogInMemory(ROWS, {0: (3, None)}))
    assert base.committed == {0: 3}
    assert kept_trades(base.states[0])["offset"].tolist() == [1, 2]
    assert base.first_live_ns == {"A": at(9), "B": at(3)}  # behind the commit
    assert (base.knows("A", 0), base.knows("B", 0), base.knows("A", 1)) == (True, False, False)
    assert (base.knows_source("feed"), base.knows_source("file")) == (True, False)
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
    with pytest.raises(fault, match=said):
        look(monkeypatch, log, running)


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


def test_stored_rows_name_lines_and_the_state_places_before_the_log() -> None:
    engine = LoadEngine()
    given = engine.take(2, [0.5, 1.5, 2.5])
    bars = given.rows["bars"].to_pylist()
    assert [(b["receipt"]["first_offset"], b["receipt"]["topic"]) for b in bars] == [(2, TOPIC), (3, TOPIC)]
    assert given.rows["trades"]["offset"].to_pylist() == [2, 3, 4]
    assert kept_trades(engine.load.state)["offset"].tolist() == [LOADED + 2, LOADED + 3, LOADED + 4]
    filled = LoadEngine(fill=True).take(2, [0.5, 3.5]).rows["bars"].to_pylist()
    assert [b["receipt"]["first_offset"] for b in filled] == [2, None, None]


def test_what_is_open_stays_open_but_for_data_that_is_complete() -> None:
    engine, complete = LoadEngine(), LoadEngine()
    engine.take(2, [0.5])
    complete.take(2, [0.5])
    assert "bars" not in engine.load.hear_goodbye("old", complete=False).rows
    assert engine.load.forming() == 1  # the minute over it holds nothing before the second closes
    closed = complete.load.hear_goodbye("old", complete=True).rows["bars"]
    assert closed["timeframe"].to_pylist() == ["1s", "1m"]
    assert complete.load.forming() == 0


def test_muted_rows_move_the_state_alone_and_every_table_has_an_empty_form_of_its_own_schema() -> None:
    engine, other = LoadEngine(), LoadEngine()
    assert engine.take(2, [0.5, 1.5], muted=True).rows == {}
    other.take(2, [0.5, 1.5])
    ours, theirs = (one.take(4, [2.5, 3.5]).rows["indicators"] for one in (engine, other))
    assert ours.equals(theirs)
    rows = empty_rows(CONFIG)
    assert rows.keys() == TABLES.keys()
    assert "sma_2" in rows["indicators"].schema.names
    assert not any(batch.num_rows for batch in rows.values())
