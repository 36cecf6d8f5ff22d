"""Where rows are filed."""

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.sinks.filing import (
    NO_SYMBOL,
    SETTLED_DAYS,
    SPARSE_DAYS,
    SPARSE_ROWS,
    Place,
    filed_for,
    series_directory,
    series_of,
    sparse_days,
    split_by_period,
    split_by_series,
    symbol_of,
)

DAY_NS = 86_400 * 10**9
MAY_1 = 19_844  # 2024-05-01, in days since 1970


def trades(*times_ns: int | None) -> pa.Table:
    return pa.table({"event_time_ns": pa.array(times_ns, pa.int64()), "n": list(range(len(times_ns)))})


def test_the_path_is_the_contracts() -> None:
    place = Place("trades", "2024-05-01", "market", 3, 1200, 3400)
    assert place.path(".parquet") == ("table=trades/date=2024-05-01/market-03-000000001200-000000003400.parquet")


def test_a_years_file_lies_under_its_first_day_and_a_merged_one_names_its_commit() -> None:
    place = Place("bars", "1987", "bars", 0, 0, 10, merged_by=42)
    assert place.path(".jsonl.gz") == (
        "table=bars/date=1987-01-01/bars-00-000000000000-000000000010-year-merged42.jsonl.gz"
    )


@pytest.mark.parametrize(
    ("path", "partition"),
    [
        ("table=trades/date=2024-05-01/market-03-000000001200-000000003400.parquet", "market-03"),
        ("table=bars/date=1987-01-01/dev.bars-117-000000000000-000000000010-year-merged42.jsonl.gz", "dev.bars-117"),
        ("table=dead_letters/date=2024-05-01/dead-letters-07-1000000000000-1000000000001.parquet", "dead-letters-07"),
        ("table=trades/date=2024-05-01/notes.txt", None),
        ("table=trades/date=2024-05-01/part-00000-c000.snappy.parquet", None),
        ("backup/market-03-000000001200-000000003400.parquet", None),
    ],
)
def test_a_file_says_whose_it_is_and_foreign_files_are_nobodys(path: str, partition: str | None) -> None:
    assert filed_for(path) == partition


def test_midnight_utc_parts_the_rows() -> None:
    midnight = (MAY_1 + 1) * DAY_NS
    parts = split_by_period("trades", trades(midnight - 1, midnight, midnight - 2), 0)
    assert {period: part["n"].to_pylist() for period, part in parts.items()} == {
        "2024-05-01": [0, 2], "2024-05-02": [1],
    }  # fmt: skip


def test_rows_without_a_time_are_filed_under_the_day_of_writing() -> None:
    now = MAY_1 * DAY_NS + 5
    assert list(split_by_period("trades", trades(None, 0), now)) == ["1970-01-01", "2024-05-01"]
    assert list(split_by_period("dead_letters", pa.table({"reason": ["x"]}), now)) == ["2024-05-01"]


def test_no_rows_need_no_file() -> None:
    assert split_by_period("trades", trades(), 0) == {}


@given(days=st.lists(st.integers(0, 30_000), min_size=1, max_size=300))
def test_every_row_is_filed_once_under_its_day_or_its_year(days: list[int]) -> None:
    parts = split_by_period("trades", trades(*(day * DAY_NS for day in days)), 0)
    seen: list[int] = []
    for period, part in parts.items():
        for n in part["n"].to_pylist():
            day = str(date(1970, 1, 1) + timedelta(days[n]))
            assert day.startswith(period)
            seen.append(n)
        assert part["n"].to_pylist() == sorted(part["n"].to_pylist())
    assert sorted(seen) == list(range(len(days)))


def some_days(count: int, rows: int) -> dict[str, int]:
    return {str(date(2023, 1, 1) + timedelta(n)): rows for n in range(count)}


def test_many_days_with_few_rows_are_sparse_but_for_the_newest() -> None:
    days = some_days(SPARSE_DAYS + 1 + SETTLED_DAYS, 1)
    assert sparse_days(days) == set(sorted(days)[:-SETTLED_DAYS])


def test_days_are_not_sparse_when_they_are_few_or_full() -> None:
    assert sparse_days({}) == set()
    assert sparse_days(some_days(SPARSE_DAYS + SETTLED_DAYS, 1)) == set()
    assert sparse_days(some_days(200, SPARSE_ROWS)) == set()


def test_full_days_stay_days_among_sparse_ones() -> None:
    days = some_days(100, 1) | {"2023-02-01": 10_000}
    assert "2023-02-01" not in sparse_days(days)
    assert len(sparse_days(days)) == 100 - 1 - SETTLED_DAYS


# A directory for each symbol.


def test_the_path_of_a_symbols_day_is_the_contracts() -> None:
    place = Place("trades", "2024-05-01", "market", 3, 1200, 3400, series=series_directory("AAPL"))
    path = "table=trades/symbol=AAPL/date=2024-05-01/market-03-000000001200-000000003400.parquet"
    assert place.path(".parquet") == path
    assert filed_for(path) == "market-03"
    assert (series_of(path), symbol_of(path)) == ("symbol=AAPL/", "AAPL")


@pytest.mark.parametrize(
    ("symbol", "directory"),
    [
        ("BTC-USD.COINBASE", "symbol=BTC-USD.COINBASE/"),
        ("BTC/USD", "symbol=BTC%2FUSD/"),
        ("..", "symbol=../"),
        ("A B=%", "symbol=A%20B%3D%25/"),
        ("Ω", "symbol=%CE%A9/"),
        (NO_SYMBOL, "symbol=%5F%5F%48%49%56%45%5F%44%45%46%41%55%4C%54%5F%50%41%52%54%49%54%49%4F%4E%5F%5F/"),
        (None, f"symbol={NO_SYMBOL}/"),
    ],
)
def test_what_a_path_could_mistake_is_escaped(symbol: str | None, directory: str) -> None:
    assert series_directory(symbol) == directory


@given(symbol=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_symbol_reads_back_from_its_path_as_we_and_as_hives_readers_do(symbol: str | None) -> None:
    path = f"table=trades/{series_directory(symbol)}date=2024-05-01/market-00-000000000000-000000000001.parquet"
    assert symbol_of(path) == symbol
    assert path.count("/") == 3
    assert len(path.split("/")[1]) < 255
    assert filed_for(path) == "market-00"
    hive = ds.partitioning(pa.schema([("table", pa.string()), ("symbol", pa.string())]), flavor="hive")
    found = ds.get_partition_keys(hive.parse(path))
    assert found["symbol"] == symbol


def test_a_path_without_symbols_says_none() -> None:
    path = "table=trades/date=2024-05-01/market-03-000000001200-000000003400.parquet"
    assert (series_of(path), symbol_of(path), series_of("notes.txt")) == ("", None, "")


@given(symbols=st.lists(st.sampled_from(["A", "B", "a", None, "B/C"]), max_size=40))
def test_every_row_is_filed_once_with_its_symbol_in_the_order_of_the_log(symbols: list[str | None]) -> None:
    rows = pa.table({"symbol": pa.array(symbols, pa.string()), "n": list(range(len(symbols)))})
    parts = split_by_series("trades", rows, "symbol/date")
    found = {
        n: symbol_of(f"table=trades/{where}date=x/y") for where, part in parts.items() for n in part["n"].to_pylist()
    }
    assert [found[n] for n in range(len(symbols))] == symbols
    assert all(part["n"].to_pylist() == sorted(part["n"].to_pylist()) for part in parts.values())
    assert all(part.column_names == ["n"] for part in parts.values())
    assert len({where.lower() for where in parts}) == len(parts)  # also where a file system ignores case


def test_by_date_and_for_dead_letters_the_rows_stay_as_they_are() -> None:
    rows = pa.table({"symbol": ["A", "B"]})
    assert split_by_series("trades", rows, "date") == {"": rows}
    assert split_by_series("dead_letters", rows, "symbol/date") == {"": rows}
    assert split_by_series("trades", rows.slice(0, 0), "date") == {}
