"""One order of time over several kinds of rows."""

from typing import Any

import numpy as np
import polars as pl

from marketpulse.sources.normalise import Rows
from marketpulse.sources.tape import Tape, build

SECOND = 10**9


def some(frame: dict[str, Any], seconds: list[float]) -> Rows:
    times = (np.array(seconds) * SECOND).astype(np.int64)
    return Rows(pl.DataFrame(frame), times, times, np.arange(len(times)))


def tape() -> Tape:
    def named(n: int) -> dict[str, Any]:
        return {"symbol": ["A"] * n, "venue": pl.Series([None] * n, dtype=pl.String)}

    trades = some({**named(4), "price": [1.0, 2.0, 3.0, 4.0], "size": [1.0] * 4}, [3, 1, 1.2, 9])
    quotes = some(
        {**named(3), "bid": [0.5] * 3, "ask": [0.6] * 3, "bid_size": [1.0] * 3, "ask_size": [1.0] * 3}, [1, 1.3, 3]
    )
    halt = some({"type": ["halt"], "symbol": ["A"], "body": ['{"from_ns": 1100000000}']}, [1.1])
    return build({"trade": [trades], "quote": [quotes], "event": [halt]})


def order(batches: list[Any]) -> list[tuple[str, float]]:
    return [(row["type"], row["event_time_ns"] / SECOND) for batch in batches for row in batch.to_pylist()]


STRICT = [("quote", 1), ("trade", 1), ("halt", 1.1), ("trade", 1.2), ("quote", 1.3), ("quote", 3), ("trade", 3), ("trade", 9)]  # fmt: skip


def test_rows_of_all_kinds_come_in_order_of_time_quotes_before_trades() -> None:
    assert order(tape().batches(0, 8, "s", 0)) == STRICT


def test_any_stretch_is_that_stretch() -> None:
    whole = tape()
    for start in range(8):
        for stop in range(start + 1, 9):
            assert order(whole.batches(start, stop, "s", 0)) == STRICT[start:stop]


def test_within_a_window_kinds_lie_together_but_an_event_keeps_its_place() -> None:
    batches = tape().batches(0, 8, "s", 0, window_ns=SECOND)
    assert order(batches)[:5] == [("quote", 1), ("trade", 1), ("halt", 1.1), ("quote", 1.3), ("trade", 1.2)]
    assert sorted(order(batches)) == sorted(STRICT)
    assert [b.num_rows for b in batches] == [1, 1, 1, 1, 1, 1, 2]


def test_moved_rows_move_in_body_too() -> None:
    whole = tape()
    batch = whole.batches(2, 3, "s", 0, shifted_ns=whole.time_ns[2:3] + 5)[0]
    assert batch.to_pylist()[0]["event_time_ns"] == 1_100_000_005
    assert '"from_ns":1100000005' in batch.column("body")[0].as_py()


def test_nothing_is_an_empty_tape() -> None:
    assert len(build({})) == 0
