"""What is let in, and what is not."""

import pytest

from marketpulse.errors import QueryRefused
from marketpulse.query.guard import TEXT_MAX, Guard
from marketpulse.query.views import VIEWS
from refused import assert_raises


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard(frozenset(VIEWS))


@pytest.mark.parametrize("sql", [
    "SELECT symbol, date(timestamp) AS trading_day, ROUND(AVG(price), 2) AS avg_daily_price FROM stock_data GROUP BY symbol, trading_day ORDER BY trading_day DESC",
    "select 1", "  -- a comment\n SELECT 1 ; ", "FROM trades", "VALUES (1, 'a'), (2, 'b')",
    "SELECT * FROM main.trades LIMIT 10 OFFSET 2", "SELECT * FROM TRADES",
    "WITH last AS (SELECT symbol, max(timestamp) AS t FROM trades GROUP BY 1) SELECT * FROM last JOIN trades USING (symbol)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
    "WITH a AS MATERIALIZED (SELECT 1 AS x), b AS (FROM a) SELECT * FROM b UNION ALL FROM a ORDER BY x",
    "WITH a AS (SELECT 1 AS x) SELECT (SELECT max(x) FROM a), (WITH b AS (FROM a) SELECT max(x) FROM b) FROM a WHERE x IN (SELECT x FROM a)",
    "WITH a AS (SELECT 1 AS x) SELECT * FROM a UNION SELECT * FROM (WITH c AS (FROM a) FROM c) ORDER BY x",
    "SELECT * FROM trades t ASOF JOIN quotes q ON t.symbol = q.symbol AND t.timestamp >= q.timestamp",
    "SELECT symbol, close, avg(close) OVER (PARTITION BY symbol ORDER BY open_time ROWS 19 PRECEDING) FROM bars QUALIFY row_number() OVER () < 5",
    "SELECT symbol, count(*) FILTER (WHERE price > 1) FROM trades GROUP BY ALL HAVING count(*) > 1",
    "SELECT * EXCLUDE (receipt), receipt.first_offset FROM bars WHERE timeframe IN ('1m', '5m')",
    "SELECT list_transform([1, 2], lambda x: x + 1), {'a': 1}.a, [3][1], 'A' COLLATE nocase, CASE WHEN true THEN 1 END",
    "SELECT time_bucket(INTERVAL 5 MINUTE, timestamp), arg_max(price, event_time_ns), median(price), quantile_cont(price, 0.9) FROM trades GROUP BY 1",
    "SELECT body->>'$.reason', json_extract(body, '$.from_ns') FROM events", "SELECT * FROM events, json_each(body)",
    "SELECT unnest([1, 2]), i FROM range(3) t(i), generate_series(1, 2)",
    "SELECT now(), current_date, today(), random(), uuid(), CURRENT_TIMESTAMP",
    "SELECT * FROM (PIVOT bars ON timeframe IN ('1m', '5m') USING avg(close) GROUP BY symbol)",
    "SELECT * FROM (SELECT price, size FROM trades) UNPIVOT (v FOR k IN (price, size))",
    "SELECT * FROM trades USING SAMPLE 10",
    "SELECT regexp_extract(symbol, '([A-Z]+)'), strftime(timestamp, '%Y'), printf('%.2f', price) FROM trades",
    "SELECT (SELECT max(price) FROM trades), EXISTS (FROM quotes), price > ALL (SELECT bid FROM quotes) FROM trades",
    "SELECT CAST(price AS DECIMAL(18, 4)), TRY_CAST('a' AS INT), TIMESTAMP '2024-05-01', INTERVAL 1 DAY FROM trades",
    "SELECT COLUMNS('p.*') FROM trades", "SELECT /* 'read_csv' */ 'read_csv(''/etc/passwd'')' AS text",
])  # fmt: skip
def test_a_plain_select_is_let_in(guard: Guard, sql: str) -> None:
    assert guard.check(sql).text.upper().startswith(("SELECT", "FROM", "VALUES", "WITH", "--"))


FILES = [
    "'/etc/passwd'", '"/etc/passwd"', "'x.parquet'", "'s3://bucket/x.parquet'", "'https://example.com/x.csv'",
    "read_csv('/etc/passwd')", "read_csv_auto('/etc/passwd')", "READ_CSV('/etc/passwd')", "sniff_csv('/etc/passwd')",
    "read_text('/etc/passwd')", "read_blob('/etc/passwd')", "read_parquet('x')", "parquet_scan('x')",
    "parquet_metadata('x')", "parquet_schema('x')", "parquet_file_metadata('x')", "parquet_kv_metadata('x')",
    "read_json('x')", "read_json_auto('x')", "read_ndjson('x')", "read_json_objects('x')", "read_duckdb('x')",
    "glob('/etc/*')", "main.read_text('/etc/passwd')", "system.main.read_text('/etc/passwd')", "arrow_scan(1, 2, 3)",
    "pandas_scan(1)", "python_map_function(1)", "seq_scan('trades')", "query('SELECT 1')", "query_table('trades')",
    "json_execute_serialized_sql('{}')", "duckdb_settings()", "duckdb_secrets()", "duckdb_functions()", "duckdb_logs()",
    "duckdb_temporary_files()", "duckdb_extensions()", "duckdb_databases()", "which_secret('s3://x', 's3')",
    "pragma_version()", "pragma_database_size()", "pragma_table_info('trades')", "pragma_show('trades')",
    "checkpoint()", "force_checkpoint()", "summary(trades)", "test_all_types()", "icu_calendar_names()",
    "repeat_row(1, num_rows := 5)", "enable_logging('x')", "register_external_resource('x')",
    "information_schema.tables", "pg_catalog.pg_class", "sqlite_master", "duckdb_tables", "system.main.duckdb_settings",
    "memory.main.trades", "other.trades", "trades_rows", "temp.trades", "tab", "guard", "pg_timezone_names()",
]  # fmt: skip


@pytest.mark.parametrize("source", FILES)
@pytest.mark.parametrize("frame", [
    "SELECT * FROM {}", "SELECT * FROM trades, {}", "SELECT 1 WHERE EXISTS (FROM {})",
    "WITH x AS (SELECT * FROM {}) SELECT * FROM x", "SELECT (SELECT 1 FROM {} LIMIT 1)",
    "SELECT 1 UNION ALL SELECT 1 FROM {}", "SELECT * FROM (PIVOT (FROM {}) ON a USING count(*) GROUP BY b)",
    "SELECT * FROM trades t, LATERAL (SELECT * FROM {} WHERE t.price > 0)",
])  # fmt: skip
def test_nothing_but_the_tables_is_read(guard: Guard, source: str, frame: str) -> None:
    assert_raises(QueryRefused, "", guard.check, frame.format(source))


FUNCTIONS = [
    "getenv('HOME')", "current_setting('temp_directory')", "Current_Setting('temp_directory')", "getvariable('x')",
    "'/etc/passwd'.read_text()", "read_blob('/etc/passwd')", "nextval('s')", "currval('s')", "setseed(0.5)",
    "sleep_ms(100000)", "pg_sleep(1000)", "write_log('x')", "txid_current()", "current_query()", "stats(1)",
    "json_serialize_sql('SELECT 1')", "json_serialize_plan('SELECT 1')", "json_deserialize_sql('{}')",
    "system.main.getenv('HOME')", "main.current_setting('x')", "__internal_barrier(1)", "vector_type(1)",
    "current_database()", "current_schemas(true)", "in_search_path('a', 'b')", "parse_duckdb_log_message('a', 'b')",
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("frame", [
    "SELECT {}", "SELECT price FROM trades WHERE {} IS NOT NULL", "SELECT max(price) FROM trades GROUP BY {}",
    "SELECT price FROM trades ORDER BY {}", "SELECT list_transform([1], lambda x: {})",
    "SELECT count(*) OVER (PARTITION BY {}) FROM trades", "VALUES ({})", "SELECT * FROM range({}::BIGINT)",
    "SELECT 1 LIMIT (SELECT {}::BIGINT)", "SELECT struct_pack(a := {})",
])  # fmt: skip
def test_functions_that_reach_beyond_their_arguments_are_refused(guard: Guard, function: str, frame: str) -> None:
    assert_raises(QueryRefused, "", guard.check, frame.format(function))


STATEMENTS = [
    "", "   ", "-- nothing", ";", "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE trades", "SELECT 1;;SELECT 2",
    "COPY trades TO '/tmp/x.csv'", "COPY (SELECT 1) TO '/tmp/x'", "COPY trades FROM '/etc/passwd'",
    "ATTACH '/tmp/x.db'", "ATTACH 'https://example.com/x.db'", "DETACH memory", "USE memory", "INSTALL httpfs",
    "FORCE INSTALL httpfs", "LOAD httpfs", "LOAD '/tmp/x.duckdb_extension'", "UPDATE EXTENSIONS", "PRAGMA version",
    "PRAGMA database_list", "SET memory_limit = '100GB'", "SET GLOBAL threads = 64", "RESET memory_limit",
    "SET lock_configuration = false", "SET enable_external_access = true", "SET VARIABLE x = 1",
    "EXPORT DATABASE '/tmp/x'", "IMPORT DATABASE '/tmp/x'", "CALL pragma_version()", "CREATE TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT 1", "CREATE SECRET (TYPE s3)", "CREATE MACRO f(x) AS x", "CREATE FUNCTION f(x) AS TABLE FROM x",
    "DROP VIEW trades", "INSERT INTO trades VALUES (1)", "UPDATE trades SET price = 1", "DELETE FROM trades",
    "MERGE INTO trades USING quotes ON true WHEN MATCHED THEN DELETE", "ALTER TABLE trades ADD COLUMN x INT",
    "TRUNCATE trades", "BEGIN", "COMMIT", "VACUUM", "ANALYZE", "CHECKPOINT", "PREPARE x AS SELECT 1", "EXECUTE x",
    "DEALLOCATE x", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT 1", "DESCRIBE trades", "SHOW TABLES", "SUMMARIZE trades",
    "SELECT * FROM (DESCRIBE trades)", "SELECT * FROM (SHOW ALL TABLES)", "SELECT * FROM (SUMMARIZE trades)",
    "PIVOT trades ON symbol USING sum(price)", "SELECT 1 INTO x", "SELECT * INTO OUTFILE '/tmp/x' FROM trades",
    "WITH x AS (INSERT INTO trades VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM trades RETURNING *) SELECT * FROM x",
    "WITH \"/etc/passwd\" AS (SELECT 1) SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM (WITH \"x.csv\" AS (SELECT 1) SELECT 1), \"x.csv\"",
    "WITH a AS (WITH duckdb_tables AS (SELECT 1) SELECT 1) SELECT * FROM duckdb_tables",
    "WITH a AS (WITH sqlite_master AS (SELECT 1) SELECT 1) SELECT sql FROM sqlite_master",
    "WITH a AS (WITH trades_rows AS (SELECT 1) SELECT 1) SELECT * FROM trades_rows",
    "SELECT (WITH duckdb_views AS (SELECT 1) SELECT 1), (SELECT count(*) FROM duckdb_views)",
    "SELECT 1 FROM (WITH pragma_database_list AS (SELECT 1) SELECT 1) UNION ALL SELECT file FROM pragma_database_list",
    "SELECT * FROM trades WHERE EXISTS (WITH duckdb_views AS (SELECT 1) SELECT 1) AND (SELECT count(*) FROM duckdb_views) > 0",
    "WITH a AS (SELECT * FROM duckdb_tables), duckdb_tables AS (SELECT 1) SELECT * FROM a",
    "WITH duckdb_tables AS (SELECT * FROM duckdb_tables) SELECT * FROM duckdb_tables",
    "WITH RECURSIVE sqlite_master AS (SELECT sql FROM sqlite_master UNION ALL SELECT 'x' FROM sqlite_master) FROM sqlite_master",
    "WITH RECURSIVE a AS (SELECT * FROM sqlite_master), sqlite_master AS (SELECT 1) SELECT * FROM a",
    "SELECT ?", "SELECT $1", "SELECT $name", "SELECT * FROM trades WHERE symbol = ?", "nonsense", "SELECT", "SELECT (", "\0",
    "SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "SELECT " + "1+" * 50_000 + "1",
]  # fmt: skip


@pytest.mark.parametrize("sql", STATEMENTS, ids=lambda sql: repr(sql[:40]))
def test_whatever_is_not_one_select_is_refused(guard: Guard, sql: str) -> None:
    assert_raises(QueryRefused, "", guard.check, sql)


def test_a_refusal_shows_duckdbs_caret_or_which_tables_there_are_and_a_long_query_is_not_parsed(guard: Guard) -> None:
    assert_raises(QueryRefused, "longer than 100,000 characters", guard.check, "SELECT '" + "x" * TEXT_MAX + "'")
    with pytest.raises(QueryRefused) as refusal:
        guard.check("SELECT * FORM trades")
    line, caret = str(refusal.value).split("\n")[-2:]
    assert line == "LINE 1: SELECT * FORM trades"
    assert line[caret.index("^") :].startswith(("FORM", "trades"))
    with pytest.raises(QueryRefused, match=r"no table 'trade': the tables are alerts, .* trades; files cannot"):
        guard.check("SELECT * FROM trade")
