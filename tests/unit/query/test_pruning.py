"""Files are left out by what is plain in a query, and never one that holds a wanted row."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_rows import LakeRows
from marketpulse.catalog.visible import StoredFile
from marketpulse.query.duck import LakeQuery
from marketpulse.query.guard import Guard
from marketpulse.query.pruning import at_the_end, needed
from marketpulse.query.views import TABLE_OF, VIEWS
from marketpulse.settings import Settings

GUARD = Guard(frozenset(VIEWS))
MAY_1_US = 1_714_521_600_000_000  # 2024-05-01T00:00:00Z
DAY_US = 86_400_000_000


def file(name: str, low: int, high: int, symbols: tuple[str, str] = ("AAA", "ZZZ")) -> StoredFile:
    """Rows of whole days of May 2024, both included."""
    times = (MAY_1_US + (low - 1) * DAY_US, MAY_1_US + high * DAY_US - 1)
    bounds: dict[str, tuple[Any, Any]] = {
        "symbol": symbols, "event_time": times, "event_time_ns": (times[0] * 1_000, times[1] * 1_000), "price": (1.0, 9.0),
    }  # fmt: skip
    return StoredFile(name, "trades", (), 10, 1_000, (), bounds)


FILES = [file("first", 1, 1), file("second", 2, 2, ("AAA", "BBB")), file("third", 3, 3)]


def left(sql: str, view: str = "trades") -> list[str]:
    tree = GUARD.check(sql).tree
    return [found.path for found in at_the_end(tree, view, needed(tree, view, TABLE_OF[view], FILES))]


@pytest.mark.parametrize(
    ("where", "files"),
    [
        ("timestamp >= '2024-05-02'", ["second", "third"]),
        ("timestamp < '2024-05-02'", ["first"]),
        ("timestamp <= DATE '2024-05-02'", ["first", "second"]),
        ("t.timestamp > TIMESTAMP '2024-05-03 12:00:00'", ["third"]),
        (f"event_time_ns >= {(MAY_1_US + 2 * DAY_US) * 1_000} - 1 * 1000000000000", ["second", "third"]),
        (f"{MAY_1_US * 1_000} > event_time_ns", []),
        ("timestamp BETWEEN '2024-05-01' AND '2024-05-02 00:00:00'", ["first", "second"]),
        ("symbol = 'CCC'", ["first", "third"]),
        ("symbol IN ('CCC', 'DDD') AND timestamp > '2024-05-02'", ["third"]),
        ("symbol = 'CCC' OR timestamp < '2024-05-03'", ["first", "second", "third"]),
        ("symbol LIKE 'C%'", ["first", "third"]),
        ("symbol LIKE 'BB_'", ["first", "second", "third"]),
        ("symbol LIKE '%'", ["first", "second", "third"]),
    ],
)
def test_conditions_on_stored_columns_leave_out_files(where: str, files: list[str]) -> None:
    assert left(f"SELECT price FROM trades AS t WHERE {where}") == files  # noqa: S608  (a case of this test)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM trades",
        "SELECT * FROM trades WHERE NOT timestamp >= '2024-05-02'",
        "SELECT * FROM trades WHERE symbol NOT LIKE 'C%' AND symbol <> 'CCC'",
        "SELECT * FROM trades WHERE price > 100",  # of floating point numbers NaN is the largest
        "SELECT * FROM trades WHERE timestamp > 'yesterday'",
        "SELECT * FROM trades WHERE event_time_ns > 9e18",
        "SELECT * FROM trades WHERE CAST(timestamp AS DATE) > '2024-05-02'",
        "SELECT * FROM trades TABLESAMPLE 10 ROWS WHERE timestamp > '2024-05-03'",
        "SELECT * FROM trades AS t(a, symbol) WHERE symbol = 'none'",
        "SELECT * FROM trades JOIN bars USING (symbol) WHERE trades.timestamp > '2024-05-03'",
        "WITH trades AS (SELECT '2024-05-01' AS timestamp) SELECT * FROM trades WHERE timestamp > '2024-05-03'",
        "SELECT price AS event_time FROM trades WHERE event_time > '2024-05-03'",
        "SELECT * FROM trades WHERE timestamp < '2024-05-02' UNION ALL SELECT * FROM trades",
        "SELECT * FROM alerts WHERE EXISTS (SELECT 1 FROM trades WHERE event_time > '2024-05-03')",
        "SELECT * FROM alerts a WHERE EXISTS (SELECT 1 FROM trades t WHERE a.symbol = 'none')",
    ],
)
def test_nothing_else_does(sql: str) -> None:
    assert left(sql) == ["first", "second", "third"]


def test_another_querys_column_is_not_a_views_own() -> None:
    sql = "SELECT * FROM trades WHERE EXISTS (SELECT 1 FROM stock_data WHERE event_time_ns < 0)"
    assert left(sql, "stock_data") == ["first", "second", "third"]


def test_two_places_need_the_files_of_both() -> None:
    sql = (
        "SELECT (SELECT count(*) FROM trades WHERE timestamp < '2024-05-02'), "
        "(SELECT count(*) FROM trades WHERE timestamp >= '2024-05-03')"
    )
    assert left(sql) == ["first", "third"]


def test_conditions_on_other_than_the_given_columns_are_let_be() -> None:
    tree = GUARD.check("SELECT * FROM trades WHERE symbol = 'CCC' AND timestamp > '2024-05-03'").tree
    kept = needed(tree, "trades", "trades", FILES, ("symbol",))
    assert [found.path for found in kept] == ["first", "third"]


@pytest.mark.parametrize(
    ("sql", "files"),
    [
        ("SELECT max(event_time_ns) FROM trades", ["third"]),
        ("SELECT min(event_time_ns) FROM trades", ["first"]),
        ("SELECT min(event_time_ns), max(event_time_ns) FROM trades", ["first", "third"]),
        ("SELECT max(event_time_ns) FROM trades WHERE price > 1", ["first", "second", "third"]),
        ("SELECT max(event_time_ns), count(*) FROM trades", ["first", "second", "third"]),
        ("SELECT symbol, max(event_time_ns) FROM trades GROUP BY symbol", ["first", "second", "third"]),
        ("SELECT max(event_time_ns) FILTER (price > 1) FROM trades", ["first", "second", "third"]),
        ("SELECT max(price) FROM trades", ["first", "second", "third"]),
        ("SELECT max(DISTINCT event_time_ns) FROM trades", ["third"]),
    ],
)
def test_the_ends_of_a_column_are_looked_for_where_they_may_be(sql: str, files: list[str]) -> None:
    assert left(sql) == files


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeQuery]:
    """Six files of other times and symbols each."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("pruned"))
    rows = LakeRows(settings)
    for number in range(6):
        rows.add("trades", [
            {"symbol": symbol, "event_time_ns": (MAY_1_US + number * DAY_US) * 1_000 + at, "price": 1.0 + at, "size": 1.0}
            for symbol in ("AAA", "BBB", "CCC")[number % 2 :] for at in range(3)
        ])  # fmt: skip
    query = LakeQuery(settings)
    yield query
    query.close()


_DAYS = st.integers(0, 7).map(lambda day: f"2024-05-0{day + 1}")
_PARTS = st.one_of(
    st.builds(
        "event_time_ns {} {}".format,
        st.sampled_from(["<", "<=", ">", ">=", "="]),
        st.integers(-1, 6).map(lambda day: (MAY_1_US + day * DAY_US) * 1_000 + 1),
    ),
    st.builds("timestamp {} '{}'".format, st.sampled_from(["<", "<=", ">", ">=", "="]), _DAYS),
    st.builds("symbol LIKE '{}'".format, st.sampled_from(["A%", "B%", "%C", "CCC", "D%", "_AA"])),
    st.builds("symbol IN ('{}', '{}')".format, *[st.sampled_from(["AAA", "BBB", "CCC", "DDD"])] * 2),
    st.builds("NOT symbol = '{}'".format, st.sampled_from(["AAA", "CCC"])),
)
_CONDITIONS = st.recursive(
    _PARTS, lambda parts: st.builds("({} {} {})".format, parts, st.sampled_from(["AND", "OR"]), parts), max_leaves=4
)


@given(condition=_CONDITIONS)
def test_the_answer_is_that_of_all_files(lake: LakeQuery, condition: str) -> None:
    # Of a condition inside an expression nothing is known.
    plain = lake.run(f"SELECT count(*) AS n, sum(price) AS s FROM trades WHERE {condition}").to_pylist()  # noqa: S608
    whole = lake.run(
        f"SELECT count(*) AS n, sum(price) AS s FROM trades WHERE CASE WHEN {condition} THEN true ELSE false END"  # noqa: S608
    ).to_pylist()
    assert plain == whole
