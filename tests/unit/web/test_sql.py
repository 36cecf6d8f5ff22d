"""/api/sql and the helper of those who ask, over a real lake, on the real server; and fifty queries that would hurt who
runs them: none hurts the page's server, and it stays served meanwhile."""

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from board_rows import bars, row, served
from board_rows import served as served_client
from lake_store import real_bars, real_trades, store
from marketpulse.app.lock import remove_spill
from marketpulse.errors import Retryable
from marketpulse.ports import SqlCall, SqlReply
from marketpulse.query import pool
from marketpulse.query.pool import ChildPool
from marketpulse.query.views import VIEWS
from marketpulse.settings import ServeSettings, Settings, SqlSettings
from marketpulse.telemetry import SQL_KILLED
from marketpulse.web.board import Board
from marketpulse.web.rest.ask import AskApi
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
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
    assert pq.read_table(io.BytesIO(site.get(q=ROWS, format="parquet").content))["i"].to_pylist() == list(range(10))
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
        assert site.client.request(method, f"/api/sql{path}", headers={"sec-fetch-site": site_of}).status_code == 403


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


FOREVER = "sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
UNSTOPPABLE = "rpad('x', 2000000000, 'y')"  # DuckDB does not look up from it


def nested(before: str, inside: str, after: str, depth: int) -> str:
    return before * depth + inside + after * depth


DOUBLED = ["1 AS x", "'0123456789' AS x"]
for _ in range(40):
    DOUBLED = [f"{to} AS x FROM (SELECT {of})" for of, to in zip(DOUBLED, ["{'a': x, 'b': x}", "x || x"], strict=True)]

LIMIT = [  # 422: one value or list of gigabytes
    "range(0, 2000000000)", "generate_series(1, 2000000000)", UNSTOPPABLE, "lpad('x', 2000000000, 'y')",
    "repeat('x', 2000000000)", "list_resize([1], 2000000000, 0)", "unnest(range(2000000000))", "to_json(range(200000000))",
    "list_transform(range(200000000), lambda x: x * 2)", "map(range(90000000), range(90000000))", "list_sort(range(200000000))",
    "replace(repeat('a', 10000000), 'a', repeat('b', 1000))", "bitstring('1', 2000000000)", "hex(repeat('x', 1500000000))",
    "regexp_replace(repeat('a', 10000000), 'a', repeat('b', 1000), 'g')", "string_split(repeat('a,', 200000000), ',')",
    "levenshtein(repeat('a', 200000), repeat('b', 200000))", "[range(i) FOR i IN range(1000000)]", DOUBLED[0], DOUBLED[1],
    # rows without end
    FOREVER, "max(hash(a.price, b.price, c.price)) FROM trades a, trades b, trades c", "list(i) FROM range(3000000000) t(i)",
    "repeat('x', 1000000) || i FROM range(100000) t(i)", "string_agg(repeat('x', 1000), '') FROM range(100000000)",
    "json_group_array(i) FROM range(1000000000) t(i)", "i, count(*) FROM range(3000000000) t(i) GROUP BY i ORDER BY 2",
    "sum(i) OVER (ORDER BY hash(i)) FROM range(3000000000) t(i)", "i FROM range(3000000000) t(i) ORDER BY hash(i) LIMIT 1",
    "(WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r)",
    "(WITH RECURSIVE r(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r)",
    # texts that take long to parse, or to plan
    nested("(", "1", ")", 49_000), nested("[", "", "]", 49_000), "1+" * 49_000 + "1", "1 WHERE " + "1=1 AND " * 12_000 + "true",
    " UNION ALL SELECT ".join(["1"] * 5_000), "a" + ".a" * 48_000, f"* FROM json_tree('{nested('[', '', ']', 45_000)}')",
    ",".join(f"sum(i) OVER (ORDER BY i + {k})" for k in range(2_500)) + " FROM range(1000) t(i)",
]  # fmt: skip
REFUSED = [  # 400
    "NOT " * 24_000 + "true", nested("CASE WHEN true THEN ", "1", " END", 4_000), nested("* FROM (SELECT ", "1", ")", 5_000),
    "/*" * 49_000, nested("abs(", "1", ")", 19_000), "1" * 100_001, "error(repeat('x', 100000))", "1 " + "JOIN range(1) " * 6_000,
]  # fmt: skip
SMALL = [
    "1" + ";" * 97_000,
    f"1 AS x WHERE 1 IN ({','.join(map(str, range(9_000)))})",
    "'1' LIKE '" + "%a" * 40_000 + "'",
]  # 200


class Page:
    """The page's server, with a client; the processes beside it run its queries."""

    def __init__(self, client: httpx.Client, data_dir: Path, others: list[psutil.Process]) -> None:
        self.client, self.data_dir, self.others = client, data_dir, others
        self.now_s: list[float] = []

    def ask(self, sql: str, **more: Any) -> httpx.Response:
        return self.client.post("/api/sql", json={"sql": f"SELECT {sql}", **more})

    def ask_now(self) -> None:
        begun = time.monotonic()
        assert self.client.get("/api/health").status_code == 200
        self.now_s.append(time.monotonic() - begun)

    @property
    def fork_server(self) -> psutil.Process:
        (process,) = self.processes()
        return process

    def processes(self) -> list[psutil.Process]:
        """The children of this process, but for `others`, which are of other tests."""
        return [child for child in psutil.Process().children() if child not in self.others]

    def spills(self) -> set[int]:
        return {int(path.name.split("-")[1]) for path in self.data_dir.glob("sql-*")}


def killed(why: str) -> float:
    return float(SQL_KILLED.labels(why)._value.get())


@pytest.fixture
def page(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    settings = Settings(data_dir=tmp_path, sql={"memory_limit_mb": 64, **request.param})
    store(settings, "trades", real_trades(), "market")
    others = psutil.Process().children()
    runs = SqlRuns(lambda: ChildPool(settings), settings.sql)
    with served(None, ServeSettings(port=0, requests_per_s=1e6), sql=SqlApi(runs)) as client, closing(runs):
        page = Page(client, tmp_path, others)
        assert page.ask("1 AS x").json()["rows"] == [[1]]
        yield page
        runs.close()
        assert (page.processes(), page.spills()) == ([], set())


@pytest.mark.parametrize("page", [{"timeout_s": 0.6}], indirect=True)
def test_fifty_hostile_queries_leave_the_servers_memory_as_it_is_and_the_page_served(page: Page) -> None:
    before = psutil.Process().memory_info().rss

    def try_one(sql: str, status: int) -> str:
        answer, resident = page.ask(sql), psutil.Process().memory_info().rss
        is_told = answer.status_code == status or (answer.status_code == 422 and "sql." in answer.json()["error"])
        is_as_before = resident < 1.05 * before + 2_000_000
        return "" if is_told and is_as_before else f"{sql[:80]}: {resident:,} bytes, {answer} {answer.text[:200]}"

    with ThreadPoolExecutor(2) as threads:
        hostile = [*((sql, 422) for sql in LIMIT), *((sql, 400) for sql in REFUSED), *((sql, 200) for sql in SMALL)]
        assert len(hostile) == 50
        asked = [threads.submit(try_one, sql, status) for sql, status in hostile]
        while wait(asked, 0.05).not_done:
            page.ask_now()
    assert [said for one in asked if (said := one.result())] == []
    assert page.ask("1 AS x").json()["rows"] == [[1]]
    sys.stdout.write(f"the page was answered {len(page.now_s)} times, within {1_000 * max(page.now_s):.0f} ms\n")


@pytest.mark.parametrize("page", [{"timeout_s": 60, "memory_limit_mb": 4_096}], indirect=True)
def test_what_does_not_look_up_ends_when_it_is_stopped_and_what_it_spilled_is_removed(page: Page) -> None:
    def busy() -> list[psutil.Process]:
        return [child for child in page.fork_server.children() if child.cpu_times().user > 0.5]

    stopped, by_kernel = killed("stopped"), killed("SIGKILL")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(page.ask, UNSTOPPABLE, id="mine")
        (victim,) = wait_until(busy)
        assert page.client.delete("/api/sql/mine").status_code == 200
        assert (asked.result().status_code, asked.result().json()["kind"]) == (409, "cancelled")
        wait_until(lambda: not victim.is_running() and victim.pid not in page.spills())
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{page.client.base_url}api/sql", json={"sql": f"SELECT {UNSTOPPABLE}"}, timeout=2)
        wait_until(lambda: not busy() and killed("stopped") == stopped + 2)
        asked = threads.submit(page.ask, FOREVER)  # the machine lacks memory
        (victim,) = wait_until(busy)
        os.kill(victim.pid, signal.SIGKILL)
        assert (asked.result().status_code, asked.result().json()["kind"]) == (422, "limit")
        assert killed("SIGKILL") == by_kernel + 1


@pytest.mark.parametrize("page", [{"timeout_s": 2}], indirect=True)
def test_a_client_that_does_not_read_is_not_waited_for_and_its_rows_are_not_held(page: Page) -> None:
    unread, before = killed("unread"), psutil.Process().memory_info().rss
    asked = {"sql": "SELECT repeat('x', 100000) FROM range(400)", "format": "arrow"}
    with page.client.stream("POST", "/api/sql", json=asked) as answer:
        assert int(answer.headers["content-length"]) > 40_000_000
        wait_until(lambda: killed("unread") == unread + 1)
        assert psutil.Process().memory_info().rss < before + 10_000_000
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux has it")
@pytest.mark.parametrize("page", [{}], indirect=True)
def test_the_kernel_ends_children_first_and_with_their_fork_server_which_has_one_thread_and_none_is_there_for_ever(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = page.fork_server
    threads = [task.read_text().strip() for task in Path(f"/proc/{server.pid}/task").glob("*/comm")]
    assert [name for name in threads if name != "jemalloc_bg_thd"] == threads[:1]
    wait_until(
        lambda: len(server.children()) == 2 and all(c.rlimit(psutil.RLIMIT_AS)[1] > 0 for c in server.children())
    )
    children = server.children()
    for child in children:
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
        assert child.rlimit(psutil.RLIMIT_AS)[1] < 4 * 10**9
    server.kill()
    wait_until(lambda: not any(child.is_running() for child in children))
    monkeypatch.setattr(pool, "IDLE_S", 0.1)
    assert page.ask("1 AS x").status_code == 200
    wait_until(lambda: not page.processes())
    assert page.ask("2 AS x").status_code == 200
    remove_spill(page.data_dir)  # as the next start does
