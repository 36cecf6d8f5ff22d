"""Where a pipeline stands before a load, told from a log in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from market_rows import Row, at, batch_of, config_of, hello, trade
from marketpulse.app.loading import base as looked
from marketpulse.app.loading.base import Base, base_of
from marketpulse.engine.checkpoint import state_to_bytes
from marketpulse.engine.state import PartitionState, kept_trades, new_state
from marketpulse.engine.step import Stepper
from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.log_reader import Span
from marketpulse.kafka.market_reader import Decoded
from marketpulse.kafka.records import records_of
from marketpulse.kafka.snapshot import Pointer, SnapshotGone
from marketpulse.model.market import StringTable
from marketpulse.settings import Settings

pytestmark = pytest.mark.usefixtures("kernels")

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
            batch = batch_of([self.rows[offset]], offset, self.strings)
            yield Decoded(batch, [], records_of([]), offset + 1)

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


def test_before_the_engine_has_begun_nothing_is_known_but_what_waits_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = LogInMemory(ROWS, names=[(Pointer(0, 0), "file:t.csv@1.2")])
    base = look(monkeypatch, log)
    assert (base.partitions, base.states, base.committed) == (1, {}, {})
    assert base.loads == {"file:t.csv@1.2"}
    assert base.first_live_ns == {"A": at(1), "B": at(3)}
    assert not base.knows("A", 0)
    assert log.closed


def test_the_state_is_that_of_the_log_up_to_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    base = look(monkeypatch, LogInMemory(ROWS, {0: (3, None)}))
    assert base.committed == {0: 3}
    assert kept_trades(base.states[0])["offset"].tolist() == [1, 2]
    assert base.first_live_ns == {"A": at(9), "B": at(3)}  # behind the commit
    assert (base.knows("A", 0), base.knows("B", 0), base.knows("A", 1)) == (True, False, False)
    assert (base.knows_source("feed"), base.knows_source("file")) == (True, False)


def test_a_snapshot_is_gone_on_with_from_the_offset_that_it_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogInMemory(ROWS, {0: (4, Pointer(7, 2))}, state_to_bytes(state_after(ROWS[:2]), CONFIG))
    base = look(monkeypatch, log)
    assert state_to_bytes(base.states[0], CONFIG) == state_to_bytes(state_after(ROWS[:4]), CONFIG)


@pytest.mark.parametrize("snapshot", [None, state_to_bytes(new_state(OTHER), OTHER)], ids=["gone", "of other settings"])
def test_a_state_that_cannot_be_gone_on_with_is_told(monkeypatch: pytest.MonkeyPatch, snapshot: bytes | None) -> None:
    with pytest.raises(Fatal, match="partition 0 cannot be gone on with"):
        look(monkeypatch, LogInMemory(ROWS, {0: (4, Pointer(7, 2))}, snapshot))


def test_a_state_whose_records_are_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match="not in the log any more"):
        look(monkeypatch, LogInMemory(ROWS, {0: (4, None)}, gone_before=2))


def test_while_the_engine_runs_a_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match="engine is running"):
        look(monkeypatch, LogInMemory(), running=True)


def test_a_broker_that_stays_away_is_waited_for_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Retryable, match="away"):
        look(monkeypatch, LogInMemory(), running=Retryable("the broker is away"))
