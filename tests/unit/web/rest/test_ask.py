"""/api/sql/schema and /api/sql/explain over a real lake, on the real server."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from marketpulse.errors import QueryCancelled, Retryable
from marketpulse.ports import SqlPlan, SqlQuestion, SqlTable
from marketpulse.query.desk import LakeDesk
from marketpulse.query.views import VIEWS
from marketpulse.settings import ServeSettings, SqlSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.rest.ask import AskApi
from marketpulse.web.server import WebServer
from real_rows import store_real_rows


class Served:
    """The server with its helper for those who ask."""

    def __init__(self, open_guide: Any, **sql: Any) -> None:
        serve = ServeSettings(port=0)
        self.api = AskApi(open_guide, SqlSettings(**sql))
        self.server = WebServer(create_app(Board(), serve, {}, routers=[self.api.router()]), serve)
        self.server.start()
        self.client = httpx.Client(base_url=self.server.url, timeout=60)

    def explain(self, **asked: Any) -> httpx.Response:
        return self.client.post("/api/sql/explain", json=asked)

    def close(self) -> None:
        self.api.close()
        self.client.close()
        self.server.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = store_real_rows(tmp_path_factory.mktemp("ask"))
    started = Served(lambda: LakeDesk(settings), timeout_s=50, rows_max=77)
    yield started
    started.close()


def test_every_view_is_told_with_its_columns_and_types(served: Served) -> None:
    body = served.client.get("/api/sql/schema").json()
    tables = {table["name"]: table for table in body["tables"]}
    assert set(tables) == set(VIEWS)
    assert tables["stock_data"]["columns"] == [
        {"name": "symbol", "type": "string"}, {"name": "timestamp", "type": "timestamp[us]"},
        {"name": "price", "type": "double"}, {"name": "volume", "type": "double"},
    ]  # fmt: skip
    assert all(table["meaning"].endswith(".") for table in body["tables"])


def test_the_limits_are_those_of_the_settings(served: Served) -> None:
    limits = served.client.get("/api/sql/schema").json()["limits"]
    assert (limits["timeout_s"], limits["rows_max"], limits["at_once"]) == (50, 77, 2)


def test_a_plan_tells_which_files_a_condition_leaves(served: Served) -> None:
    body = served.explain(sql="SELECT count(*) FROM bars WHERE symbol = 'AAPL'").json()
    (scan,) = [scan for scan in body["scans"] if scan["table"] == "bars"]
    assert 1 <= scan["files"] < scan["files_in_all"]
    assert "(symbol = 'AAPL')" in scan["condition"]
    assert body["dialect"] == "duckdb"
    assert body["plan"].startswith("ungrouped aggregate (1 row")


def test_a_named_query_is_explained_with_its_parameters(served: Served) -> None:
    body = served.explain(named="losers", params={"days": 90, "symbol": "KO"}).json()
    assert (body["dialect"], "90 * 86400000000000" in body["sql"]) == ("athena", True)


def test_a_mistake_has_its_place(served: Served) -> None:
    answer = served.explain(sql="SELECT close,\n  prize FROM bars")
    assert answer.status_code == 400
    assert (answer.json()["line"], answer.json()["column"]) == (2, 3)


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"sql": ""}', '{"sql": "SELECT 1", "named": "losers"}', '{"sql": 1}', '{"more": 1}', '{"named": "no"}',
     '{"sql": "SELECT 1", "dialect": "mysql"}', '{"sql": "DROP TABLE bars"}'],
)  # fmt: skip
def test_what_is_no_question_is_refused_in_words(served: Served, body: str) -> None:
    answer = served.client.post("/api/sql/explain", content=body)
    assert (answer.status_code, answer.json()["kind"]) == (400, "refused")
    assert len(answer.json()["error"]) > 20


@pytest.mark.parametrize("path", ["/api/sql/schema", "/api/sql/explain"])
def test_another_sites_page_makes_nothing_run(served: Served, path: str) -> None:
    method = "GET" if path.endswith("schema") else "POST"
    answer = served.client.request(method, path, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


class Endless:
    """A guide whose plans end when they are told to stop."""

    def __init__(self) -> None:
        self.begun, self.told = threading.Event(), threading.Event()

    def tables(self) -> list[SqlTable]:
        return []

    def plan(self, question: SqlQuestion, cancelled: threading.Event) -> SqlPlan:  # noqa: ARG002
        self.begun.set()
        cancelled.wait()
        self.told.set()
        raise QueryCancelled("the query was cancelled")

    def close(self) -> None: ...


def test_hanging_up_stops_it() -> None:
    guide = Endless()
    served = Served(lambda: guide)
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.server.url}api/sql/explain", json={"sql": "SELECT 1"}, timeout=2)
        assert guide.begun.is_set()
        assert guide.told.wait(60)
    finally:
        served.close()


def test_one_runs_one_waits_and_more_are_told_to_come_again() -> None:
    guide = Endless()
    served = Served(lambda: guide)
    with ThreadPoolExecutor(2) as pool:
        try:
            both = [pool.submit(served.explain, sql="SELECT 1") for _ in range(2)]
            while len(served.api._plans._asked) < 2:
                time.sleep(0.01)
            answer = served.explain(sql="SELECT 1")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        finally:
            served.api.close()
        assert [one.result().status_code for one in both] == [409, 409]
    served.close()


def test_a_store_that_is_away_is_another_try() -> None:
    class Away:
        def tables(self) -> list[SqlTable]:
            raise Retryable("the lake does not answer")

        def plan(self, question: SqlQuestion, cancelled: threading.Event) -> SqlPlan:  # noqa: ARG002
            raise Retryable("the lake does not answer")

        def close(self) -> None: ...

    served = Served(Away)
    try:
        for answer in (served.client.get("/api/sql/schema"), served.explain(sql="SELECT 1")):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"] == "the lake does not answer"
    finally:
        served.close()
