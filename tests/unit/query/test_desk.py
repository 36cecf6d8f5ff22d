"""The desk answers: rows, mistakes with their places, and what a query reads."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpulse.errors import ParameterError, QueryCancelled, QueryRefused
from marketpulse.model.tables import TABLES
from marketpulse.ports import SqlAnswer, SqlMistake, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.plan import Plan
from marketpulse.query.view_columns import view_columns
from marketpulse.settings import Settings
from real_rows import real_trades, store


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("desk"))
    store(settings, "trades", real_trades(), "market")
    with closing(LakeDesk(settings)) as desk:
        yield desk


def ask(desk: LakeDesk, sql: str, **more: Any) -> SqlAnswer:
    return desk.answer(SqlQuestion(sql, **more), threading.Event())


def test_an_answer_says_whether_there_are_more_rows_what_was_run_and_whose_it_was(desk: LakeDesk) -> None:
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


def test_parameters_belong_to_a_named_query_which_is_cancelled_too(desk: LakeDesk) -> None:
    with pytest.raises(ParameterError, match="belong to a named query"):
        ask(desk, "SELECT 1", parameters={"days": "1"})
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(QueryCancelled):
        desk.answer(SqlQuestion(named="gainers"), cancelled)


def test_the_version_changes_with_what_is_stored(settings: Settings) -> None:
    with closing(LakeDesk(settings)) as desk:
        empty = desk.version()
        assert desk.version() == empty
        store(settings, "trades", real_trades(), "market")
        assert desk.version() != empty


def test_the_library_is_described_for_programs_and_the_views_columns_are_known_without_a_lake(desk: LakeDesk) -> None:
    gainers = next(query for query in desk.library() if query["name"] == "gainers")
    assert gainers["title"] == "Gainers"
    days = {"name": "days", "kind": "count", "default": "30", "meaning": "how many days back from `until`"}
    assert gainers["parameters"][2] == days
    assert view_columns()["stock_data"] == ("symbol", "timestamp", "price", "volume", "kind")


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
        return days_desk.explain(SqlQuestion(sql, **more), threading.Event())

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
