"""The road to Athena: AWS's own client, against moto's server and a scripted one; its rows as columns. Athena's SQL
here and DuckDB's for Athena: whose a query is, what it becomes, where its mistakes are."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import sqlglot
from moto.server import ThreadedMotoServer

from athena_queries import FROM_DUCKDB, TWINS
from aws_server import AthenaService, athena_service
from marketpulse.errors import Fatal, MarketPulseError, QueryCancelled, QueryLimit, QueryRefused, Retryable
from marketpulse.ports import SqlAnswer, SqlMistake, SqlQuestion
from marketpulse.query.athena import AthenaDesk
from marketpulse.query.athena_rows import AthenaRows, typed
from marketpulse.query.desk import LakeDesk
from marketpulse.query.dialect import looks_foreign, written_in
from marketpulse.query.from_athena import to_duckdb
from marketpulse.query.mistakes import mistake_in, with_caret
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns
from marketpulse.settings import Settings
from refused import assert_raises


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{key}", raising=False)
    ours = {"EC2_METADATA_DISABLED": "true", "ACCESS_KEY_ID": "a-key", "SECRET_ACCESS_KEY": "a-very-secret-key"}
    none = str(tmp_path / "none")
    for key, value in {**ours, "CONFIG_FILE": none, "SHARED_CREDENTIALS_FILE": none}.items():
        monkeypatch.setenv(f"AWS_{key}", value)


class Athena:
    """Asks a scripted service, at `url` when it is given."""

    def __init__(self, service: AthenaService, folder: Path) -> None:
        self.service, self.folder = service, folder

    def desk(self, url: str = "", **athena: object) -> AthenaDesk:
        of: dict[str, Any] = {"data_dir": self.folder, "s3": {"region": "eu-central-1"}, "sql": {"memory_limit_mb": 64}}
        return AthenaDesk(Settings(**of, athena={"endpoint_url": url or self.service.url, **athena}), view_columns())

    def answer(self, sql: str = "SELECT 1 AS n", **more: object) -> SqlAnswer:
        return self.desk().answer(SqlQuestion(sql, **more), threading.Event())  # type: ignore[arg-type]

    def calls(self, operation: str) -> list[dict[str, Any]]:
        return self.service.named(operation)

    def sent(self) -> str:
        return " ".join(self.calls("StartQueryExecution")[0]["QueryString"].split())


@pytest.fixture
def athena(tmp_path: Path) -> Iterator[Athena]:
    with athena_service() as started:
        started.columns = [{"Name": "n", "Type": "bigint"}]
        yield Athena(started, tmp_path)


def ask(desk: AthenaDesk, sql: str = "SELECT 1 AS n", **more: object) -> list[dict[str, object]]:
    question = SqlQuestion(sql, **more)  # type: ignore[arg-type]
    rows: list[dict[str, object]] = desk.answer(question, threading.Event()).rows.to_pylist()
    return rows


def test_moto_takes_the_query_with_its_place_and_gives_its_rows(athena: Athena) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        columns = [{"Name": "symbol", "Type": "varchar"}, {"Name": "n", "Type": "bigint"}]
        rows = [{"Data": [{"VarCharValue": value} for value in row]} for row in (("symbol", "n"), ("AAPL", "7"))]
        script = {"region": "eu-central-1", "results": [{"rows": rows, "column_info": columns}]}
        httpx.post(f"{url}/moto-api/static/athena/query-results", content=json.dumps(script).encode())
        opened = athena.desk(url, workgroup="primary", database="market", output_location="s3://results/here/")
        found = ask(opened, "SELECT symbol, count(*) AS n FROM trades GROUP BY symbol")
        assert (found, "read 0.0 MB" in opened.cost) == ([{"symbol": "AAPL", "n": 7}], True)
        opened.close()
    finally:
        server.stop()


def test_the_request_names_its_place_and_values_keep_every_digit_below_the_first_pages_header(athena: Athena) -> None:
    opened = athena.desk(workgroup="analysts", output_location="s3://results/")
    ask(opened, "SELECT approx_percentile(price, 0.5) AS n FROM trades")
    (request,) = athena.calls("StartQueryExecution")
    assert request["QueryString"] == "SELECT approx_percentile(price, 0.5) AS n FROM trades"  # as it stands
    assert (request["WorkGroup"], request["ResultConfiguration"]) == ("analysts", {"OutputLocation": "s3://results/"})
    assert request["QueryExecutionContext"] == {"Database": "marketpulse", "Catalog": "AwsDataCatalog"}
    assert typed(["1.23"], "decimal", 10, 2).to_pylist() == [Decimal("1.23")]
    column = typed(["2024-05-01 00:00:00.000000001 UTC"], "timestamp with time zone", 38, 0)
    assert column.cast(pa.int64()).to_pylist() == [1_714_521_600_000_000_001]
    rows = AthenaRows()
    rows.add(page("a", "x"))
    rows.add(page("a", "y"))
    assert rows.table()["a"].to_pylist() == ["x", "a", "y"]
    bare = AthenaRows()
    bare.add(page("x"))
    assert len(bare) == 1


@pytest.mark.parametrize(("question", "words"), [
    (SqlQuestion("SELECT date(timestamp) AS d, avg(price) AS n FROM stock_data GROUP BY d"),
     "SELECT DATE(timestamp) AS d, AVG(price) AS n FROM stock_data GROUP BY DATE(timestamp)"),
    (SqlQuestion(named="gainers", parameters={"days": "7"}), "- 7 * 86400000000000"),
])  # fmt: skip
def test_duckdbs_words_and_named_queries_become_athenas(athena: Athena, question: SqlQuestion, words: str) -> None:
    athena.desk().answer(question, threading.Event())
    assert words in athena.sent() if question.named else words == athena.sent()


def test_it_looks_until_the_query_has_ended_and_says_the_cost(athena: Athena) -> None:
    athena.service.states = ["QUEUED", "RUNNING", "RUNNING", "SUCCEEDED"]
    athena.service.pages, athena.service.scanned = [[["1"]]], 2_000_000_000
    athena.service.faults = {"GetQueryExecution": [(400, "ThrottlingException", "Rate exceeded")]}  # it is asked again
    opened = athena.desk()
    assert (ask(opened), len(athena.calls("GetQueryExecution"))) == ([{"n": 1}], 5)
    assert opened.cost == "Athena read 2,000.0 MB in 1.5 s: about 0.010000 USD at 5 USD per TB (10 MB at least)"


def test_pages_become_one_table_and_a_part_reads_no_more_of_them_than_it_needs(athena: Athena) -> None:
    athena.service.pages = [[[str(i)] for i in range(at, at + 10)] for at in range(0, 50, 10)]
    part = athena.answer(skip=8, limit=4)
    assert (part.rows["n"].to_pylist(), part.more, len(athena.calls("GetQueryResults"))) == ([8, 9, 10, 11], True, 2)
    last = athena.answer(skip=45, limit=5)
    assert (last.rows["n"].to_pylist(), last.more) == ([45, 46, 47, 48, 49], False)
    assert athena.answer().rows["n"].to_pylist() == list(range(50))


def test_a_query_that_is_cancelled_or_takes_too_long_is_stopped_there_too(athena: Athena) -> None:
    athena.service.states = ["RUNNING"]
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    assert_raises(QueryCancelled, "", athena.desk().answer, SqlQuestion("SELECT 1 AS n"), cancelled)
    assert athena.calls("StopQueryExecution") == [{"QueryExecutionId": "q-1"}]
    begun = time.monotonic()
    assert_raises(QueryLimit, r"raise athena.timeout_s", ask, athena.desk(timeout_s=0.3))
    assert time.monotonic() - begun < 30
    assert len(athena.calls("StopQueryExecution")) == 2


def test_a_result_beyond_the_memory_is_stopped_and_athenas_refusal_has_its_place(athena: Athena) -> None:
    athena.service.columns = [{"Name": "n", "Type": "varchar"}]
    athena.service.pages = [[["x" * 10_000_000]]] * 9
    assert_raises(QueryLimit, "larger than 64 MB", athena.answer)
    assert len(athena.calls("GetQueryResults")) == 7
    athena.service.states = ["FAILED"]
    athena.service.reason = "SYNTAX_ERROR: line 1:8: Column 'prize' cannot be resolved"
    with pytest.raises(QueryRefused) as refusal:
        athena.answer("SELECT prize FROM trades", dialect="athena")
    assert str(refusal.value).endswith("LINE 1: SELECT prize FROM trades\n               ^")
    assert isinstance(refusal.value.mistake, SqlMistake)
    assert (refusal.value.mistake.line, refusal.value.mistake.column) == (1, 8)


@pytest.mark.parametrize(("fault", "kind", "said"), [
    ((400, "InvalidRequestException", "WorkGroup analysts is not found."), Fatal, "set athena.workgroup"),
    ((400, "InvalidRequestException", "No output location provided. An output location is required"), Fatal, "set athena.output_location"),
    ((400, "AccessDeniedException", "You are not authorized to perform: athena:StartQueryExecution"), Fatal, "allow it athena:"),
    ((400, "UnrecognizedClientException", "The security token included in the request is invalid."), Fatal, "renew them"),
    ((400, "ExpiredTokenException", "The token has expired"), Fatal, "renew them"),
    ((400, "InvalidRequestException", "line 1:15: mismatched input 'FORM'"), QueryRefused, "mismatched input"),
])  # fmt: skip
def test_a_fault_of_the_account_says_what_to_do(
    athena: Athena, fault: tuple[int, str, str], kind: type[MarketPulseError], said: str
) -> None:
    athena.service.faults = {"StartQueryExecution": [fault] * 10}
    with pytest.raises(kind, match=said) as refusal:
        ask(athena.desk(workgroup="analysts"))
    assert "a-very-secret-key" not in str(refusal.value) + repr(refusal.value)


def test_no_login_no_region_no_service_differ(athena: Athena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_raises(Retryable, "does not answer", ask, athena.desk("http://127.0.0.1:9"))
    assert_raises(Fatal, r"set s3.region", ask, AthenaDesk(Settings(data_dir=tmp_path)))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert_raises(Fatal, "set AWS_PROFILE", ask, athena.desk("http://127.0.0.1:9"))


@pytest.mark.parametrize("sql", [
    "DROP TABLE trades", "INSERT INTO trades VALUES (1)", "CREATE TABLE x AS SELECT 1", "UNLOAD (SELECT 1) TO 's3://x/'",
    "/* SELECT */ DELETE FROM trades", "-- SELECT\nMSCK REPAIR TABLE trades", "EXECUTE x", "", "  ", "VACUUM trades",
    "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "SELECT 'unclosed",
])  # fmt: skip
@pytest.mark.parametrize("dialect", ["athena", "duckdb", "auto"])
def test_nothing_that_writes_is_sent(athena: Athena, sql: str, dialect: str) -> None:
    assert_raises(QueryRefused, "", athena.answer, sql, dialect=dialect)
    assert athena.service.calls == []


@pytest.mark.parametrize(("kind", "texts", "values", "arrow"), [
    ("bigint", ["9223372036854775807", None], [2**63 - 1, None], pa.int64()), ("integer", ["-5"], [-5], pa.int32()),
    ("double", ["1.5", "1.0E-5", "Infinity", "-Infinity"], [1.5, 1e-5, float("inf"), float("-inf")], pa.float64()),
    ("float", ["0.5"], [0.5], pa.float32()), ("boolean", ["true", "false", None], [True, False, None], pa.bool_()),
    ("varchar", ["a", "", None], ["a", "", None], pa.string()), ("date", ["2024-05-01"], [date(2024, 5, 1)], pa.date32()),
    ("timestamp", ["2024-05-01 09:30:00.123"], [datetime(2024, 5, 1, 9, 30, 0, 123_000)], pa.timestamp("us")),
    ("timestamp with time zone", ["2024-05-01 09:30:00.123456 UTC"], [datetime(2024, 5, 1, 9, 30, 0, 123_456, UTC)], pa.timestamp("us", "UTC")),
    ("timestamp with time zone", ["2024-05-01 09:30:00.000 America/New_York"], [datetime(2024, 5, 1, 13, 30, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    ("timestamp with time zone", ["1969-12-31 23:59:59.500 +00:00"], [datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC)], pa.timestamp("us", "UTC")),
    ("varbinary", ["48 65 6c", None], [b"Hel", None], pa.binary()), ("array", ["[1, 2]"], ["[1, 2]"], pa.string()),
])  # fmt: skip
def test_a_column_has_athenas_type(kind: str, texts: list[str | None], values: list[Any], arrow: pa.DataType) -> None:
    column = typed(texts, kind, 38, 0)
    assert (column.to_pylist(), column.type) == (values, arrow)


def page(*texts: str) -> dict[str, Any]:
    """Rows of one column, `a`."""
    data = [{"Data": [{"VarCharValue": text}]} for text in texts]
    return {"Rows": data, "ResultSetMetadata": {"ColumnInfo": [{"Name": "a", "Type": "varchar"}]}}


def ask_lake(desk: LakeDesk, sql: str, dialect: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = desk.answer(SqlQuestion(sql, dialect=dialect)).rows.to_pylist()
    return rows


@pytest.mark.parametrize(("theirs", "duckdb", "exact"), TWINS)
def test_a_query_for_athena_gives_its_twins_rows(real_desk: LakeDesk, theirs: str, duckdb: str, exact: bool) -> None:
    mine, twin = ask_lake(real_desk, theirs, "athena"), ask_lake(real_desk, duckdb, "duckdb")
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
    assert_raises(QueryRefused, "", ask_lake, real_desk, sql, "athena")


def sent(sql: str) -> str:
    return " ".join(to_athena(sql, view_columns()).split())


@pytest.mark.parametrize("duckdb", [sql for sql, _ in FROM_DUCKDB])
def test_what_is_sent_is_read_as_athenas(duckdb: str) -> None:
    assert sqlglot.parse_one(to_athena(duckdb, view_columns()), read="athena") is not None


@pytest.mark.parametrize(("duckdb", "theirs"), [
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
def test_what_athena_lacks_is_spelt_out(duckdb: str, theirs: str) -> None:
    assert sent(duckdb).replace("( ", "(").replace(" )", ")") == theirs


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
