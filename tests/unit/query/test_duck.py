"""SQL over a real lake."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lake_store import LakeRows
from marketpulse.catalog import Picture, VisibleFiles
from marketpulse.errors import QueryCancelled, QueryLimit, QueryRefused
from marketpulse.model.tables import TABLES
from marketpulse.query.databases import Databases
from marketpulse.query.duck import LakeQuery
from marketpulse.query.guard import Checked
from marketpulse.query.how import How
from marketpulse.query.meanings import MEANINGS
from marketpulse.query.views import VIEWS
from marketpulse.settings import Settings, SqlSettings
from refused import assert_raises

DAY_NS = 86_400 * 10**9
MAY_1_NS = 19_844 * DAY_NS  # 2024-05-01T00:00:00Z
PRICES = "SELECT price FROM trades"
SUM = "SELECT sum(price) AS s, count(*) AS n FROM trades"
TUTORIAL = (
    "SELECT symbol, date(timestamp) AS trading_day, ROUND(AVG(price), 2) AS avg_daily_price FROM stock_data "
    "GROUP BY symbol, trading_day ORDER BY trading_day DESC"
)


def trade(symbol: str, seconds: float, price: float, size: float = 1.0) -> dict[str, Any]:
    return {"symbol": symbol, "event_time_ns": MAY_1_NS + round(seconds * 1e9), "price": price, "size": size}


@contextmanager
def opened(directory: Path, **sql: Any) -> Iterator[LakeQuery]:
    with closing(LakeQuery(Settings(data_dir=directory, sql=sql))) as query:
        yield query


def test_the_tutorials_query_runs_as_it_stands_over_the_contracts_columns(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("trades", [trade("AAA", 10, 5), trade("AAA", 20, 6), trade("AAA", 86_400, 9), trade("BBB", 1, 1.005)])
    found = query.run(TUTORIAL)
    assert found.column_names == ["symbol", "trading_day", "avg_daily_price"]
    newest, *rows = [tuple(row.values()) for row in found.to_pylist()]
    assert newest == ("AAA", date(2024, 5, 2), 9.0)
    first = date(2024, 5, 1)
    assert sorted(rows) == [("AAA", first, 5.5), ("BBB", first, 1.0)]  # DuckDB rounds 1.005 down
    lake.add("trades", [trade("CCC", 0.000001, 5, 3)])
    found = query.run("SELECT * FROM stock_data WHERE symbol = 'CCC'")
    assert [(f.name, str(f.type)) for f in found.schema] == [
        ("symbol", "string"), ("timestamp", "timestamp[us]"), ("price", "double"), ("volume", "double"), ("kind", "string"),
    ]  # fmt: skip
    rows = [tuple(row.values()) for row in found.to_pylist()]
    assert rows == [("CCC", datetime(2024, 5, 1, 0, 0, 0, 1), 5.0, 3.0, "trade")]


def test_times_are_utc_whatever_the_machines_zone(lake: LakeRows, tmp_path: Path) -> None:
    lake.add("trades", [trade("AAA", 1, 5)])  # one second after midnight UTC: still April 30 in New York
    program = (
        "import sys; from pathlib import Path; from marketpulse.query import LakeQuery, render; "
        "from marketpulse.settings import Settings; query = LakeQuery(Settings(data_dir=Path(sys.argv[1]))); "
        "sys.stdout.buffer.write(render(query.run('SELECT timestamp, date(timestamp) AS d, "
        "timestamp::TIMESTAMPTZ AS z, extract(hour FROM now()) AS h FROM stock_data'), 'csv'))"
    )
    before, command = datetime.now(UTC).hour, [sys.executable, "-c", program, str(tmp_path)]
    zones = [{**os.environ, "TZ": zone} for zone in ("America/New_York", "Asia/Kolkata")]
    asked = [subprocess.Popen(command, env=zone, stdout=subprocess.PIPE, text=True) for zone in zones]
    answers = [process.communicate(timeout=240)[0] for process in asked]
    hours = {before, datetime.now(UTC).hour}
    for answer in answers:
        head, row = answer.splitlines()
        assert head == "timestamp,d,z,h"
        assert row.rpartition(",")[0] == "2024-05-01 00:00:01,2024-05-01,2024-05-01 00:00:01Z"
        assert int(row.rpartition(",")[2]) in hours
    assert [process.returncode for process in asked] == [0, 0]


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_an_empty_lake_has_every_view_with_its_columns_and_no_rows(query: LakeQuery, view: str) -> None:
    rows = query.run(f"SELECT * FROM {view}")  # noqa: S608  (one of VIEWS)
    assert rows.num_rows == 0
    if view in TABLES:
        assert set(TABLES[view][1].names) <= set(rows.column_names)
    assert set(MEANINGS) == set(VIEWS), "and every view has a meaning"


def test_only_committed_files_are_seen_new_ones_at_once_and_removed_ones_not(lake: LakeRows, query: LakeQuery) -> None:
    old = [path for n in range(3) for path in lake.add("trades", [trade("AAA", n, n + 1)])]
    Path(old[0]).with_name("another.parquet").write_bytes(Path(old[0]).read_bytes())
    assert query.run(SUM).to_pylist() == [{"s": 6.0, "n": 3}]
    lake.merge("trades")
    assert not any(Path(path).exists() for path in old)
    assert query.run(SUM).to_pylist() == [{"s": 6.0, "n": 3}]
    [gone] = lake.add("trades", [trade("AAA", 9, 50)])
    Path(gone).unlink()  # by hand
    assert query.run(SUM).to_pylist() == [{"s": 6.0, "n": 3}]


def test_nothing_of_a_query_is_left_for_the_next(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("trades", [trade("AAA", 1, 5)])
    [(_, waiting)] = query._databases._waiting if query.run(PRICES).num_rows else []
    with waiting.root.cursor() as connection:
        connection.execute("BEGIN TRANSACTION READ ONLY")
        assert_raises(duckdb.Error, "read-only", connection.execute, "CREATE TABLE left_behind AS SELECT 1 AS a")
    assert [query.run(sql).num_rows for sql in (PRICES + " WHERE symbol = 'BBB'", PRICES)] == [0, 1]
    assert_raises(QueryRefused, "", query.run, "SELECT * FROM left_behind")


def test_it_knows_how_old_its_picture_is(lake: LakeRows, query: LakeQuery) -> None:
    assert query.answer("SELECT * FROM trades").committed_ms is None
    before = time.time_ns() // 1_000_000
    lake.add("trades", [trade("AAA", 1, 5)])
    committed_ms = query.answer("SELECT * FROM stock_data").committed_ms
    assert committed_ms is not None
    assert before <= committed_ms <= time.time_ns() // 1_000_000


def test_a_mistake_shows_where_it_is_and_a_value_that_cannot_be_converted_too(lake: LakeRows, query: LakeQuery) -> None:
    with pytest.raises(QueryRefused) as refusal:
        query.run("SELECT prize FROM trades")
    assert 'column "prize" not found' in str(refusal.value)
    line, caret = str(refusal.value).split("\n")[-2:]
    assert line[caret.index("^") : caret.rindex("^") + 1] == "prize"
    lake.add("trades", [trade("AAA", 1, 5)])
    assert_raises(QueryRefused, "Conversion Error", query.run, "SELECT CAST(symbol AS INT) FROM trades")


def test_queries_may_overlap_and_a_limit_ends_one_that_would_not(lake: LakeRows, query: LakeQuery) -> None:
    lake.add("trades", [trade("AAA", n, n) for n in range(1_000)])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: query.run("SELECT sum(price) AS s FROM trades").to_pylist(), range(8)))
    assert answers == [[{"s": 499_500.0}]] * 8
    assert query.run(STREAMING, How(limit=7)).num_rows == 7


def test_a_directory_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "what's #this? 100%, [a] lake"
    LakeRows(Settings(data_dir=folder)).add("trades", [trade("AAA", 1, 5)])
    with opened(folder) as query:
        assert query.run(PRICES).to_pylist() == [{"price": 5.0}]


def test_what_it_spills_is_gone_when_it_is_closed(tmp_path: Path) -> None:
    with opened(tmp_path, memory_limit_mb=64) as query:
        query.run("SELECT count(*) AS n FROM (SELECT DISTINCT md5(i::VARCHAR) FROM range(1000000) t(i))")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_indicator_columns_are_joined_by_name(lake: LakeRows, query: LakeQuery) -> None:
    times_ns = {"open_time_ns": MAY_1_NS, "close_time_ns": MAY_1_NS + 60 * 10**9}
    row = {"symbol": "AAA", "timeframe": "1m", **times_ns, "close": 1.0}
    lake.add("indicators", [{**row, "sma_20": 1.5}], columns=("sma_20",))
    lake.add("indicators", [{**row, "ema_12": 2.5}], columns=("ema_12",))
    rows = query.run("SELECT sma_20, ema_12, open_time, close_time FROM indicators ORDER BY sma_20 NULLS LAST")
    times = {"open_time": datetime(2024, 5, 1), "close_time": datetime(2024, 5, 1, 0, 1)}
    assert rows.to_pylist() == [{"sma_20": 1.5, "ema_12": None, **times}, {"sma_20": None, "ema_12": 2.5, **times}]


ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
STREAMING = "SELECT i, i * 2 FROM range(10000000000) t(i)"


@pytest.mark.parametrize(("sql", "limits", "said"), [
    pytest.param(ENDLESS, {"timeout_s": 0.2}, r"took longer than 0\.2 s: narrow it, or raise sql\.timeout_s", id="time"),
    pytest.param("SELECT i, i AS j, i AS k FROM range(100000000) t(i)", {}, "larger than 64 MB: add LIMIT", id="result"),
    pytest.param("SELECT string_agg(i::VARCHAR || repeat('x', 1000), '') FROM range(10000000) t(i)", {}, r"more than 64 MB.*sql\.memory_limit_mb", id="memory"),
])  # fmt: skip
def test_a_query_beyond_a_limit_says_which(tmp_path: Path, sql: str, limits: dict[str, float], said: str) -> None:
    begun = time.monotonic()
    with opened(tmp_path, memory_limit_mb=64, **limits) as query, pytest.raises(QueryLimit, match=said):
        query.run(sql)
    assert not limits or time.monotonic() - begun < 20


ATTACKS = """SELECT * FROM read_csv('OUTSIDE') | SELECT * FROM 'OUTSIDE' | SELECT * FROM read_text('OUTSIDE')
SELECT * FROM read_parquet('EXPIRED') | SELECT * FROM 'EXPIRED' | SELECT * FROM read_text('METADATA')
SELECT * FROM read_blob('CATALOGUE') | COPY (SELECT 1 AS a) TO 'EXPIRED' | COPY (SELECT 1 AS a) TO 'SEEN'
SELECT * FROM glob('HERE/*') | COPY trades TO 'HERE/out.csv' | ATTACH 'HERE/x.db' | EXPORT DATABASE 'HERE/x'
INSTALL httpfs | LOAD httpfs | SELECT * FROM 'https://example.com/x.csv' | SET enable_external_access = true
SET lock_configuration = false | SET memory_limit = '100GB' | SET python_enable_replacements = true
SELECT * FROM variable | CREATE PERSISTENT SECRET (TYPE http)"""


def test_the_second_wall_stands_without_the_first(
    lake: LakeRows, query: LakeQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = lake.add("trades", [trade("AAA", 1, 5)])
    metadata = next(lake.root.rglob("*.metadata.json"))
    expired, outside = Path(path).with_name("expired.parquet"), tmp_path / "secret.csv"
    expired.write_bytes(Path(path).read_bytes())
    outside.write_text("a\n1\n")
    monkeypatch.setattr(query._guard, "check", lambda sql: Checked(sql, []))
    assert query.run(PRICES).num_rows == 1
    variable = pa.table({"a": [1]})  # a Python variable must not be a table
    assert variable.num_rows == 1
    places = {
        "OUTSIDE": outside, "EXPIRED": expired, "CATALOGUE": lake.root / "catalog.db", "METADATA": metadata,
        "SEEN": path, "HERE": tmp_path,
    }  # fmt: skip
    attacks = [attack.strip() for line in ATTACKS.splitlines() for attack in line.split(" | ")]
    assert len(attacks) == 22
    for attack in attacks:
        for name, place in places.items():
            attack = attack.replace(name, str(place))
        assert_raises(QueryRefused, "", query.run, attack)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("sql-")) == ["lake", "secret.csv"]


def test_a_query_outlives_a_compaction(lake: LakeRows, query: LakeQuery, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        lake.add("trades", [trade("AAA", n, n + 1)])
    read, calls = VisibleFiles.read, threading.Semaphore(1)

    def read_then_compact(files: VisibleFiles, tables: Any) -> dict[str, Picture]:
        pictures = read(files, tables)
        if files is query._files and calls.acquire(blocking=False):  # the files that the first picture names go away
            lake.merge("trades")
        return pictures

    monkeypatch.setattr(VisibleFiles, "read", read_then_compact)
    assert query.run(SUM).to_pylist() == [{"s": 6.0, "n": 3}]
    assert not calls.acquire(blocking=False)


@pytest.mark.parametrize("sql", [ENDLESS, STREAMING + " ORDER BY 2 DESC", STREAMING])
@pytest.mark.parametrize("after_s", [0, 0.3])
def test_a_query_that_is_cancelled_stops_and_the_next_one_runs(query: LakeQuery, sql: str, after_s: float) -> None:
    cancelled = threading.Event()
    timer = threading.Timer(after_s, cancelled.set)
    begun = time.monotonic()
    timer.start()
    with pytest.raises((QueryCancelled, QueryLimit)) as stopped:
        query.run(sql, How(cancelled))
    timer.cancel()
    if isinstance(stopped.value, QueryLimit):
        assert "larger than" in str(stopped.value)  # the streaming one may have filled its memory first
    assert time.monotonic() - begun < 60
    cancelled.set()
    assert_raises(QueryCancelled, "", query.run, "SELECT 1", How(cancelled))
    assert query.run("SELECT 1 AS x").to_pylist() == [{"x": 1}]


@pytest.mark.parametrize(("skip", "limit"), [(0, 0), (0, 5), (3, 4), (9, 5), (20, 5), (0, None), (4, None), (20, None)])
@pytest.mark.parametrize("size", [1, 3, 10, 50])
def test_wanted_rows_are_a_slice_however_the_rows_come(skip: int, limit: int | None, size: int) -> None:
    rows = list(range(10))
    batches = [pa.record_batch({"i": rows[at : at + size]}) for at in range(0, 10, size)]
    found = [i for batch in How(skip=skip, limit=limit).wanted(iter(batches)) for i in batch["i"].to_pylist()]
    assert found == rows[skip:][:limit]


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    with closing(Databases(SqlSettings(), tmp_path)) as opened:
        yield opened


def test_the_same_snapshots_share_a_database_not_at_once_nor_after_a_failure_and_few_wait(databases: Databases) -> None:
    made = []
    for version in (1, 1, 2):
        with databases.lent(("trades", version), []) as (database, _):
            made.append(database)
    assert made[1] is made[0]
    assert made[2] is not made[0]
    with databases.lent("same", []) as (first, _), databases.lent("same", []) as (second, _):
        assert first is not second
    with pytest.raises(duckdb.ParserException), databases.lent("other", []) as (failed, connection):
        connection.execute("SELEC")
    with databases.lent("other", []) as (next_one, _):
        assert next_one is not failed
    made = []
    for number in range(6):
        with databases.lent(number, []) as (database, _):
            made.append(database)
    for closed in made[:2]:
        assert_raises(duckdb.ConnectionException, "", closed.root.execute, "SELECT 1")
    assert made[-1].root.execute("SELECT 1").fetchall() == [(1,)]
