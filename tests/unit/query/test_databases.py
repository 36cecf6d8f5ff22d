"""Databases wait for the next query over the same snapshots, and are what the last query left."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lake_rows import LakeRows
from marketpulse.errors import QueryRefused
from marketpulse.query.databases import Databases
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import Settings, SqlSettings


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    opened = Databases(SqlSettings(), tmp_path)
    yield opened
    opened.close()


def test_the_same_snapshots_are_answered_by_the_same_database(databases: Databases) -> None:
    with databases.lent(("trades", 1), []) as (first, _):
        pass
    with databases.lent(("trades", 1), []) as (second, _):
        pass
    with databases.lent(("trades", 2), []) as (other, _):
        pass
    assert second is first
    assert other is not first


def test_two_queries_at_once_have_a_database_each(databases: Databases) -> None:
    with databases.lent("same", []) as (first, _), databases.lent("same", []) as (second, _):
        assert first is not second


def test_one_whose_query_failed_is_not_used_again(databases: Databases) -> None:
    with pytest.raises(duckdb.ParserException), databases.lent("same", []) as (failed, connection):
        connection.execute("SELEC")
    with databases.lent("same", []) as (next_one, _):
        assert next_one is not failed


def test_few_wait_and_the_others_are_closed(databases: Databases) -> None:
    made = []
    for number in range(6):
        with databases.lent(number, []) as (database, _):
            made.append(database)
    for closed in made[:2]:
        with pytest.raises(duckdb.ConnectionException):
            closed.root.execute("SELECT 1")
    assert made[-1].root.execute("SELECT 1").fetchall() == [(1,)]


def test_nothing_of_a_query_is_left_for_the_next(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    LakeRows(settings).add("trades", [{"symbol": "AAA", "event_time_ns": 1, "price": 5.0, "size": 1.0}])
    query = LakeQuery(settings)
    [(_, waiting)] = query._databases._waiting if query.run("SELECT price FROM trades").num_rows else []
    with waiting.root.cursor() as connection:
        connection.execute("BEGIN TRANSACTION READ ONLY")
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("CREATE TABLE left_behind AS SELECT 1 AS a")
    assert query.run("SELECT price FROM trades WHERE symbol = 'BBB'").num_rows == 0
    assert query.run("SELECT price FROM trades").num_rows == 1
    with pytest.raises(QueryRefused):
        query.run("SELECT * FROM left_behind")
    query.close()
