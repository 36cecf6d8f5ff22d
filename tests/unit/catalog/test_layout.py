"""How the lake's tables are laid out."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from marketpulse.catalog import layout
from marketpulse.catalog.offsets import Offsets, held_up_to, positions
from marketpulse.errors import Fatal
from marketpulse.model.tables import EVENT_TIME_COLUMN, TABLES


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_has_the_contracts_columns_an_id_for_each_and_times(table: str) -> None:
    schema = layout.iceberg_schema(table)
    own = [*TABLES[table][1].names, *(["receipt"] if table == "indicators" else [])]
    assert [field.name for field in schema.fields] == [*own, *layout.TIMES[table]]
    ids = list(schema._lazy_id_to_name)
    assert len(ids) == len(set(ids))
    assert not any(field.required for field in schema.fields)
    assert [schema.find_column_name(f.source_id) for f in layout.sort_order(table, schema).fields] == list(
        layout.SORTED_BY[table]
    )
    time = EVENT_TIME_COLUMN[table]
    parts = [schema.find_column_name(f.source_id) for f in layout.partition_spec(table, schema).fields]
    assert parts == ([] if time is None else [time.removesuffix("_ns")])


def test_indicators_are_columns_beyond_the_tables_own_and_times_are_those_of_the_exact_ones() -> None:
    names = [field.name for field in layout.iceberg_schema("indicators", ["sma_20", "vwap"]).fields]
    assert layout.beyond("indicators", names) == ("sma_20", "vwap")
    assert layout.beyond("bars", layout.arrow_schema("bars").names) == ()
    rows = pa.table({"symbol": ["A", "B"], "event_time_ns": pa.array([1_714_521_600_000_001_999, None], pa.int64())})
    timed = layout.with_times("trades", rows)
    assert timed["event_time"].to_pylist() == [datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC), None]
    assert layout.without_times("trades", timed).equals(rows)


def test_rows_are_sorted_alike_ones_stay_in_the_order_of_the_log_also_with_more_names_than_sixteen_bits() -> None:
    symbols = ["B", "a", "B", "Ä", None, "B", "a"]
    rows = pa.table({
        "symbol": symbols, "event_time_ns": [3, 2, 1, 1, 0, 3, None], "offset": list(range(7)),
    })  # fmt: skip
    # By hand: no symbol first, then by code point, and within a symbol by time, no time first.
    assert layout.in_order("trades", rows)["offset"].to_pylist() == [4, 2, 0, 5, 6, 1, 3]
    assert layout.in_order("trades", rows.slice(0, 0)).num_rows == 0
    named = rows.set_column(0, "symbol", rows["symbol"].dictionary_encode())
    assert layout.in_order("trades", named)["offset"].to_pylist() == [4, 2, 0, 5, 6, 1, 3]
    n = 70_000
    rows = pa.table({"symbol": [f"{n - i:06d}" for i in range(n)], "event_time_ns": np.arange(n)})
    assert layout.in_order("trades", rows)["event_time_ns"].to_pylist() == list(range(n))[::-1]


@pytest.mark.parametrize("symbols", [3, 300, 70_000])
def test_the_order_is_that_of_comparing_whole_rows_however_many_names_there_are(symbols: int) -> None:
    chance = np.random.default_rng(symbols)
    n, names = 2_000, ("timeframe", "symbol", "open_time_ns", "revision")
    rows = pa.table({
        "timeframe": chance.choice(["1m", "5m", "1d"], n), "symbol": [f"S{i}" for i in chance.integers(0, symbols, n)],
        "open_time_ns": chance.integers(0, 5, n), "revision": chance.integers(0, 3, n), "place": np.arange(n),
    })  # fmt: skip
    for given in (rows, rows.sort_by("open_time_ns"), pa.concat_tables([rows] * 3)):
        by_hand = sorted(given.to_pylist(), key=lambda row: tuple(row[name] for name in names))
        assert layout.in_order("bars", given).to_pylist() == by_hand


def test_offsets_read_back_or_are_fatally_damaged_and_move_by_partition_with_empty_tables_where_all_is_held() -> None:
    told = Offsets({("market", 3): 120, ("/data/a b.csv", 0): 7}, {("market", 3): 118})
    for offsets in (told, Offsets()):
        assert Offsets.decode(offsets.encode(), "here") == offsets
    for text in ("", "[]", '{"next": {}}', '{"next": {"a": {"x": 1}}, "held": {}}', '{"next": 3, "held": {}}'):
        with pytest.raises(Fatal, match=r"trades: the property marketpulse\.offsets is damaged"):
            Offsets.decode(text, "trades")
    before = Offsets({("market", 0): 5, ("market", 1): 9}, {("market", 1): 9})
    after = Offsets({("market", 0): 8, ("market", 1): 9}, {("market", 1): 9, ("market", 0): 7})
    assert before.moved({("market", 0): 8}, {("market", 0): 7}) == after
    key = ("market", 0)
    tables = {"trades": Offsets({key: 50}, {key: 48}), "quotes": Offsets({key: 20}), "bars": Offsets({("bars", 0): 3})}
    stands = positions(tables)
    assert (stands[key], stands["bars", 0]) == ({"trades": 50, "quotes": 48, "events": 48}, {"bars": 3})
    assert held_up_to(stands[key]) == 48
    assert [held_up_to(found) for found in ({"trades": 50, "quotes": 48}, {"bars": 3}, {})] == [0, 3, 0]
