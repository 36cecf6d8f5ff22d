"""The desk answers: rows, mistakes with their places, what a query reads, and which files it leaves out."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_store import LakeRows, real_trades, store
from marketpulse.catalog import Picture, open_visible
from marketpulse.catalog.visible import StoredFile
from marketpulse.errors import ParameterError, QueryRefused
from marketpulse.model.tables import TABLES
from marketpulse.ports import SqlAnswer, SqlMistake, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.duck import LakeQuery
from marketpulse.query.guard import Guard
from marketpulse.query.plan import Plan
from marketpulse.query.pruning import at_the_end, needed
from marketpulse.query.scan import no_rows, rows_of
from marketpulse.query.view_columns import view_columns
from marketpulse.query.views import TABLE_OF, VIEWS
from marketpulse.settings import Settings


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("desk"))
    store(settings, "trades", real_trades(), "market")
    with closing(LakeDesk(settings)) as desk:
        yield desk


def ask(desk: LakeDesk, sql: str, **more: Any) -> SqlAnswer:
    return desk.answer(SqlQuestion(sql, **more))


def test_an_answer_says_what_was_run_and_if_there_is_more_and_named_queries_have_parameters(desk: LakeDesk) -> None:
    answers = [ask(desk, "SELECT i FROM range(10) t(i) ORDER BY i", skip=skip, limit=4) for skip in range(0, 12, 4)]
    seen = [(answer.rows["i"].to_pylist(), answer.more) for answer in answers]
    assert seen == [([0, 1, 2, 3], True), ([4, 5, 6, 7], True), ([8, 9], False)]
    plain = ask(desk, "SELECT 7/2 AS x")
    assert (plain.rows["x"].to_pylist(), plain.dialect) == ([3.5], "duckdb")
    other = ask(desk, "SELECT 7/2 AS x", dialect="athena")
    assert (other.rows["x"].to_pylist(), other.dialect, other.sql) == ([3], "athena", "SELECT 7 // 2 AS x")
    # Arguments that DuckDB does not take are tried as Athena's.
    answer = ask(desk, "SELECT element_at(array_agg(price ORDER BY timestamp), 1) AS p FROM trades")
    assert (answer.rows["p"].to_pylist(), answer.dialect) == ([367.46], "athena")
    with pytest.raises(ParameterError, match="belong to a named query"):
        ask(desk, "SELECT 1", parameters={"days": "1"})
    gainers = next(query for query in desk.library() if query["name"] == "gainers")
    assert gainers["title"] == "Gainers"
    days = {"name": "days", "kind": "count", "default": "30", "meaning": "how many days back from `until`"}
    assert gainers["parameters"][2] == days
    assert view_columns()["stock_data"] == ("symbol", "timestamp", "price", "volume", "kind")


@pytest.mark.parametrize(("sql", "line", "column"), [
    ("SELECT * FORM trades", 1, 15), ("SELECT symbol,\n  prize\nFROM trades", 2, 3),
    ("SELECT date_parse('a', 'b'),\n  prize FROM trades", 2, 3), ("SELECT nosuch(1)", 1, 8),
])  # fmt: skip
def test_a_mistake_has_its_place_in_what_was_asked(desk: LakeDesk, sql: str, line: int, column: int) -> None:
    with pytest.raises(QueryRefused) as refusal:
        ask(desk, sql)
    mistake = refusal.value.mistake
    assert isinstance(mistake, SqlMistake)
    assert (mistake.line, mistake.column) == (line, column)


DAY_NS = 86_400 * 10**9
START_NS = 19_844 * DAY_NS


@pytest.fixture(scope="module")
def days_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    """Two partitions, one symbol in each, ten days: a file for each day."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("days"))
    for partition, symbol in enumerate(("AAA", "BBB")):
        rows = [
            {"symbol": symbol, "event_time_ns": START_NS + day * DAY_NS + i, "price": 1.0, "size": 1.0,
             "topic": "market", "partition": partition, "offset": day * 10 + i, "row": 0}
            for day in range(10) for i in range(10)
        ]  # fmt: skip
        store(settings, "trades", pa.Table.from_pylist(rows, schema=TABLES["trades"][1]), "market", partition)
    with closing(LakeDesk(settings)) as desk:
        yield desk


def test_what_is_read_is_told_and_a_condition_on_symbol_and_time_leaves_out_files(days_desk: LakeDesk) -> None:
    def explained(sql: str = "", **more: Any) -> str:
        return days_desk.explain(SqlQuestion(sql, **more))

    def files(where: str = "", **more: Any) -> tuple[int, int]:
        text = explained("" if more else f"SELECT sum(price) FROM trades {where}", **more)  # noqa: S608
        line = next(line for line in text.splitlines() if line.startswith("trades: "))
        read, _, in_all = line.removeprefix("trades: ").split(" ")[:3]
        return int(read), int(in_all)

    whole, in_all = files()
    assert whole == in_all >= 2
    assert files("WHERE symbol = 'AAA'")[0] == in_all // 2
    assert files(f"WHERE symbol = 'AAA' AND event_time_ns >= {START_NS + 9 * DAY_NS}")[0] == 1
    assert files(named="daily_average", parameters={"days": "1", "symbol": "BBB"})[0] == 1 < in_all
    text = explained("SELECT sum(price) FROM trades WHERE symbol = 'AAA' AND date_add('day', 1, timestamp) IS NOT NULL")
    assert "INTERVAL 1 DAY" in text  # what was run
    assert "trades: 10 of 20 files, 10 of 10 row groups, 100 of 200 rows" in text
    assert "where (symbol = 'AAA')" in text
    assert "table scan (100 rows, " in text
    assert "no file was read" in explained("SELECT 1")


def plan_of(sql: str) -> Plan:
    return Plan.of(str(duckdb.connect().execute(f"EXPLAIN (ANALYZE, FORMAT json) {sql}").fetchall()[0][-1]))


def test_a_step_is_a_line_with_its_rows_above_what_it_needs_and_a_reading_tells_what_it_omits(tmp_path: Path) -> None:
    lines = plan_of("SELECT i % 2 AS odd, count(*) FROM range(10) t(i) GROUP BY odd ORDER BY odd").lines()
    names = [line.partition(" (")[0] for line in lines]
    assert names[0] == "order by"
    assert names[0].strip() != names[-1].strip()
    assert [len(name) - len(name.lstrip()) for name in names] == list(range(0, 2 * len(names), 2))
    assert " (2 rows, " in lines[0]
    assert " (10 rows, " in lines[-1]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"i": list(range(100)), "j": [1.0] * 100}), path, row_group_size=10)
    plan = plan_of(f"SELECT sum(j) FROM read_parquet('{path}') WHERE i > 94")  # noqa: S608
    [scan] = plan.scans()
    assert scan.first == str(path)
    assert (scan.files, scan.row_groups, scan.row_groups_in_all, scan.rows) == (1, 1, 10, 5)
    assert "i > 94" in scan.condition
    assert not any(str(path) in line for line in plan.lines())
    assert plan_of("SELECT 1").scans() == []


# Files are left out by what is plain in a query, never one that holds a wanted row; what is read of the others.

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


EVERY = ["first", "second", "third"]
FILES = [file("first", 1, 1), file("second", 2, 2, ("AAA", "BBB")), file("third", 3, 3)]


def left(sql: str, view: str = "trades") -> list[str]:
    tree = GUARD.check(sql).tree
    return [found.path for found in at_the_end(tree, view, needed(tree, view, TABLE_OF[view], FILES))]


@pytest.mark.parametrize(("where", "files"), [
    ("timestamp >= '2024-05-02'", ["second", "third"]), ("timestamp < '2024-05-02'", ["first"]),
    ("timestamp <= DATE '2024-05-02'", ["first", "second"]), ("t.timestamp > TIMESTAMP '2024-05-03 12:00:00'", ["third"]),
    (f"event_time_ns >= {(MAY_1_US + 2 * DAY_US) * 1_000} - 1 * 1000000000000", ["second", "third"]),
    (f"{MAY_1_US * 1_000} > event_time_ns", []),
    ("timestamp BETWEEN '2024-05-01' AND '2024-05-02 00:00:00'", ["first", "second"]),
    ("symbol = 'CCC'", ["first", "third"]), ("symbol IN ('CCC', 'DDD') AND timestamp > '2024-05-02'", ["third"]),
    ("symbol = 'CCC' OR timestamp < '2024-05-03'", EVERY), ("symbol LIKE 'C%'", ["first", "third"]),
    ("symbol LIKE 'BB_'", EVERY), ("symbol LIKE '%'", EVERY),
])  # fmt: skip
def test_conditions_on_stored_columns_leave_out_files(where: str, files: list[str]) -> None:
    assert left(f"SELECT price FROM trades AS t WHERE {where}") == files  # noqa: S608  (a case of this test)


@pytest.mark.parametrize("sql", [
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
])  # fmt: skip
def test_nothing_else_does(sql: str) -> None:
    assert left(sql) == EVERY


def test_a_views_own_columns_decide_two_places_need_the_files_of_both_and_other_columns_are_let_be() -> None:
    others = "SELECT * FROM trades WHERE EXISTS (SELECT 1 FROM stock_data WHERE event_time_ns < 0)"
    assert left(others, "stock_data") == EVERY
    count = "(SELECT count(*) FROM trades WHERE timestamp {} '2024-05-0{}')"
    assert left(f"SELECT {count.format('<', 2)}, {count.format('>=', 3)}") == ["first", "third"]
    tree = GUARD.check("SELECT * FROM trades WHERE symbol = 'CCC' AND timestamp > '2024-05-03'").tree
    assert [found.path for found in needed(tree, "trades", "trades", FILES, ("symbol",))] == ["first", "third"]


@pytest.mark.parametrize(("sql", "files"), [
    ("SELECT max(event_time_ns) FROM trades", ["third"]), ("SELECT min(event_time_ns) FROM trades", ["first"]),
    ("SELECT min(event_time_ns), max(event_time_ns) FROM trades", ["first", "third"]),
    ("SELECT max(event_time_ns) FROM trades WHERE price > 1", EVERY),
    ("SELECT max(event_time_ns), count(*) FROM trades", EVERY),
    ("SELECT symbol, max(event_time_ns) FROM trades GROUP BY symbol", EVERY),
    ("SELECT max(event_time_ns) FILTER (price > 1) FROM trades", EVERY),
    ("SELECT max(price) FROM trades", EVERY),
    ("SELECT max(DISTINCT event_time_ns) FROM trades", ["third"]),
])  # fmt: skip
def test_the_ends_of_a_column_are_looked_for_where_they_may_be(sql: str, files: list[str]) -> None:
    assert left(sql) == files


@pytest.fixture(scope="module")
def six_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeQuery]:
    """Six files of other times and symbols each."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("pruned"))
    rows = LakeRows(settings)
    for number in range(6):
        rows.add("trades", [
            {"symbol": symbol, "event_time_ns": (MAY_1_US + number * DAY_US) * 1_000 + at, "price": 1.0 + at, "size": 1.0}
            for symbol in ("AAA", "BBB", "CCC")[number % 2 :] for at in range(3)
        ])  # fmt: skip
    with closing(LakeQuery(settings)) as query:
        yield query


_DAYS = st.integers(0, 7).map(lambda day: f"2024-05-0{day + 1}")
_TIMES_NS = st.integers(-1, 6).map(lambda day: (MAY_1_US + day * DAY_US) * 1_000 + 1)
_ORDERS = st.sampled_from(["<", "<=", ">", ">=", "="])
_PARTS = st.one_of(
    st.builds("event_time_ns {} {}".format, _ORDERS, _TIMES_NS),
    st.builds("timestamp {} '{}'".format, _ORDERS, _DAYS),
    st.builds("symbol LIKE '{}'".format, st.sampled_from(["A%", "B%", "%C", "CCC", "D%", "_AA"])),
    st.builds("symbol IN ('{}', '{}')".format, *[st.sampled_from(["AAA", "BBB", "CCC", "DDD"])] * 2),
    st.builds("NOT symbol = '{}'".format, st.sampled_from(["AAA", "CCC"])),
)
_CONDITIONS = st.recursive(
    _PARTS, lambda parts: st.builds("({} {} {})".format, parts, st.sampled_from(["AND", "OR"]), parts), max_leaves=4
)


@given(condition=_CONDITIONS)
def test_the_answer_is_that_of_all_files(six_files: LakeQuery, condition: str) -> None:
    # Of a condition inside an expression nothing is known.
    asked = "SELECT count(*) AS n, sum(price) AS s FROM trades WHERE {}"
    whole = six_files.run(asked.format(f"CASE WHEN {condition} THEN true ELSE false END")).to_pylist()
    assert six_files.run(asked.format(condition)).to_pylist() == whole


MAY_1_NS = 1_714_521_600 * 10**9
KEY = {"symbol": "AAA", "timeframe": "1m", "close_time_ns": MAY_1_NS + 60 * 10**9}


@pytest.fixture
def connection() -> Iterator[Any]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'America/New_York'")
        yield opened


def stored(settings: Settings, table: str) -> Picture:
    return open_visible(settings).read([table])[table]


def indicators(settings: Settings, count: int) -> Picture:
    """Files of a row each, with one indicator each: another one in each file."""
    lake = LakeRows(settings)
    for number in range(count):
        row = {**KEY, "open_time_ns": MAY_1_NS + number, "close": float(number), f"sma_{number}": 7.0}
        lake.add("indicators", [row], columns=(f"sma_{number}",))
    return stored(settings, "indicators")


def trades(settings: Settings, count: int) -> Picture:
    """Files of a row each, a nanosecond apart."""
    lake = LakeRows(settings)
    for number in range(count):
        lake.add("trades", [{"symbol": "AAA", "price": 5.0, "size": 1.0, "event_time_ns": MAY_1_NS + number}])
    return stored(settings, "trades")


@pytest.mark.parametrize("shapes", [1, 3, 12])
def test_rows_are_the_same_by_names_and_by_ids(settings: Settings, connection: Any, shapes: int) -> None:
    picture = indicators(settings, shapes)
    texts = [rows_of(picture, picture.files, by_id=by_id) for by_id in (False, True)]
    by_names, by_ids = (connection.sql(text).order("open_time_ns").to_arrow_table() for text in texts)
    assert by_names.equals(by_ids)
    assert by_names.column_names[:3] == ["open_time", "close_time", "symbol"]
    assert by_names["sma_0"].to_pylist() == [7.0] + [None] * (shapes - 1)
    assert by_names["open_time"][0].as_py() == datetime(2024, 5, 1)  # UTC, whatever the session's zone
    none = connection.sql(no_rows(picture)).to_arrow_table()  # of no files: the same columns
    assert (none.num_rows, none.schema) == (0, connection.sql(rows_of(picture, picture.files)).to_arrow_table().schema)


def test_what_all_rows_meet_is_not_asked_of_them(settings: Settings, connection: Any) -> None:
    picture = trades(settings, 3)

    def plan(where: str) -> str:
        asked = f"EXPLAIN SELECT price FROM ({rows_of(picture, picture.files)}) WHERE event_time_ns {where}"  # noqa: S608
        return str(connection.execute(asked).fetchall()[0][1])

    assert "event_time_ns" not in plan(f">= {MAY_1_NS}")
    assert "event_time_ns" in plan(f"> {MAY_1_NS}")
    assert "empty result" in plan(f"> {MAY_1_NS + 2}").lower()
    two = picture.files[:2]
    assert f"'min': '{MAY_1_NS}', 'max': '{MAY_1_NS + 1}'" in rows_of(picture, two)
    blind = replace(two[0], bounds={}, nulls={})
    assert "column_statistics" not in rows_of(picture, [blind, two[1]]), "unknown of one is told of none"


def test_a_file_that_lacks_what_its_manifest_tells_is_read_as_well(settings: Settings, query: LakeQuery) -> None:
    path = trades(settings, 1).files[0].path
    pq.write_table(pq.read_table(path).drop_columns(["venue"]), path)
    assert query.run("SELECT price, venue FROM trades").to_pylist() == [{"price": 5.0, "venue": None}]
