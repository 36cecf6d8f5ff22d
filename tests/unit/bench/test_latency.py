"""What a latency of the benchmark counts from: when a trade was due, and for a bar, the trade that closed it."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.kafka.codec import encode_rows
from marketpulse.kafka.records import records_of
from marketpulse.model.rows import BAR
from marketpulse.settings import Settings

S = 10**9


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts' folder is where they are started from."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "bench"))
    return import_module("latency")


def test_a_trade_is_due_by_the_schedule_alone(bench: Any) -> None:
    schedule = bench.Schedule(start_ns=7 * S, rate=4, count=6, symbols=2)
    assert schedule.due_ns().tolist() == [7 * S + i * S // 4 for i in range(6)]
    assert [schedule.symbol(i) for i in range(3)] == ["SYM00000", "SYM00001", "SYM00000"]


@pytest.mark.parametrize("partitions", [1, 2])
def test_a_bar_counts_from_the_first_trade_of_its_partition_that_is_late_enough(bench: Any, partitions: int) -> None:
    schedule = bench.Schedule(start_ns=0, rate=4, count=20, symbols=9)  # the last trade is due at 4.75 s
    settings = Settings(kafka={"partitions": partitions}, engine={"lateness_ms": 2_000})
    here = schedule.partitions(partitions)
    closes, places = [S, 11 * S // 10, 3 * S], [0, partitions - 1, 0]
    expected = [
        next((i * S // 4 for i in range(20) if i * S // 4 >= c + 2 * S and here[i] == p), -1)
        for c, p in zip(closes, places, strict=True)
    ]
    if partitions == 1:
        assert expected == [3 * S, 13 * S // 4, -1]
    rows = bench.Arrivals(np.zeros(3, np.int64), np.array(places), np.array(closes))
    assert bench.closing_ns(rows, schedule, settings).tolist() == expected


def test_rows_are_known_by_the_times_that_they_carry(bench: Any) -> None:
    arrivals = import_module("arrivals")
    bars = [("A", "1t", 5 * S + 1, 5 * S + 1), ("A", "1s", 5 * S, 6 * S), ("B", "1t", 5 * S + 2, 5 * S + 2)]
    names = ("symbol", "timeframe", "open_time_ns", "close_time_ns")
    rows = pa.RecordBatch.from_pylist([dict(zip(names, row, strict=True)) for row in bars], schema=BAR)
    records = records_of([value for _, value in encode_rows(rows)], 3)
    ticks, closed = (arrivals._arrivals([(9 * S, records)], kind) for kind in (arrivals.TICK_BAR, arrivals.BAR))
    assert [part.tolist() for part in ticks] == [[9 * S, 9 * S], [3, 3], [5 * S + 1, 5 * S + 2]]
    assert [part.tolist() for part in closed] == [[9 * S], [3], [6 * S]]
