"""DuckDB's plan, as people read it."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from marketpulse.query.plan import Plan


def plan_of(sql: str) -> Plan:
    answer = duckdb.connect().execute(f"EXPLAIN (ANALYZE, FORMAT json) {sql}").fetchall()
    return Plan.of(str(answer[0][-1]))


def test_a_step_is_a_line_with_its_rows_and_what_it_needs_stands_below_it() -> None:
    lines = plan_of("SELECT i % 2 AS odd, count(*) FROM range(10) t(i) GROUP BY odd ORDER BY odd").lines()
    names = [line.partition(" (")[0] for line in lines]
    assert names[0] == "order by"
    assert names[0].strip() != names[-1].strip()
    assert [len(name) - len(name.lstrip()) for name in names] == list(range(0, 2 * len(names), 2))
    assert " (2 rows, " in lines[0]
    assert " (10 rows, " in lines[-1]


def test_a_reading_of_files_tells_what_it_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"i": list(range(100)), "j": [1.0] * 100}), path, row_group_size=10)
    plan = plan_of(f"SELECT sum(j) FROM read_parquet('{path}') WHERE i > 94")  # noqa: S608
    [scan] = plan.scans()
    assert scan.first == str(path)
    assert (scan.files, scan.row_groups, scan.row_groups_in_all, scan.rows) == (1, 1, 10, 5)
    assert "i > 94" in scan.condition
    assert not any(str(path) in line for line in plan.lines())


def test_a_query_without_files_has_no_readings() -> None:
    assert plan_of("SELECT 1").scans() == []
