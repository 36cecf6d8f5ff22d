"""/api/sql over a real lake, on the real server."""

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from board_rows import bars, row
from marketpulse.errors import Retryable
from marketpulse.ports import SqlAnswer, SqlQuestion
from marketpulse.query.desk import LakeDesk
from marketpulse.settings import ServeSettings, Settings, SqlSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi
from real_rows import real_trades, store

ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
ROWS = "SELECT i, i * 2 AS twice FROM range(10) t(i) ORDER BY i"


class Served:
    """The server with /api/sql, over a lake with real trades."""

    def __init__(self, folder: Path, **sql: Any) -> None:
        self.settings = Settings(data_dir=folder, sql=sql)
        store(self.settings, "trades", real_trades(), "market")
        board = Board()
        board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(5))))
        serve = ServeSettings(port=0)
        self.api = SqlApi(lambda: LakeDesk(self.settings), SqlSettings(**sql))
        self.server = WebServer(create_app(board, serve, {}, self.api), serve)
        self.server.start()
        self.client = httpx.Client(base_url=self.server.url, timeout=60)

    def get(self, **options: Any) -> httpx.Response:
        return self.client.get("/api/sql", params=options)

    def running(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/api/sql/running").json()["queries"]
        return found

    def wait_until(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.running()) != count:
            assert time.monotonic() < deadline, self.running()
            time.sleep(0.02)

    def close(self) -> None:
        self.api.close()
        self.client.close()
        self.server.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    started = Served(tmp_path_factory.mktemp("sql"), timeout_s=50, rows_max=100)
    yield started
    started.close()


def test_rows_come_with_their_columns_types_and_dialect(served: Served) -> None:
    answer = served.get(q="SELECT symbol, count(*) AS n, max(timestamp) AS t FROM stock_data GROUP BY symbol")
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert body["columns"] == [
        {"name": "symbol", "type": "string"}, {"name": "n", "type": "int64"}, {"name": "t", "type": "timestamp[us]"},
    ]  # fmt: skip
    assert body["rows"] == [["SPY", 1_564, "2020-12-18 21:00:00"]]
    assert (body["row_count"], body["more"], body["dialect"]) == (1, False, "duckdb")


@pytest.mark.parametrize(
    ("accept", "form"),
    [("text/csv", None), ("application/json", "csv"), ("text/html, text/csv;q=0.5, */*;q=0.1", None)],
)
def test_the_form_is_what_is_accepted_and_format_goes_before(served: Served, accept: str, form: str | None) -> None:
    options: dict[str, str] = {"q": ROWS, "limit": "2"} | ({} if form is None else {"format": form})
    answer = served.client.get("/api/sql", params=options, headers={"accept": accept})
    assert (answer.text, answer.headers["content-type"]) == ("i,twice\n0,0\n1,2\n", "text/csv; charset=utf-8")
    assert (answer.headers["x-row-count"], answer.headers["x-more-rows"]) == ("2", "true")


def test_arrow_and_parquet_are_read_by_their_own_readers(served: Served) -> None:
    arrow = served.client.get("/api/sql", params={"q": ROWS}, headers={"accept": "application/vnd.apache.arrow.stream"})
    assert pa.ipc.open_stream(arrow.content).read_all()["twice"].to_pylist() == list(range(0, 20, 2))
    parquet = served.get(q=ROWS, format="parquet")
    assert pq.read_table(io.BytesIO(parquet.content))["i"].to_pylist() == list(range(10))
    assert served.get(q=ROWS, format="objects", limit=1).json() == [{"i": 0, "twice": 0}]


def test_pages_follow_each_other_by_their_link(served: Served) -> None:
    seen: list[int] = []
    address: str | None = "/api/sql?q=" + ROWS.replace(" ", "%20").replace("*", "%2A") + "&limit=4"
    while address is not None:
        answer = served.client.get(address)
        seen += [r[0] for r in answer.json()["rows"]]
        address = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == list(range(10))


def test_a_query_is_posted_as_json_or_as_it_stands(served: Served) -> None:
    as_json = served.client.post("/api/sql", json={"sql": ROWS, "limit": 1, "offset": 3})
    assert as_json.json()["rows"] == [[3, 6]]
    plain = served.client.post("/api/sql?limit=1", content=ROWS, headers={"content-type": "application/sql"})
    assert plain.json()["rows"] == [[0, 0]]
    named = served.client.post("/api/sql", json={"named": "daily_average", "params": {"days": 2}})
    assert [r[1] for r in named.json()["rows"]] == ["2020-12-18", "2020-12-17"]
    assert served.client.get("/api/sql?named=daily_average&param.days=2").json()["rows"] == named.json()["rows"]


def test_athenas_dialect_is_taken(served: Served) -> None:
    body = served.get(q="SELECT 7/2 AS a", dialect="athena").json()
    assert (body["rows"], body["dialect"]) == ([[3]], "athena")


def test_the_library_is_listed(served: Served) -> None:
    queries = served.client.get("/api/sql/named").json()["queries"]
    assert len(queries) == 10
    assert {"name", "title", "meaning", "sql", "parameters"} == set(queries[0])


def test_a_mistake_has_a_line_and_a_column(served: Served) -> None:
    answer = served.get(q="SELECT symbol,\n  prize\nFROM trades")
    body = answer.json()
    assert (answer.status_code, body["line"], body["column"], body["kind"]) == (400, 2, 3, "refused")
    assert 'Referenced column "prize" not found' in body["error"]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"q": ""}, {"q": "SELECT 1", "named": "gainers"}, {"named": "nothing"}, {"q": "SELECT 1", "limit": "-1"},
        {"q": "SELECT 1", "limit": "101"}, {"q": "SELECT 1", "limit": "x"}, {"q": "SELECT 1", "offset": "1e3"},
        {"q": "SELECT 1", "format": "xml"}, {"q": "SELECT 1", "dialect": "mysql"}, {"q": "SELECT 1", "id": "a b"},
        {"q": "SELECT 1", "unknown": "1"}, {"q": "SELECT 1", "param.days": "1"}, {"named": "gainers", "param.days": "x"},
        {"q": "SELECT * FROM read_csv('/etc/passwd')"}, {"q": "ATTACH '/tmp/x.db'"}, {"q": "COPY trades TO '/tmp/x'"},
        {"q": "SELECT 1; DROP TABLE trades"}, {"q": "PRAGMA version"}, {"q": "SELECT getenv('HOME')"}, {"q": "SELECT * FROM '/etc/passwd'"},
        {"q": "SELECT getenv('HOME')", "dialect": "athena"}, {"q": "EXPLAIN SELECT 1"}, {"q": "SELECT * FROM duckdb_secrets()"},
    ],
)  # fmt: skip
def test_what_is_wrong_or_reaches_further_is_refused(served: Served, options: dict[str, str]) -> None:
    answer = served.get(**options)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


@pytest.mark.parametrize("body", ["[1]", "{", '"x"', '{"sql": 5}', '{"sql": "SELECT 1", "params": [1]}', '{"sql": "SELECT 1", "limit": true}', '{"sql": "SELECT 1", "format": ["csv"]}'])  # fmt: skip
def test_a_body_that_is_not_a_question_is_refused(served: Served, body: str) -> None:
    answer = served.client.post("/api/sql", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_a_body_without_end_is_refused_early(served: Served) -> None:
    assert served.client.post("/api/sql", content="SELECT " + "1," * 200_000 + "1").status_code == 400


def test_an_answer_that_is_known_is_not_computed_again(served: Served) -> None:
    first = served.get(q=ROWS)
    etag = first.headers["etag"]
    again = served.client.get("/api/sql", params={"q": ROWS}, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    other = served.client.get("/api/sql", params={"q": ROWS, "limit": 3}, headers={"if-none-match": etag})
    assert other.status_code == 200
    assert "etag" not in served.get(q="SELECT now() AS t").headers


def test_new_rows_make_a_new_answer(tmp_path: Path) -> None:
    served = Served(tmp_path)
    options = {"q": "SELECT count(*) FROM trades"}
    first = served.get(**options)
    store(served.settings, "trades", real_trades(), "market", partition=1)
    second = served.client.get("/api/sql", params=options, headers={"if-none-match": first.headers["etag"]})
    assert (first.json()["rows"], second.json()["rows"]) == ([[1_564]], [[3_128]])
    served.close()


def test_delete_stops_a_query(served: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(served.get, q=ENDLESS, id="mine")
        served.wait_until(1)
        assert served.running()[0]["id"] == "mine"
        assert served.get(q="SELECT 1", id="mine").status_code == 409
        assert served.client.delete("/api/sql/mine").json() == {"stopped": "mine"}
        answer = asked.result(30)
    assert (answer.status_code, answer.json()["kind"]) == (409, "cancelled")
    assert served.client.delete("/api/sql/mine").status_code == 404


def test_a_client_that_goes_away_stops_its_query(served: Served) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(served.server.url + "api/sql", params={"q": ENDLESS}, timeout=1)
    served.wait_until(0)


def test_more_than_run_and_wait_are_told_to_come_again_and_pages_stay_served(tmp_path: Path) -> None:
    served = Served(tmp_path, at_once=1, waiting=1)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(served.get, q=ENDLESS, id=f"q{i}") for i in range(2)]
        served.wait_until(2)
        assert sorted(one["state"] for one in served.running()) == ["running", "waiting"]
        busy = served.get(q="SELECT 1")
        assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
        assert "1 queries run and 1 wait: try again" in busy.json()["error"]
        # The loop is free: a page's own questions are answered while both keep the threads.
        assert served.client.get("/api/symbols").json()["symbols"][0]["symbol"] == "AAPL"
        assert len(served.running()) == 2
        waiting = next(one["id"] for one in served.running() if one["state"] == "waiting")
        served.client.delete(f"/api/sql/{waiting}")
        served.wait_until(1)
        served.client.delete(f"/api/sql/{served.running()[0]['id']}")
        assert [done.result(30).status_code for done in asked] == [409, 409]
    assert served.get(q="SELECT 1 AS x").json()["rows"] == [[1]]
    served.close()


def test_a_query_that_needs_too_much_is_told_which_setting(tmp_path: Path) -> None:
    served = Served(tmp_path, timeout_s=0.3, memory_limit_mb=64)
    late = served.get(q=ENDLESS)
    assert (late.status_code, late.json()["kind"]) == (422, "limit")
    assert "raise sql.timeout_s" in late.json()["error"]
    served.close()


def test_a_stop_of_the_server_ends_what_runs(tmp_path: Path) -> None:
    served = Served(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(served.get, q=ENDLESS)
        served.wait_until(1)
        begun = time.monotonic()
        served.close()
        assert time.monotonic() - begun < 20
        assert asked.exception(30) is not None or asked.result().status_code == 409


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_makes_nothing_run(served: Served, site: str) -> None:
    for method, path in (
        ("GET", "/api/sql?q=SELECT%201"),
        ("GET", "/api/sql/running"),
        ("GET", "/api/sql/named"),
        ("DELETE", "/api/sql/x"),
    ):
        assert served.client.request(method, path, headers={"sec-fetch-site": site}).status_code == 403


def test_a_store_that_is_away_is_another_try(tmp_path: Path) -> None:
    class Away:
        def answer(self, question: SqlQuestion, cancelled: threading.Event) -> SqlAnswer:  # noqa: ARG002
            raise AssertionError("its version comes first")

        def version(self) -> str:
            raise Retryable("the lake does not answer: try again")

        def library(self) -> list[Any]:
            return []

        def render(self, rows: pa.Table, form: str) -> bytes:  # noqa: ARG002
            return b""

        def close(self) -> None: ...

    serve = ServeSettings(port=0)
    api = SqlApi(Away, SqlSettings())
    server = WebServer(create_app(Board(), serve, {}, api), serve)
    server.start()
    answer = httpx.get(server.url + "api/sql?q=SELECT%201")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert json.loads(answer.content)["kind"] == "away"
    api.close()
    server.stop()
