"""How the lake's tables are laid out."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from marketpulse.catalog.layout import (
    SORTED_BY,
    TIMES,
    arrow_schema,
    beyond,
    encodings,
    iceberg_schema,
    in_order,
    partition_spec,
    sort_order,
    with_times,
    without_times,
)
from marketpulse.model.tables import EVENT_TIME_COLUMN, TABLES


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_has_the_contracts_columns_an_id_for_each_and_times(table: str) -> None:
    schema = iceberg_schema(table)
    own = [*TABLES[table][1].names, *(["receipt"] if table == "indicators" else [])]
    assert [field.name for field in schema.fields] == [*own, *TIMES[table]]
    ids = list(schema._lazy_id_to_name)
    assert len(ids) == len(set(ids))
    assert not any(field.required for field in schema.fields)
    assert [schema.find_column_name(f.source_id) for f in sort_order(table, schema).fields] == list(
        SORTED_BY[table]
    )
    time = EVENT_TIME_COLUMN[table]
    parts = [schema.find_column_name(f.source_id) for f in partition_spec(table, schema).fields]
    assert parts == ([] if time is None else [time.removesuffix("_ns")])


def test_indicators_are_columns_beyond_the_tables_own() -> None:
    names = [field.name for field in iceberg_schema("indicators", ["sma_20", "vwap"]).fields]
    assert beyond("indicators", names) == ("sma_20", "vwap")
    assert beyond("bars", arrow_schema("bars").names) == ()


def test_times_are_those_of_the_exact_columns_to_the_microsecond() -> None:
    rows = pa.table(
        {"symbol": ["A", "B"], "event_time_ns": pa.array([1_714_521_600_000_001_999, None], pa.int64())}
    )
    timed = with_times("trades", rows)
    assert timed["event_time"].to_pylist() == [datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC), None]
    assert without_times("trades", timed).equals(rows)


def test_rows_are_sorted_and_alike_ones_stay_in_the_order_of_the_log() -> None:
    symbols = ["B", "a", "B", "Ä", None, "B", "a"]
    rows = pa.table({
        "symbol": symbols, "event_time_ns": [3, 2, 1, 1, 0, 3, None], "offset": list(range(7)),
    })  # fmt: skip
    # By hand: no symbol first, then by code point, and within a symbol by time, no time first.
    assert in_order("trades", rows)["offset"].to_pylist() == [4, 2, 0, 5, 6, 1, 3]
    assert in_order("trades", rows.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_column_has_a_dictionary_or_is_stored_as_differences(table: str) -> None:
    dictionaries, differences = encodings(arrow_schema(table))
    assert not set(dictionaries) & set(differences)
    assert set(TIMES[table]) | {name for name in TABLES[table][1].names if name.endswith("_ns")} <= set(
        differences
    )
    assert "revision" not in differences
    if "receipt" in arrow_schema(table).names:
        assert {"receipt.first_offset", "receipt.last_offset"} <= set(differences)
        assert {"receipt.topic", "receipt.first_row"} <= set(dictionaries)
