"""Rows of files by the wire's rules: in order, parted as the log would part them, refused with their line."""

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.kafka.codec import to_tables
from marketpulse.kafka.loaded_rows import LoadedRows
from marketpulse.kafka.partitioner import partitions_of

T0 = 1_767_366_000 * 10**9
TOPIC = "file:t.csv@1.2"
pytestmark = pytest.mark.usefixtures("kernels")


def trades(times: list[int], symbols: list[str], prices: list[float]) -> pa.Table:
    n = len(times)
    return pa.table({
        "type": ["trade"] * n, "symbol": symbols, "source": ["old"] * n, "event_time_ns": [T0 + t for t in times],
        "price": prices, "size": [1.0] * n, "trade_id": [f"id{i}" for i in range(n)],
    })  # fmt: skip


def quotes(times: list[int], symbols: list[str]) -> pa.Table:
    n = len(times)
    return pa.table({
        "type": ["quote"] * n, "symbol": symbols, "source": ["old"] * n, "event_time_ns": [T0 + t for t in times],
        "bid": [1.0] * n, "bid_size": [1.0] * n, "ask": [2.0] * n, "ask_size": [1.0] * n,
    })  # fmt: skip


def numbers(n: int, first: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(first, first + n), np.zeros(n, np.int32)


def test_each_symbol_goes_to_the_partition_that_the_log_has_for_it() -> None:
    symbols = [f"S{i % 7}" for i in range(50)]
    number, part = numbers(50)
    found, letters, cut = LoadedRows(TOPIC, 5).batches(
        [trades(list(range(50)), symbols, [1.0] * 50)], [number], [part], {}
    )
    assert (letters, cut) == ([], 0)
    seen = []
    for partition, batch in found.items():
        rows = to_tables(batch)["trades"]
        names = rows["symbol"].to_pylist()
        assert set(partitions_of([n.encode() for n in names], 5).tolist()) == {partition}
        assert rows["offset"].to_pylist() == sorted(rows["offset"].to_pylist())
        assert [f"id{o - 2}" for o in rows["offset"].to_pylist()] == rows["trade_id"].to_pylist()
        seen += rows["offset"].to_pylist()
    assert sorted(seen) == number.tolist()


def test_kinds_of_one_time_keep_their_rank() -> None:
    some, others = numbers(3, 2), numbers(3, 20)
    found, _, _ = LoadedRows(TOPIC, 1).batches(
        [quotes([1, 2, 3], ["A"] * 3), trades([1, 2, 2], ["A"] * 3, [1.0] * 3)], [some[0], others[0]], [some[1], others[1]], {}
    )  # fmt: skip
    assert found[0].offset.tolist() == [2, 20, 3, 21, 22, 4]


def test_a_row_that_breaks_the_contract_is_a_dead_letter_with_its_line() -> None:
    number, part = numbers(3)
    found, letters, _ = LoadedRows(TOPIC, 3).batches(
        [trades([1, 2, 3], ["A", "A", "A"], [1.0, -1.0, 2.0])], [number], [part], {}
    )
    (letter,) = letters
    assert (letter.reason, letter.offset, letter.topic) == ("bad_price", 3, TOPIC)
    assert letter.partition == next(iter(found))
    assert next(iter(found.values())).offset.tolist() == [2, 4]


def test_rows_from_a_symbols_end_on_are_left_out() -> None:
    number, part = numbers(4)
    found, _, cut = LoadedRows(TOPIC, 1).batches(
        [trades([1, 2, 3, 4], ["A", "B", "A", "B"], [1.0] * 4)], [number], [part], {"A": T0 + 3}
    )
    assert cut == 1
    assert found[0].offset.tolist() == [2, 3, 5]
