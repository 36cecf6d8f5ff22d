"""The contract's rows as columns."""

import pyarrow as pa
import pytest

from marketpulse.model.rows import BAR
from marketpulse.model.tables import TABLES
from marketpulse.sinks.postgres_tables import ALL, column_name, without_nul

MINUTE_NS = 60 * 10**9


def bars(*rows: tuple[str, str, int, int, float | None]) -> pa.Table:
    """(symbol, timeframe, open_time_ns, revision, close); the receipt's last offset counts up."""
    found = [
        {"symbol": s, "timeframe": t, "open_time_ns": ns, "close_time_ns": ns + MINUTE_NS, "revision": r, "close": close,
         "receipt": {"topic": "market", "last_offset": i, "last_row": 3}}
        for i, (s, t, ns, r, close) in enumerate(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(found, schema=BAR)


def test_every_table_of_the_contract_has_one_here() -> None:
    assert set(ALL) == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_empty_rows_have_all_columns_of_their_table(table: str) -> None:
    schema = TABLES[table][1]
    if table == "indicators":
        schema = schema.append(BAR.field("receipt"))
    arranged = ALL[table].arrange(schema.empty_table())
    assert {one.name: one.type for one in arranged.schema} == ALL[table].columns()


def test_rows_lie_in_the_order_of_their_key() -> None:
    arranged = ALL["bars"].arrange(
        bars(("B", "1m", 0, 0, 1.0), ("A", "5m", 0, 0, 2.0), ("A", "1m", MINUTE_NS, 0, 3.0), ("A", "1m", 0, 1, 4.0))
    )
    assert arranged.column("close").to_pylist() == [4.0, 3.0, 2.0, 1.0]


def test_the_highest_revision_of_a_key_is_the_newest() -> None:
    table = ALL["bars"]
    arranged = table.arrange(bars(("A", "1m", 0, 1, 1.0), ("A", "1m", 0, 0, 2.0), ("B", "1m", 0, 3, None)))
    newest = table.newest(arranged)
    assert newest.column("close").to_pylist() == [1.0, None]
    assert table.withdrawn(newest).to_pylist() == [False, True]
    assert table.newest(arranged.slice(0, 0)).num_rows == 0


def test_bars_are_told_apart_to_the_nanosecond_and_tick_bars_by_their_last_trade() -> None:
    arranged = ALL["bars"].arrange(
        bars(
            ("A", "1m", 1_001, 0, 1.0),
            ("A", "1m", 1_002, 0, 2.0),
            ("A", "5t", 1_002, 0, 3.0),
            ("A", "5t", 1_002, 0, 4.0),
        )
    )
    assert arranged.column("tick").to_pylist() == [1, 2, (2 << 20) + 3, (3 << 20) + 3]
    assert [one.microsecond for one in arranged.column("open_time").to_pylist()] == [1, 1, 1, 1]


def test_an_indicators_name_fits_its_column() -> None:
    assert column_name("sma_20") == "sma_20"
    long = ["é" * 40, "é" * 41]
    names = {column_name(name) for name in long}
    assert len(names) == 2
    assert all(len(name.encode()) <= 63 for name in names)


def test_nul_becomes_its_sign_and_nothing_else_changes() -> None:
    rows = pa.table(
        {"a": ["x\0y", None, "z"], "b": pa.array([["\0"], None, [None, "k"]], pa.list_(pa.string())), "c": [1, 2, 3]}
    )
    assert without_nul(rows).to_pydict() == {"a": ["x␀y", None, "z"], "b": [["␀"], None, [None, "k"]], "c": [1, 2, 3]}
