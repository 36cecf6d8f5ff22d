"""`load` without a broker: what it stores, says and refuses, and the parts that it is made of."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from marketpulse.app.cli.load import lines
from marketpulse.app.loading import storing
from marketpulse.app.loading.identity import WHOLE, Identity, check_unchanged, identify
from marketpulse.app.loading.load import Request, Summary, load
from marketpulse.app.loading.storing import Storing
from marketpulse.app.loading.stretch import stretch_of
from marketpulse.errors import Fatal, Retryable
from marketpulse.ports import SinkBatch
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Mapping, Settings
from marketpulse.sources.history import NUMBER, PART

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


def test_a_file_is_loaded_once_and_refused_when_it_has_changed_or_is_read_in_another_way(tmp_path: Path) -> None:
    home, path = tmp_path / "d", trades(tmp_path / "t.csv")
    first = loaded(home, path)
    assert (first.outcome, first.rows, first.symbols, first.stored["trades"]) == ("loaded", 300, 2, 300)
    second = loaded(home, path)
    assert second.outcome == "nothing"
    assert lines(second) == [f"{first.topic} is in the lake already, whole: nothing was changed."]
    assert asked(home, "SELECT count(*) AS n FROM trades") == [{"n": 300}]
    assert not (home / "load").exists()
    with pytest.raises(Fatal, match="other settings"):
        loaded(home, path, Mapping(venue="XNYS"))
    trades(path, 301)
    with pytest.raises(Fatal, match="--as NAME"):
        loaded(home, path)
    assert loaded(home, path, name="more.csv").topic.startswith("file:more.csv@")


def test_the_bars_at_the_end_stay_open_unless_the_data_is_complete(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv")
    open_ended, complete = loaded(tmp_path / "a", path), loaded(tmp_path / "b", path, complete=True)
    assert (open_ended.forming, complete.forming) == (4, 0)  # two symbols, two timeframes
    assert complete.stored["bars"] == open_ended.stored["bars"] + 4
    assert any("4 bars are open" in line for line in lines(open_ended))


def test_broken_rows_are_dead_letters_and_strict_stops_before_anything_is_stored(tmp_path: Path) -> None:
    path = trades(tmp_path / "t.csv", more=f"{T0},A,cheap,1,y\n{T0},A,1e19,1,z\n")
    with pytest.raises(Fatal, match="--strict"):
        loaded(tmp_path / "s", path, strict=True)
    found = loaded(tmp_path / "d", path)
    assert found.refused == {"wrong_type": 1, "bad_price": 1}
    letters = asked(tmp_path / "d", 'SELECT topic, "offset", reason, value FROM dead_letters ORDER BY "offset"')
    told = [(r["topic"], r["offset"], r["reason"]) for r in letters]
    assert told == [(found.topic, 302, "wrong_type"), (found.topic, 303, "bad_price")]
    assert any("1 wrong_type" in line for line in lines(found))


def test_what_was_done_is_told() -> None:
    found = Summary("file:a@1.2", rows=10, symbols=1, cut=3, duplicates=2, resumed_at=4, handed_over=True, forming=1)
    text = "\n".join(lines(found))
    for words in ("Left out 3", "Dropped 2", "behind row 4", "The pipeline goes on", "1 bars are open"):
        assert words in text


def test_the_same_file_read_in_the_same_way_is_the_same_load(tmp_path: Path) -> None:
    path, other = tmp_path / "trades 2023-01.csv", tmp_path / "b.csv"
    for file in (path, other):
        file.write_text("a")
    one = identify([path], ["x"])
    assert one == identify([path], ["x"])
    assert one.topic.startswith("file:trades_2023-01.csv@")
    assert identify([path], ["y"]).settings != one.settings
    assert identify([path], ["x"], "mine").name == "file:mine"
    assert identify([path, other], ["x"]).name == "file:trades_2023-01.csv+1"


@pytest.mark.parametrize(("stored", "says"), [
    (("file:a.csv", "other", "s1"), "other contents"), (("file:a.csv", "c1", "s2"), "other settings"),
    (("file:b.csv", "c1", "s1"), "another name"),
])  # fmt: skip
def test_what_would_store_rows_twice_is_refused(stored: tuple[str, str, str], says: str) -> None:
    one = Identity("file:a.csv", "c1", "s1")
    with pytest.raises(Fatal, match=says):
        check_unchanged(one, {(Identity(*stored).topic, 0): WHOLE, ("market", 0): 7})
    check_unchanged(one, {("market", 3): 5, ("file:b.csv@c2.s1", 0): WHOLE, ("file:a.csv@c1.s1", 2): 40})


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


def test_stretches_are_written_in_order_and_flushed_when_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_WAITING_ROWS", 3)
    work = Storing(sink := Recording())
    for first in range(0, 8, 2):
        work.put([batch(first), batch(first + 1)])
    work.finish()
    writes = [f"write {n}" for n in range(8)]
    assert sink.calls == [*writes[:4], "flush", *writes[4:], "flush", "flush"]


def test_a_store_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_FIRST_WAIT_S", 0.001)
    work = Storing(sink := Recording(Retryable("away"), Retryable("away")))
    work.put([batch(0)])
    work.finish()
    assert sink.calls == ["write 0", "flush", "flush", "flush"]


def test_a_fault_is_raised_where_the_load_waits_and_an_abandoned_load_flushes_nothing() -> None:
    work = Storing(sink := Recording(Fatal("forbidden")))
    work.put([batch(0)])
    with pytest.raises(Fatal, match="forbidden"):
        work.finish()
    with pytest.raises(Fatal, match="forbidden"):
        work.put([batch(1)])
    assert sink.calls == ["write 0", "flush"]
    work = Storing(abandoned := Recording())
    work.put([])
    work.abandon()
    assert "flush" not in abandoned.calls


def file_rows(**columns: list[object]) -> pa.Table:
    n = len(columns["time_ns"])
    return pa.table({**columns, NUMBER: list(range(2, n + 2)), PART: pa.array([0] * n, pa.int32())})


def test_rows_are_stamped_with_kind_source_and_time_and_events_carry_their_whole_record() -> None:
    rows = file_rows(time_ns=[5, 6], symbol=["A", "B"], price=[1.0, 2.0], size=[1.0, 1.0])
    found = stretch_of({"trade": rows}, "old", 10)
    (table,) = found.tables
    stamps = table.select(["type", "source", "event_time_ns"]).to_pydict()
    assert stamps == {"type": ["trade"] * 2, "source": ["old"] * 2, "event_time_ns": [5, 6]}
    assert "ingest_time_ns" not in table.column_names
    assert (found.begin, found.end, found.numbers[0].tolist()) == (10, 12, [2, 3])
    events = file_rows(time_ns=[5], type=["dividend"], symbol=["A"], body=['{"amount": 0.5, "ex_time_ns": 5}'])
    (table,) = stretch_of({"event": events}, "old", 0).tables
    assert '"source":"old"' in table["body"][0].as_py()
    assert '"amount":0.5' in table["body"][0].as_py()
