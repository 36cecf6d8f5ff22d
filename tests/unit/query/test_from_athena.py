"""Athena's SQL here and DuckDB's for Athena: whose a query is, what it becomes, where its mistakes are."""

from typing import Any

import pytest
import sqlglot

from athena_queries import FROM_DUCKDB, TWINS
from marketpulse.errors import QueryRefused
from marketpulse.ports import SqlMistake, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.query.dialect import looks_foreign, written_in
from marketpulse.query.from_athena import to_duckdb
from marketpulse.query.mistakes import mistake_in, with_caret
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns
from refused import assert_raises


def ask(desk: LakeDesk, sql: str, dialect: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = desk.answer(SqlQuestion(sql, dialect=dialect)).rows.to_pylist()
    return rows


@pytest.mark.parametrize(("athena", "duckdb", "exact"), TWINS)
def test_a_query_for_athena_gives_its_twins_rows(real_desk: LakeDesk, athena: str, duckdb: str, exact: bool) -> None:
    mine, twin = ask(real_desk, athena, "athena"), ask(real_desk, duckdb, "duckdb")
    assert len(mine) == len(twin) > 0
    for a, b in zip(mine, twin, strict=True):
        assert list(a) == list(b)
        within = 1e-9 if exact else 0.01
        for x, y in zip(a.values(), b.values(), strict=True):
            assert x == (pytest.approx(y, rel=within) if isinstance(x, float) else y)


@pytest.mark.parametrize(("sql", "said"), [
    ("SELECT * FORM trades", r"LINE 1: SELECT \* FORM trades\n {22}\^"), ("SELECT (1", "Expecting \\)"),
    ("SELECT 'a", "Parser Error"), ("SELECT 1; SELECT 2", "exactly one SELECT, found 2"),
    ("", "exactly one SELECT, found 0"), ("DROP TABLE trades", "only SELECT"),
    ("INSERT INTO trades SELECT 1", "only SELECT"), ("CREATE TABLE x AS SELECT 1", "only SELECT"),
    ("UNLOAD (SELECT 1) TO 's3://x/' WITH (format = 'PARQUET')", "only SELECT|Parser Error"),
    ("SHOW TABLES", "only SELECT"), ("SELECT parse_datetime('2024', 'yyyy')", "write date_parse"),
    ("SELECT format_datetime(timestamp, 'yyyy') FROM trades", "write date_format"),
    ("SELECT width_bucket(1.5, ARRAY[1, 2])", "write CASE"),
    ("SELECT reduce(ARRAY[1], 0, (s, x) -> s + x, s -> s * 2)", "not understood here"),
    ("SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "Parser Error|nested"),
    ("SELECT " + "f(" * 2_000 + "1" + ")" * 2_000, "Parser Error|nested"),
    ("SELECT '" + "x" * 100_000 + "'", "longer than 100,000 characters"),
])  # fmt: skip
def test_what_is_not_one_select_of_athenas_is_refused(sql: str, said: str) -> None:
    assert_raises(QueryRefused, said, to_duckdb, sql)


def test_a_long_chain_is_translated_or_refused_and_arguments_that_fit_no_function_may_be_anothers() -> None:
    for chain in ("1+" * 20_000 + "1", "a AND " * 5_000 + "a", "'x' || " * 5_000 + "'x'", "- " * 3_000 + "1"):
        try:
            assert to_duckdb("SELECT " + chain).startswith("SELECT")
        except QueryRefused as refusal:
            assert "nested" in str(refusal) or "Parser Error" in str(refusal)  # noqa: PT017
    assert looks_foreign("Binder Error: No function matches the given name and argument types 'cardinality(INTEGER[])'")
    assert looks_foreign("Catalog Error: Scalar Function with name x does not exist!")
    assert not looks_foreign('Binder Error: Referenced column "prize" not found in FROM clause!')


@pytest.mark.parametrize("sql", [
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT read_text('/etc/passwd')", "SELECT getenv('HOME')",
    "SELECT * FROM \"/etc/passwd\"", "SELECT * FROM \"x.parquet\"", "SELECT * FROM system.runtime.queries",
    "SELECT * FROM information_schema.tables", "WITH \"/etc/passwd\" AS (SELECT 1) SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM TABLE(read_text('/etc/passwd'))", "SELECT transform(ARRAY[1], x -> getenv('HOME'))",
    "SELECT at_timezone(current_timestamp, getenv('HOME'))",
    "SELECT * FROM trades CROSS JOIN UNNEST(ARRAY[getenv('HOME')])",
    "SELECT format('%s', current_setting('temp_directory'))", "SELECT ?", "SELECT try(read_text('/etc/passwd'))",
    "SELECT 1 /* */ FROM duckdb_settings()", "SELECT date_diff('day'); SELECT getenv('HOME')",
    "SELECT approx_percentile(getvariable('x'), 0.5)", "SELECT map_agg(pg_sleep(100), 1)",
])  # fmt: skip
def test_the_guard_holds_behind_the_translation(real_desk: LakeDesk, sql: str) -> None:
    assert_raises(QueryRefused, "", ask, real_desk, sql, "athena")


def sent(sql: str) -> str:
    return " ".join(to_athena(sql, view_columns()).split())


@pytest.mark.parametrize("duckdb", [sql for sql, _ in FROM_DUCKDB])
def test_what_is_sent_is_read_as_athenas(duckdb: str) -> None:
    assert sqlglot.parse_one(to_athena(duckdb, view_columns()), read="athena") is not None


@pytest.mark.parametrize(("duckdb", "athena"), [
    ("SELECT date(timestamp) AS d, avg(price) AS p FROM stock_data GROUP BY d HAVING p > 1 ORDER BY d",
     "SELECT DATE(timestamp) AS d, AVG(price) AS p FROM stock_data GROUP BY DATE(timestamp) HAVING AVG(price) > 1 ORDER BY d"),
    # A column of the table goes before a name of the list, as in DuckDB.
    ("SELECT date_trunc('day', timestamp) AS timestamp, count(*) FROM trades GROUP BY timestamp",
     "SELECT DATE_TRUNC('DAY', timestamp) AS timestamp, COUNT(*) FROM trades GROUP BY timestamp"),
    ("SELECT symbol, count(*) FROM trades GROUP BY ALL", "SELECT symbol, COUNT(*) FROM trades GROUP BY 1"),
    ("SELECT price AS p FROM trades ORDER BY ALL DESC", "SELECT price AS p FROM trades ORDER BY 1 DESC"),
    ("SELECT count(*) FROM trades GROUP BY ALL", "SELECT COUNT(*) FROM trades"),
    ("SELECT 7 // 2, 7 / 2", "SELECT 7 / 2, CAST(7 AS DOUBLE) / 2"),
    ("SELECT timestamp::TIMESTAMP FROM trades", "SELECT CAST(timestamp AS TIMESTAMP(6)) FROM trades"),
    ("SELECT median(price) FROM trades", "SELECT APPROX_PERCENTILE(price, 0.5) FROM trades"),
    ("SELECT price FROM trades WHERE price IN (SELECT max(price) AS m FROM trades GROUP BY symbol HAVING m > 1)",
     "SELECT price FROM trades WHERE price IN (SELECT MAX(price) AS m FROM trades GROUP BY symbol HAVING MAX(price) > 1)"),
])  # fmt: skip
def test_what_athena_lacks_is_spelt_out(duckdb: str, athena: str) -> None:
    assert sent(duckdb).replace("( ", "(").replace(" )", ")") == athena


@pytest.mark.parametrize("sql", [
    "SELECT * EXCLUDE (price) FROM trades", "SELECT * REPLACE (1 AS price) FROM trades",
    "SELECT COLUMNS('p.*') FROM trades", "SELECT * FROM trades t ASOF JOIN quotes q ON t.timestamp >= q.timestamp",
    "SELECT * FROM trades SEMI JOIN quotes USING (symbol)", "SELECT * FROM trades POSITIONAL JOIN quotes",
    "SELECT * FROM trades USING SAMPLE 10",
    "SELECT * FROM (PIVOT bars ON timeframe IN ('1m') USING max(close) GROUP BY symbol)",
    "SELECT time_bucket(INTERVAL 7 MINUTE, timestamp) FROM trades",
    "SELECT time_bucket(INTERVAL 1 MONTH, timestamp) FROM trades", "SELECT max(price, 3) FROM trades",
    "SELECT * FROM indicators QUALIFY row_number() OVER () = 1",
    "SELECT symbol FROM bars QUALIFY row_number() OVER (ORDER BY close) = 1 ORDER BY close", "DROP TABLE trades",
    "SELECT 1; SELECT 2",
])  # fmt: skip
def test_what_athena_has_no_word_for_is_refused_before_it_costs_anything(sql: str) -> None:
    assert_raises(QueryRefused, "", sent, sql)


ITS_OWN = [
    "SELECT symbol, date(timestamp) AS d FROM stock_data GROUP BY d", "FROM trades", "SELECT 1", "SELECT unnest([1, 2])",
    "SELECT time_bucket(INTERVAL 5 MINUTE, timestamp), arg_max(price, event_time_ns) FROM trades GROUP BY ALL",
    "SELECT max_by(price, event_time_ns) FROM trades", "SELECT list_transform([1], lambda x: x + 1)", "DROP TABLE trades",
    "SELECT * FROM trades t ASOF JOIN quotes q ON t.timestamp >= q.timestamp", "SELECT struct_pack(a := 1)",
    "SELECT row_number() OVER (), sum(x) FILTER (x > 1), grouping(x) FROM range(3) t(x) GROUP BY CUBE (x)",
    "SELECT coalesce(1, 2), row(1, 2)", "SELECT date_add(DATE '2024-05-01', INTERVAL 1 DAY)",
    "SELECT symbol[1:2], price::INT, {'a': 1}.a FROM trades",
]  # fmt: skip
ATHENAS = [
    "SELECT date_parse('2024-05-01', '%Y-%m-%d')", "SELECT approx_percentile(price, 0.5) FROM trades", "SELECT 1 +",
    "SELECT from_unixtime(1)", "SELECT date_add('day', 1, timestamp) FROM trades", "SELECT * FROM UNNEST(sequence(1, 5)) AS t(x)",
    "SELECT regexp_like(symbol, 'A') FROM trades", "SELECT date_format(timestamp, '%Y') FROM trades",
    "SELECT transform(ARRAY[1], x -> x + 1), json_extract_scalar(body, '$.a') FROM events",
]  # fmt: skip


@pytest.mark.parametrize(("sql", "dialect"), [*((q, "duckdb") for q in ITS_OWN), *((q, "athena") for q in ATHENAS)])
def test_what_duckdb_understands_is_its_own_and_what_it_lacks_is_athenas(sql: str, dialect: str) -> None:
    assert written_in(sql) == dialect


def caret_said(text: str, line: int, column: int) -> str:
    head = f"LINE {line}: "
    return f"Binder Error: no\n\n{head}{text}\n{' ' * (len(head) + column - 1)}^^^^"


def test_the_caret_is_a_line_and_a_column_of_the_query_by_its_word_where_a_line_was_cut_or_translated() -> None:
    sql = "SELECT symbol,\n       prize\nFROM trades"
    assert mistake_in(sql, caret_said("       prize", 2, 8)) == SqlMistake(caret_said("       prize", 2, 8), 2, 8)
    line = "SELECT " + "a, " * 60 + "prize, " + "b, " * 60 + "1 FROM trades"
    start = line.index("prize")
    found = mistake_in(line, caret_said("..." + line[start - 30 : start + 30] + "...", 1, 34))
    assert (found.line, found.column) == (1, start + 1)
    asked = "SELECT x,\n  date_parse(prize, '%Y') FROM trades"
    found = mistake_in(asked, caret_said("SELECT x, STRPTIME(prize, '%Y') FROM trades", 1, 20))
    assert (found.line, found.column) == (2, 14)
    shown = "Binder Error: no\n\nLINE 2:   date_parse(prize, '%Y') FROM trades\n                     ^"
    assert with_caret(asked, found) == shown
    twice = mistake_in("SELECT prize, year(prize)", caret_said("SELECT prize , prize", 1, 16))
    assert twice.line is None, "a word that stands twice is not guessed"


@pytest.mark.parametrize("message", ["no place at all", "LINE 1: SELECT", "LINE 9: other words\n        ^"])
def test_what_cannot_be_placed_has_no_place(message: str) -> None:
    assert mistake_in("SELECT 1, 1", message) == SqlMistake(message)
    assert with_caret("SELECT 1, 1", SqlMistake(message)) == message
