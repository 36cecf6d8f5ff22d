"""Athena's SQL here: as DuckDB's, written by hand, on real rows."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from athena_queries import TWINS
from marketpulse.errors import QueryRefused
from marketpulse.ports import SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.from_athena import to_duckdb
from real_rows import store_real_rows


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDesk]:
    opened = LakeDesk(store_real_rows(tmp_path_factory.mktemp("real")))
    yield opened
    opened.close()


def ask(desk: LakeDesk, sql: str, dialect: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = desk.answer(SqlQuestion(sql, dialect=dialect), threading.Event()).rows.to_pylist()
    return rows


@pytest.mark.parametrize(("athena", "duckdb", "exact"), TWINS)
def test_a_query_for_athena_gives_what_its_twin_gives(desk: LakeDesk, athena: str, duckdb: str, exact: bool) -> None:
    mine, twin = ask(desk, athena, "athena"), ask(desk, duckdb, "duckdb")
    assert len(mine) == len(twin) > 0
    for a, b in zip(mine, twin, strict=True):
        assert list(a) == list(b)
        within = 1e-9 if exact else 0.01
        for x, y in zip(a.values(), b.values(), strict=True):
            assert x == (pytest.approx(y, rel=within) if isinstance(x, float) else y)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FORM trades", r"LINE 1: SELECT \* FORM trades\n {22}\^"),
        ("SELECT (1", "Expecting \\)"),
        ("SELECT 'a", "Parser Error"),
        ("SELECT 1; SELECT 2", "exactly one SELECT, found 2"),
        ("", "exactly one SELECT, found 0"),
        ("DROP TABLE trades", "only SELECT"),
        ("INSERT INTO trades SELECT 1", "only SELECT"),
        ("CREATE TABLE x AS SELECT 1", "only SELECT"),
        ("UNLOAD (SELECT 1) TO 's3://x/' WITH (format = 'PARQUET')", "only SELECT|Parser Error"),
        ("SHOW TABLES", "only SELECT"),
        ("SELECT parse_datetime('2024', 'yyyy')", "write date_parse"),
        ("SELECT format_datetime(timestamp, 'yyyy') FROM trades", "write date_format"),
        ("SELECT width_bucket(1.5, ARRAY[1, 2])", "write CASE"),
        ("SELECT reduce(ARRAY[1], 0, (s, x) -> s + x, s -> s * 2)", "not understood here"),
        ("SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "Parser Error|nested"),
        ("SELECT " + "f(" * 2_000 + "1" + ")" * 2_000, "Parser Error|nested"),
        ("SELECT '" + "x" * 100_000 + "'", "longer than 100,000 characters"),
    ],
)
def test_what_is_not_one_select_of_athenas_is_refused(sql: str, said: str) -> None:
    with pytest.raises(QueryRefused, match=said):
        to_duckdb(sql)


def test_a_long_chain_is_translated_or_refused_and_never_a_fault() -> None:
    for chain in ("1+" * 20_000 + "1", "a AND " * 5_000 + "a", "'x' || " * 5_000 + "'x'", "- " * 3_000 + "1"):
        try:
            assert to_duckdb("SELECT " + chain).startswith("SELECT")
        except QueryRefused as refusal:
            assert "nested" in str(refusal) or "Parser Error" in str(refusal)  # noqa: PT017


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')", "SELECT read_text('/etc/passwd')", "SELECT getenv('HOME')",
        "SELECT * FROM \"/etc/passwd\"", "SELECT * FROM \"x.parquet\"", "SELECT * FROM system.runtime.queries",
        "SELECT * FROM information_schema.tables", "WITH \"/etc/passwd\" AS (SELECT 1) SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM TABLE(read_text('/etc/passwd'))", "SELECT transform(ARRAY[1], x -> getenv('HOME'))",
        "SELECT at_timezone(current_timestamp, getenv('HOME'))", "SELECT * FROM trades CROSS JOIN UNNEST(ARRAY[getenv('HOME')])",
        "SELECT format('%s', current_setting('temp_directory'))", "SELECT ?", "SELECT try(read_text('/etc/passwd'))",
        "SELECT 1 /* */ FROM duckdb_settings()", "SELECT date_diff('day'); SELECT getenv('HOME')",
        "SELECT approx_percentile(getvariable('x'), 0.5)", "SELECT map_agg(pg_sleep(100), 1)",
    ],
)  # fmt: skip
def test_the_guard_holds_behind_the_translation(desk: LakeDesk, sql: str) -> None:
    with pytest.raises(QueryRefused):
        ask(desk, sql, "athena")
