"""DuckDB's SQL for Athena. That Athena's engine takes it is proved in tests/trino."""

import pytest
import sqlglot

from athena_queries import FROM_DUCKDB
from marketpulse.errors import QueryRefused
from marketpulse.query.to_athena import to_athena
from marketpulse.query.view_columns import view_columns


def sent(sql: str) -> str:
    return " ".join(to_athena(sql, view_columns()).split())


@pytest.mark.parametrize("duckdb", [sql for sql, _ in FROM_DUCKDB])
def test_what_is_sent_is_read_as_athenas(duckdb: str) -> None:
    assert sqlglot.parse_one(to_athena(duckdb, view_columns()), read="athena") is not None


@pytest.mark.parametrize(
    ("duckdb", "athena"),
    [
        (
            "SELECT date(timestamp) AS d, avg(price) AS p FROM stock_data GROUP BY d HAVING p > 1 ORDER BY d",
            (
                "SELECT DATE(timestamp) AS d, AVG(price) AS p FROM stock_data GROUP BY DATE(timestamp) "
                "HAVING AVG(price) > 1 ORDER BY d"
            ),
        ),
        # A column of the table goes before a name of the list, as in DuckDB.
        (
            "SELECT date_trunc('day', timestamp) AS timestamp, count(*) FROM trades GROUP BY timestamp",
            "SELECT DATE_TRUNC('DAY', timestamp) AS timestamp, COUNT(*) FROM trades GROUP BY timestamp",
        ),
        ("SELECT symbol, count(*) FROM trades GROUP BY ALL", "SELECT symbol, COUNT(*) FROM trades GROUP BY 1"),
        ("SELECT price AS p FROM trades ORDER BY ALL DESC", "SELECT price AS p FROM trades ORDER BY 1 DESC"),
        ("SELECT count(*) FROM trades GROUP BY ALL", "SELECT COUNT(*) FROM trades"),
        ("SELECT 7 // 2, 7 / 2", "SELECT 7 / 2, CAST(7 AS DOUBLE) / 2"),
        ("SELECT timestamp::TIMESTAMP FROM trades", "SELECT CAST(timestamp AS TIMESTAMP(6)) FROM trades"),
        ("SELECT median(price) FROM trades", "SELECT APPROX_PERCENTILE(price, 0.5) FROM trades"),
        (
            "SELECT price FROM trades WHERE price IN (SELECT max(price) AS m FROM trades GROUP BY symbol HAVING m > 1)",
            (
                "SELECT price FROM trades WHERE price IN (SELECT MAX(price) AS m FROM trades GROUP BY symbol "
                "HAVING MAX(price) > 1)"
            ),
        ),
    ],
)
def test_what_athena_lacks_is_spelt_out(duckdb: str, athena: str) -> None:
    assert sent(duckdb).replace("( ", "(").replace(" )", ")") == athena


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * EXCLUDE (price) FROM trades", "SELECT * REPLACE (1 AS price) FROM trades", "SELECT COLUMNS('p.*') FROM trades",
        "SELECT * FROM trades t ASOF JOIN quotes q ON t.timestamp >= q.timestamp", "SELECT * FROM trades SEMI JOIN quotes USING (symbol)",
        "SELECT * FROM trades POSITIONAL JOIN quotes", "SELECT * FROM trades USING SAMPLE 10",
        "SELECT * FROM (PIVOT bars ON timeframe IN ('1m') USING max(close) GROUP BY symbol)",
        "SELECT time_bucket(INTERVAL 7 MINUTE, timestamp) FROM trades", "SELECT time_bucket(INTERVAL 1 MONTH, timestamp) FROM trades",
        "SELECT max(price, 3) FROM trades", "SELECT * FROM indicators QUALIFY row_number() OVER () = 1",
        "SELECT symbol FROM bars QUALIFY row_number() OVER (ORDER BY close) = 1 ORDER BY close",
        "DROP TABLE trades", "SELECT 1; SELECT 2",
    ],
)  # fmt: skip
def test_what_athena_has_no_word_for_is_refused_before_it_costs_anything(sql: str) -> None:
    with pytest.raises(QueryRefused):
        sent(sql)
