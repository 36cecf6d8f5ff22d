"""Rows of files by the wire's rules: in order, parted as the log would part them, refused with their line."""

from typing import Any

import numpy as np
import pyarrow as pa

from marketpulse.kafka.codec import to_tables
from marketpulse.kafka.loaded_rows import LoadedRows
from marketpulse.kafka.partitioner import partitions_of

T0 = 1_767_366_000 * 10**9
TOPIC = "file:t.csv@1.2"


def rows_of(kind: str, times: list[int], symbols: list[str], **columns: Any) -> pa.Table:
    head = {"type": kind, "source": "old", "bid": 1.0, "bid_size": 1.0, "ask": 2.0, "ask_size": 1.0, "size": 1.0}
    names = ("type", "source", *(("bid", "bid_size", "ask", "ask_size") if kind == "quote" else ("size",)))
    same = {name: [head[name]] * len(times) for name in names}
    return pa.table(same | {"symbol": symbols, "event_time_ns": [T0 + t for t in times]} | columns)


def trades(times: list[int], symbols: list[str], prices: list[float]) -> pa.Table:
    return rows_of("trade", times, symbols, price=prices, trade_id=[f"id{i}" for i in range(len(times))])


def loaded(partitions: int, *tables: tuple[pa.Table, int], ends: dict[str, int] | None = None) -> Any:
    """What becomes of these tables, each with its first line's number."""
    numbers = [np.arange(first, first + len(table)) for table, first in tables]
    parts = [np.zeros(len(table), np.int32) for table, _ in tables]
    return LoadedRows(TOPIC, partitions).batches([table for table, _ in tables], numbers, parts, ends or {})


def test_each_symbol_goes_to_the_partition_that_the_log_has_for_it() -> None:
    found, letters, cut = loaded(5, (trades(list(range(50)), [f"S{i % 7}" for i in range(50)], [1.0] * 50), 2))
    assert (letters, cut) == ([], 0)
    seen = []
    for partition, batch in found.items():
        rows = to_tables(batch)["trades"]
        names, offsets = [n.encode() for n in rows["symbol"].to_pylist()], rows["offset"].to_pylist()
        assert set(partitions_of(names, 5).tolist()) == {partition}
        assert offsets == sorted(offsets)
        assert [f"id{o - 2}" for o in offsets] == rows["trade_id"].to_pylist()
        seen += offsets
    assert sorted(seen) == list(range(2, 52))


def test_kinds_of_one_time_keep_their_rank() -> None:
    quotes = rows_of("quote", [1, 2, 3], ["A"] * 3)
    found, _, _ = loaded(1, (quotes, 2), (trades([1, 2, 2], ["A"] * 3, [1.0] * 3), 20))
    assert found[0].offset.tolist() == [2, 20, 3, 21, 22, 4]


def test_a_row_that_breaks_the_contract_is_a_dead_letter_with_its_line() -> None:
    found, (letter,), _ = loaded(3, (trades([1, 2, 3], ["A"] * 3, [1.0, -1.0, 2.0]), 2))
    assert (letter.reason, letter.offset, letter.topic) == ("bad_price", 3, TOPIC)
    assert [(partition, batch.offset.tolist()) for partition, batch in found.items()][:1] == [
        (letter.partition, [2, 4])
    ]


def test_rows_from_a_symbols_end_on_are_left_out() -> None:
    found, _, cut = loaded(1, (trades([1, 2, 3, 4], ["A", "B"] * 2, [1.0] * 4), 2), ends={"A": T0 + 3})
    assert (cut, found[0].offset.tolist()) == (1, [2, 3, 5])
