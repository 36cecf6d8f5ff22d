"""/api/sql and the helper of those who ask, over a real lake, on the real server."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from board_rows import bars, row
from marketpulse.errors import Retryable
from marketpulse.ports import SqlCall, SqlReply
from marketpulse.query.pool import ChildPool
from marketpulse.query.views import VIEWS
from marketpulse.settings import Settings, SqlSettings
from marketpulse.web.board import Board
from marketpulse.web.rest.ask import AskApi
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
from real_rows import real_bars, real_trades, store
from served_app import served as served_client
from waiting import wait_until

ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
ROWS = "SELECT i, i * 2 AS twice FROM range(10) t(i) ORDER BY i"
JSON = {"content-type": "application/json"}


class Site:
    """A client of the server with /api/sql, over a lake with real trades."""

    def __init__(self, settings: Settings, client: httpx.Client) -> None:
        self.settings, self.client = settings, client

    def get(self, accept: str = "*/*", etag: str = "", **options: Any) -> httpx.Response:
        headers = {"accept": accept} | ({"if-none-match": etag} if etag else {})
        return self.client.get("/api/sql", params=options, headers=headers)

    def explain(self, **asked: Any) -> httpx.Response:
        return self.client.post("/api/sql/explain", json=asked)

    def running(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/api/sql/running").json()["queries"]
        return found

    def wait_until(self, count: int) -> None:
        wait_until(lambda: len(self.running()) == count, within_s=30)


@contextmanager
def opened(folder: Path, **sql: Any) -> Iterator[Site]:
    settings = Settings(data_dir=folder, sql=sql)
    store(settings, "trades", real_trades(), "market")
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(5))))
    runs = SqlRuns(lambda: ChildPool(settings), settings.sql)
    with served_client(board, sql=SqlApi(runs), routers=[AskApi(runs).router()]) as client, closing(runs):
        yield Site(settings, client)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("sql"), timeout_s=50, rows_max=100) as site:
        store(site.settings, "bars", real_bars(), "bars")
        yield site


def test_rows_come_with_their_columns_types_and_dialect_and_a_mistake_with_its_line_and_column(site: Site) -> None:
    answer = site.get(
        q="SELECT symbol, count(*) AS n, max(timestamp) AS t FROM stock_data WHERE kind = 'trade' GROUP BY symbol"
    )
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert body["columns"] == [
        {"name": "symbol", "type": "string"}, {"name": "n", "type": "int64"}, {"name": "t", "type": "timestamp[us]"},
    ]  # fmt: skip
    assert body["rows"] == [["SPY", 1_564, "2020-12-18 21:00:00"]]
    assert (body["row_count"], body["more"], body["dialect"]) == (1, False, "duckdb")
    athenas = site.get(q="SELECT 7/2 AS a", dialect="athena").json()
    assert (athenas["rows"], athenas["dialect"]) == ([[3]], "athena")
    answer = site.get(q="SELECT symbol,\n  prize\nFROM trades")
    body = answer.json()
    assert (answer.status_code, body["line"], body["column"], body["kind"]) == (400, 2, 3, "refused")
    assert 'Referenced column "prize" not found' in body["error"]


@pytest.mark.parametrize(("accept", "form"), [
    ("text/csv", None), ("application/json", "csv"), ("text/html, text/csv;q=0.5, */*;q=0.1", None),
])  # fmt: skip
def test_the_form_is_what_is_accepted_and_format_goes_before(site: Site, accept: str, form: str | None) -> None:
    answer = site.get(accept, q=ROWS, limit=2, **({} if form is None else {"format": form}))
    assert (answer.text, answer.headers["content-type"]) == ("i,twice\n0,0\n1,2\n", "text/csv; charset=utf-8")
    assert (answer.headers["x-row-count"], answer.headers["x-more-rows"]) == ("2", "true")


def test_arrow_and_parquet_are_read_by_their_own_readers_and_pages_follow_each_other_by_their_link(site: Site) -> None:
    arrow = site.get("application/vnd.apache.arrow.stream", q=ROWS)
    assert pa.ipc.open_stream(arrow.content).read_all()["twice"].to_pylist() == list(range(0, 20, 2))
    parquet = site.get(q=ROWS, format="parquet")
    assert pq.read_table(io.BytesIO(parquet.content))["i"].to_pylist() == list(range(10))
    assert site.get(q=ROWS, format="objects", limit=1).json() == [{"i": 0, "twice": 0}]
    seen: list[int] = []
    address: str | None = "/api/sql?q=" + ROWS.replace(" ", "%20").replace("*", "%2A") + "&limit=4"
    while address is not None:
        answer = site.client.get(address)
        seen += [r[0] for r in answer.json()["rows"]]
        address = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == list(range(10))


def test_a_query_is_posted_as_json_or_as_it_stands_and_the_library_is_listed(site: Site) -> None:
    def posted(body: dict[str, Any]) -> Any:
        return site.client.post("/api/sql", json=body).json()["rows"]

    assert posted({"sql": ROWS, "limit": 1, "offset": 3}) == [[3, 6]]
    plain = site.client.post("/api/sql?limit=1", content=ROWS, headers={"content-type": "application/sql"})
    assert plain.json()["rows"] == [[0, 0]]
    named = posted({"named": "daily_average", "params": {"days": 2}})
    assert [r[1] for r in named] == ["2020-12-18", "2020-12-17"]
    assert site.client.get("/api/sql?named=daily_average&param.days=2").json()["rows"] == named
    queries = site.client.get("/api/sql/named").json()["queries"]
    assert (len(queries), {"name", "title", "meaning", "sql", "parameters"}) == (10, set(queries[0]))


@pytest.mark.parametrize("options", [
    {}, {"q": ""}, {"q": "SELECT 1", "named": "gainers"}, {"named": "nothing"}, {"q": "SELECT 1", "limit": "-1"},
    {"q": "SELECT 1", "limit": "101"}, {"q": "SELECT 1", "limit": "x"}, {"q": "SELECT 1", "offset": "1e3"},
    {"q": "SELECT 1", "format": "xml"}, {"q": "SELECT 1", "dialect": "mysql"}, {"q": "SELECT 1", "id": "a b"},
    {"q": "SELECT 1", "unknown": "1"}, {"q": "SELECT 1", "param.days": "1"}, {"named": "gainers", "param.days": "x"},
    {"q": "SELECT * FROM read_csv('/etc/passwd')"}, {"q": "ATTACH '/tmp/x.db'"}, {"q": "COPY trades TO '/tmp/x'"},
    {"q": "SELECT 1; DROP TABLE trades"}, {"q": "PRAGMA version"}, {"q": "SELECT getenv('HOME')"},
    {"q": "SELECT * FROM '/etc/passwd'"}, {"q": "SELECT getenv('HOME')", "dialect": "athena"}, {"q": "EXPLAIN SELECT 1"},
    {"q": "SELECT * FROM duckdb_secrets()"},
])  # fmt: skip
def test_what_is_wrong_or_reaches_further_is_refused(site: Site, options: dict[str, str]) -> None:
    answer = site.get(**options)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


@pytest.mark.parametrize("body", ["[1]", "{", '"x"', '{"sql": 5}', '{"sql": "SELECT 1", "params": [1]}', '{"sql": "SELECT 1", "limit": true}', '{"sql": "SELECT 1", "format": ["csv"]}'])  # fmt: skip
def test_a_body_that_is_not_a_question_or_without_end_is_refused(site: Site, body: str) -> None:
    assert site.client.post("/api/sql", content=body, headers=JSON).status_code == 400
    assert site.client.post("/api/sql", content="SELECT " + "1," * 200_000 + "1").status_code == 400


def test_an_answer_that_is_known_is_not_computed_again_and_new_rows_make_a_new_one(tmp_path: Path) -> None:
    count = {"q": "SELECT count(*) FROM trades"}
    with opened(tmp_path) as own:
        etag = own.get(q=ROWS).headers["etag"]
        again = own.get(q=ROWS, etag=etag)
        assert (again.status_code, again.content, own.get(q=ROWS, limit=3, etag=etag).status_code) == (304, b"", 200)
        assert "etag" not in own.get(q="SELECT now() AS t").headers
        first = own.get(**count)
        store(own.settings, "trades", real_trades(), "market", partition=1)
        second = own.get(etag=first.headers["etag"], **count)
        assert (first.json()["rows"], second.json()["rows"]) == ([[1_564]], [[3_128]])


def test_delete_stops_a_query_and_so_does_a_client_that_goes_away(site: Site) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(site.get, q=ENDLESS, id="mine")
        site.wait_until(1)
        assert (site.running()[0]["id"], site.get(q="SELECT 1", id="mine").status_code) == ("mine", 409)
        assert site.client.delete("/api/sql/mine").json() == {"stopped": "mine"}
        answer = asked.result(30)
    assert (answer.status_code, answer.json()["kind"]) == (409, "cancelled")
    assert site.client.delete("/api/sql/mine").status_code == 404
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{site.client.base_url}api/sql", params={"q": ENDLESS}, timeout=1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{site.client.base_url}api/sql/explain", json={"sql": ENDLESS}, timeout=1)
    site.wait_until(0)


def test_more_than_run_and_wait_are_told_to_come_again_and_pages_stay_served(tmp_path: Path) -> None:
    with opened(tmp_path, at_once=1, waiting=1) as own, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(own.get, q=ENDLESS, id=f"q{i}") for i in range(2)]
        own.wait_until(2)
        assert sorted(one["state"] for one in own.running()) == ["running", "waiting"]
        busy = own.get(q="SELECT 1")
        assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
        assert "1 queries run and 1 wait: try again" in busy.json()["error"]
        # The loop is free: a page's own questions are answered while both keep the threads.
        assert (own.client.get("/api/symbols").json()["symbols"][0]["symbol"], len(own.running())) == ("AAPL", 2)
        waiting = next(one["id"] for one in own.running() if one["state"] == "waiting")
        own.client.delete(f"/api/sql/{waiting}")
        own.wait_until(1)
        own.client.delete(f"/api/sql/{own.running()[0]['id']}")
        assert [done.result(30).status_code for done in asked] == [409, 409]
        assert own.get(q="SELECT 1 AS x").json()["rows"] == [[1]]


def test_a_query_that_needs_too_much_is_told_which_setting_and_a_stop_ends_what_runs(tmp_path: Path) -> None:
    with opened(tmp_path, timeout_s=0.3, memory_limit_mb=64) as own:
        late = own.get(q=ENDLESS)
        assert (late.status_code, late.json()["kind"]) == (422, "limit")
        assert "raise sql.timeout_s" in late.json()["error"]
    with ThreadPoolExecutor(1) as pool:
        with opened(tmp_path) as own:
            asked = pool.submit(httpx.get, f"{own.client.base_url}api/sql", params={"q": ENDLESS}, timeout=60)
            own.wait_until(1)
            begun = time.monotonic()
        assert time.monotonic() - begun < 20
        assert asked.exception(30) is not None or asked.result().status_code == 409


# Who asks is told of the tables, and how a query would run.


def test_every_view_is_told_with_columns_types_and_limits_and_a_plan_with_the_files_it_leaves(site: Site) -> None:
    body = site.client.get("/api/sql/schema").json()
    tables = {table["name"]: table for table in body["tables"]}
    assert set(tables) == set(VIEWS)
    assert tables["stock_data"]["columns"] == [
        {"name": "symbol", "type": "string"}, {"name": "timestamp", "type": "timestamp[us]"},
        {"name": "price", "type": "double"}, {"name": "volume", "type": "double"}, {"name": "kind", "type": "string"},
    ]  # fmt: skip
    assert all(table["meaning"].endswith(".") for table in body["tables"])
    assert [body["limits"][name] for name in ("timeout_s", "rows_max", "at_once")] == [50, 100, 2]
    body = site.explain(sql="SELECT count(*) FROM bars WHERE symbol = 'AAPL'").json()
    (scan,) = [scan for scan in body["scans"] if scan["table"] == "bars"]
    assert 1 <= scan["files"] < scan["files_in_all"]
    assert ("(symbol = 'AAPL')" in scan["condition"], body["dialect"]) == (True, "duckdb")
    assert body["plan"].startswith("ungrouped aggregate (1 row")
    named = site.explain(named="losers", params={"days": 90, "symbol": "KO"}).json()
    assert (named["dialect"], "90 * 86400000000000" in named["sql"]) == ("athena", True)
    mistake = site.explain(sql="SELECT close,\n  prize FROM bars")
    assert (mistake.status_code, mistake.json()["line"], mistake.json()["column"]) == (400, 2, 3)


@pytest.mark.parametrize("body", [
    "", "[]", "{", '{"sql": ""}', '{"sql": "SELECT 1", "named": "losers"}', '{"sql": 1}', '{"more": 1}', '{"named": "no"}',
    '{"sql": "SELECT 1", "dialect": "mysql"}', '{"sql": "DROP TABLE bars"}',
])  # fmt: skip
def test_what_is_no_question_is_refused_in_words(site: Site, body: str) -> None:
    answer = site.client.post("/api/sql/explain", content=body)
    assert (answer.status_code, answer.json()["kind"]) == (400, "refused")
    assert len(answer.json()["error"]) > 20


@pytest.mark.parametrize("site_of", ["cross-site", "same-site"])
def test_another_sites_page_makes_nothing_run(site: Site, site_of: str) -> None:
    routes = [("DELETE", "/x"), ("POST", "/explain")]
    routes += [("GET", path) for path in ("?q=SELECT%201", "/running", "/named", "/schema")]
    for method, path in routes:
        answer = site.client.request(method, f"/api/sql{path}", headers={"sec-fetch-site": site_of})
        assert answer.status_code == 403


class Away:
    """A pool whose lake does not answer."""

    async def ask(self, call: SqlCall) -> SqlReply:  # noqa: ARG002
        raise Retryable("the lake does not answer")

    def close(self) -> None: ...


def test_a_store_that_is_away_is_another_try() -> None:
    runs = SqlRuns(Away, SqlSettings())
    with served_client(sql=SqlApi(runs), routers=[AskApi(runs).router()]) as client:
        schema, plan = client.get("/api/sql/schema"), client.post("/api/sql/explain", json={"sql": "SELECT 1"})
        for answer in (schema, plan, client.get("/api/sql?q=SELECT%201")):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (answer.json()["error"], answer.json()["kind"]) == ("the lake does not answer", "away")
