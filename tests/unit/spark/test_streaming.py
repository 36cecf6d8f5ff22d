"""One partition's part of a micro-batch, as Spark hands it over; Spark itself is in tests/conformance/test_on_spark.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from marketpulse.spark.step import Kept, LogRecord, OutputRow
from marketpulse.spark.streaming import _take


class State:
    """As Spark's GroupState: what was updated last."""

    def __init__(self, value: tuple[Any, ...] | None = None) -> None:
        self.value = value

    @property
    def exists(self) -> bool:
        return self.value is not None

    @property
    def get(self) -> tuple[Any, ...]:
        assert self.value is not None
        return self.value

    def update(self, value: tuple[Any, ...]) -> None:
        self.value = value


def frames() -> Iterator[pd.DataFrame]:
    """Two pieces; binary values as bytes, as bytearrays and missing, as Spark and pandas may give them."""
    names = ["offset", "append_time_ms", "key", "value", "content_type"]
    yield pd.DataFrame([(7, 70, b"k", bytearray(b"v"), None)], columns=names)
    yield pd.DataFrame([(6, 60, None, None, float("nan"))], columns=names)


def test_the_pieces_reach_the_step_with_what_was_kept_and_its_rows_leave() -> None:
    seen: list[Any] = []

    def step(partition: int, kept: Kept | None, records: list[LogRecord]) -> tuple[Kept, list[OutputRow]]:
        seen.append((partition, kept, records))
        return Kept(b"after", 8, 2), [OutputRow(0, "bars", b"A", b"x"), OutputRow(1, "bars", None, b"y")]

    state = State((b"before", 6, 0))
    (rows,) = _take(lambda: step, (np.int32(2),), frames(), state)  # type: ignore[arg-type, return-value]
    records = [LogRecord(7, 70, b"k", b"v", None), LogRecord(6, 60, None, None, None)]
    assert seen == [(2, Kept(b"before", 6, 0), records)]
    assert state.value == (b"after", 8, 2)
    assert list(rows.itertuples(index=False, name=None)) == [
        (2, 0, "bars", b"A", b"x"), (2, 1, "bars", None, b"y"),
    ]  # fmt: skip


def test_a_partition_seen_for_the_first_time_has_nothing_kept() -> None:
    state = State()
    (rows,) = _take(
        lambda: lambda _partition, kept, _records: (Kept(b"s", 8, 0), []) if kept is None else None,  # type: ignore[arg-type, return-value]
        (0,),
        frames(),
        state,
    )
    assert (len(rows), list(rows.columns)) == (0, ["partition", "sequence", "topic", "key", "value"])
    assert state.value == (b"s", 8, 0)
