import pytest

from marketpulse.query.dialect import looks_foreign, written_in


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT symbol, date(timestamp) AS d FROM stock_data GROUP BY d", "FROM trades", "SELECT 1",
        "SELECT time_bucket(INTERVAL 5 MINUTE, timestamp), arg_max(price, event_time_ns) FROM trades GROUP BY ALL",
        "SELECT max_by(price, event_time_ns) FROM trades", "SELECT unnest([1, 2])", "SELECT list_transform([1], lambda x: x + 1)",
        "SELECT * FROM trades t ASOF JOIN quotes q ON t.timestamp >= q.timestamp", "DROP TABLE trades", "SELECT struct_pack(a := 1)",
        "SELECT row_number() OVER (), sum(x) FILTER (x > 1), grouping(x) FROM range(3) t(x) GROUP BY CUBE (x)", "SELECT coalesce(1, 2), row(1, 2)",
        "SELECT date_add(DATE '2024-05-01', INTERVAL 1 DAY)", "SELECT symbol[1:2], price::INT, {'a': 1}.a FROM trades",
    ],
)  # fmt: skip
def test_what_duckdb_understands_is_its_own(sql: str) -> None:
    assert written_in(sql) == "duckdb"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT date_parse('2024-05-01', '%Y-%m-%d')", "SELECT approx_percentile(price, 0.5) FROM trades", "SELECT from_unixtime(1)",
        "SELECT date_add('day', 1, timestamp) FROM trades", "SELECT * FROM UNNEST(sequence(1, 5)) AS t(x)",
        "SELECT regexp_like(symbol, 'A') FROM trades", "SELECT date_format(timestamp, '%Y') FROM trades",
        "SELECT transform(ARRAY[1], x -> x + 1), json_extract_scalar(body, '$.a') FROM events", "SELECT 1 +",
    ],
)  # fmt: skip
def test_a_function_that_duckdb_lacks_makes_it_athenas(sql: str) -> None:
    assert written_in(sql) == "athena"


def test_arguments_that_fit_no_function_may_be_anothers() -> None:
    assert looks_foreign("Binder Error: No function matches the given name and argument types 'cardinality(INTEGER[])'")
    assert looks_foreign("Catalog Error: Scalar Function with name x does not exist!")
    assert not looks_foreign('Binder Error: Referenced column "prize" not found in FROM clause!')
