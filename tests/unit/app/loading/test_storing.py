"""The thread before the lake: order, one flush at the end, and faults that reach who waits."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest

from marketpulse.app.loading import storing
from marketpulse.app.loading.storing import Storing
from marketpulse.errors import Fatal, Retryable
from marketpulse.ports import SinkBatch


class Recording:
    """A sink that notes its calls; `faults` are raised by the flushes, one after the other."""

    name, where = "lake", "nowhere"
    tables: Sequence[str] = ("trades",)
    waiting_bytes = 0

    def __init__(self, *faults: Exception) -> None:
        self.calls: list[str] = []
        self.waiting_rows = 0
        self._faults = list(faults)

    def resume(self) -> Mapping[tuple[str, int], int]:
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


def test_stretches_are_written_in_order_and_flushed_when_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_WAITING_ROWS", 3)
    sink = Recording()
    work = Storing(sink)
    for first in range(0, 8, 2):
        work.put([batch(first), batch(first + 1)])
    work.finish()
    assert sink.calls == [
        "write 0", "write 1", "write 2", "write 3", "flush", "write 4", "write 5", "write 6", "write 7", "flush", "flush",
    ]  # fmt: skip


def test_a_store_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_FIRST_WAIT_S", 0.001)
    sink = Recording(Retryable("away"), Retryable("away"))
    work = Storing(sink)
    work.put([batch(0)])
    work.finish()
    assert sink.calls == ["write 0", "flush", "flush", "flush"]


def test_a_fault_is_raised_where_the_load_waits_and_nothing_more_is_written() -> None:
    sink = Recording(Fatal("forbidden"))
    work = Storing(sink)
    work.put([batch(0)])
    with pytest.raises(Fatal, match="forbidden"):
        work.finish()
    with pytest.raises(Fatal, match="forbidden"):
        work.put([batch(1)])
    assert sink.calls == ["write 0", "flush"]


def test_an_abandoned_load_flushes_nothing() -> None:
    sink = Recording()
    work = Storing(sink)
    work.put([])
    work.abandon()
    assert "flush" not in sink.calls
