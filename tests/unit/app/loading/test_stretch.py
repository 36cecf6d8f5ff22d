"""What rows of files carry when they leave: the source, and no time of being read."""

import pyarrow as pa

from marketpulse.app.loading.stretch import stretch_of
from marketpulse.sources.history import NUMBER, PART


def rows(**columns: list[object]) -> pa.Table:
    n = len(columns["time_ns"])
    return pa.table({**columns, NUMBER: list(range(2, n + 2)), PART: pa.array([0] * n, pa.int32())})


def test_rows_are_stamped_with_kind_source_and_time() -> None:
    found = stretch_of({"trade": rows(time_ns=[5, 6], symbol=["A", "B"], price=[1.0, 2.0], size=[1.0, 1.0])}, "old", 10)
    (table,) = found.tables
    assert table["type"].to_pylist() == ["trade", "trade"]
    assert table["source"].to_pylist() == ["old", "old"]
    assert table["event_time_ns"].to_pylist() == [5, 6]
    assert "ingest_time_ns" not in table.column_names
    assert (found.begin, found.end, found.numbers[0].tolist()) == (10, 12, [2, 3])


def test_events_carry_their_whole_record() -> None:
    events = rows(time_ns=[5], type=["dividend"], symbol=["A"], body=['{"amount": 0.5, "ex_time_ns": 5}'])
    (table,) = stretch_of({"event": events}, "old", 0).tables
    assert '"source":"old"' in table["body"][0].as_py()
    assert '"amount":0.5' in table["body"][0].as_py()
