"""What every route has in common: its form, its problems, its etag, its description, and the built pages."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pyarrow as pa
import pytest
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request

from board_rows import bars, row
from marketpulse import errors
from marketpulse.ports import PipelineStats, SqlMistake
from marketpulse.settings import SqlSettings
from marketpulse.telemetry import REGISTRY, metrics_text
from marketpulse.web.board import Board
from marketpulse.web.forms import accepted
from marketpulse.web.pages import load_assets
from marketpulse.web.problems import BodyTooLong, Unconditional, tell_problems, told
from marketpulse.web.rest.answers import form_of, has_already, next_link, tell, tell_rows
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
from marketpulse.web.turns import Busy
from served_app import app_of, ask


@pytest.fixture
def board() -> Board:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(5))))
    return board


def test_symbols_come_with_their_last_price_and_its_reference(board: Board) -> None:
    answer = ask(app_of(board), "/api/symbols").json()
    assert answer["timeframes"] == ["1m"]
    assert answer["symbols"] == [
        {
            "symbol": "AAPL", "last": 5.0, "last_time_ms": 300_000, "reference": 1.0,
            "reference_kind": "session_open", "simulated": False, "venue": None, "timeframes": ["1m"],
            "bid": None, "bid_size": None, "ask": None, "ask_size": None,
        }
    ]  # fmt: skip
    board = Board()
    board.take(bars(row("AAA", "1m", 0, 1.0), row("AAA", "5m", 0, 2.0)))
    lines = ask(app_of(board), "/api/symbols", headers={"accept": "text/csv"}).text.splitlines()
    assert lines[0].startswith('"symbol","last","last_time_ms"')
    assert lines[1].startswith('"AAA",2,300000,2,"session_open",false,,"1m 5m"')


def test_health_says_whether_the_log_is_there_is_never_kept_and_takes_no_parameters(board: Board) -> None:
    def status() -> str:
        return str(ask(app_of(board), "/api/health").json()["status"])

    assert status() == "starting"
    board.take_stats(PipelineStats(10, 0, 0, 5, broker_reachable=True))
    assert status() == "ok"
    board.take_stats(PipelineStats(0, 0, 0, 0, broker_reachable=False))
    assert (status(), ask(app_of(), "/api/health").headers["cache-control"]) == ("down", "no-store")
    assert ask(app_of(), "/api/health?x=1").status_code == 400


def test_metrics_are_the_processs_own_nothing_can_be_written_and_another_answer_has_another_etag(board: Board) -> None:
    answer = ask(app_of(), "/metrics")
    assert answer.headers["content-type"] == metrics_text()[1]
    assert "# TYPE marketpulse_pages_connected gauge" in answer.text
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(app_of(board), "/api/bars", method).status_code == 405
    one, same, other = (tell(request(), value).headers["etag"] for value in ([1], [1], [2]))
    assert one == same != other
    again = tell(request(if_none_match=one), [1])
    assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", one)


# The form of an answer, and its etag.


@pytest.mark.parametrize(("accept", "form"), [
    ("*/*", "json"), ("text/csv", "csv"), ("text/*", "csv"), ("TEXT/CSV", "csv"), ("text/html", None), ("", None),
    ("application/json;q=0.2, text/csv;q=0.9", "csv"), ("text/csv;q=0, */*", "json"), ("text/csv, application/json", "csv"),
    ("text/csv;q=9, application/json", "csv"),
])  # fmt: skip
def test_the_form_that_is_liked_best_of_those_offered(accept: str, form: str | None) -> None:
    assert accepted(accept, {"json": "application/json", "csv": "text/csv; charset=utf-8"}) == form


def request(query: str = "", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    of = {"type": "http", "method": "GET", "path": "/api/bars"}
    return Request({**of, "query_string": query.encode(), "headers": raw})


@pytest.mark.parametrize(("known", "found"), [
    ("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"ab"', False), ("*", True), ("a", False),
])  # fmt: skip
def test_an_etag_is_found_as_a_whole_and_compared_weakly(known: str, found: bool) -> None:
    assert has_already(request(if_none_match=known), '"a"') is found


def test_the_form_is_the_one_wished_for_most_a_missing_number_null_and_whole_times_whole() -> None:
    wishes = ("text/html, text/csv;q=0.5, */*;q=0.1", "application/vnd.apache.arrow.stream", "text/html")
    assert [form_of(request(accept=wish), None) for wish in wishes] == ["csv", "arrow", "json"]
    assert (form_of(request(), None), form_of(request(accept="text/csv"), "json")) == ("json", "json")
    link = next_link(request("symbol=A%26B&cursor=1&limit=5"), cursor="2")
    assert link == "/api/bars?symbol=A%26B&cursor=2&limit=5"

    def body(form: Any, head: dict[str, str], columns: list[str], rows: list[list[float]]) -> bytes:
        return bytes(tell_rows(request(), form, head, columns, rows).body)

    of: Any = ({"symbol": "A"}, ["a", "b"], [[1.0, math.nan], [2.0, 3.5]])
    assert body("json", *of) == b'{"symbol":"A","columns":["a","b"],"rows":[[1.0,null],[2.0,3.5]]}'
    assert body("csv", *of) == b'"a","b"\n1,\n2,3.5\n'
    assert pa.ipc.open_stream(body("arrow", *of)).read_all().to_pydict() == {"a": [1.0, 2.0], "b": [None, 3.5]}
    for times, text in ([[1_734_553_800_000.0]], b"1734553800000\n"), ([[1.5], [2.0]], b"1.5\n2\n"):
        assert body("csv", {}, ["open_time_ms"], times) == b'"open_time_ms"\n' + text


# The built pages.

SCRIPT = "console.log(1);" * 100
SCRIPT_PATH = "/assets/index-abc123.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<p>page")
    (built / SCRIPT_PATH.removeprefix("/")).write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("not for you")
    return built


def page_of(folder: Path, path: str, **headers: str) -> httpx.Response:
    return ask(app_of(pages=load_assets(folder)), path, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_the_page_is_asked_for_each_time_hashed_parts_are_kept_for_ever_and_large_ones_compressed(folder: Path) -> None:
    page, script = page_of(folder, "/"), page_of(folder, SCRIPT_PATH)
    assert (page.text, page.headers["cache-control"]) == ("<p>page", "no-cache")
    assert page.headers["content-type"].startswith("text/html")
    assert (script.text, "immutable" in script.headers["cache-control"]) == (SCRIPT, True)
    assert script.headers["content-type"].startswith("text/javascript")
    again = page_of(folder, "/", if_none_match=page.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assets = load_assets(folder)
    packed = assets[SCRIPT_PATH].compressed
    assert packed is not None
    assert gzip.decompress(packed).decode() == SCRIPT
    assert assets["/index.html"].compressed is None
    answer = page_of(folder, SCRIPT_PATH, accept_encoding="gzip")
    assert (answer.headers["content-encoding"], answer.headers["content-length"]) == ("gzip", str(len(packed)))
    assert "content-encoding" not in page_of(folder, SCRIPT_PATH, accept_encoding="identity").headers


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/..%2fsecret.txt", "/assets/..%2f..%2fsecret.txt", "//etc/passwd", "/nothing"]
)
def test_nothing_outside_the_built_pages_can_be_had(folder: Path, path: str) -> None:
    assert page_of(folder, path).status_code == 404


def test_pages_that_are_not_built_say_how_to_build_them(tmp_path: Path) -> None:
    answer = page_of(tmp_path / "nowhere", "/")
    assert (answer.status_code, "make setup" in answer.text) == (503, True)


# Everything that goes wrong in a route is told in one shape.


def answered(error: Exception | None, path: str = "/x", method: str = "GET") -> httpx.Response:
    app = FastAPI()
    tell_problems(app)

    @app.get("/x")
    async def raises(limit: int = Query(5, ge=1)) -> Any:
        if error is not None:
            raise error

    return ask(app, path, method, raises=False)


@pytest.mark.parametrize(("kind", "status"), [
    (errors.ParameterError, 400), (BodyTooLong, 413), (Unconditional, 428), (errors.QueryRefused, 400), (errors.QueryLimit, 422),
    (errors.QueryCancelled, 409), (errors.ChangedMeanwhile, 412), (Busy, 429), (errors.Retryable, 503), (errors.EnvironmentProblem, 503), (errors.Fatal, 500),
])  # fmt: skip
def test_an_error_of_ours_says_what_to_do(kind: type[errors.MarketPulseError], status: int) -> None:
    answer, error = answered(kind("say what")), {"error": "say what", "kind": told(kind("say what"))[1]}
    assert (answer.status_code, answer.json(), answer.headers["cache-control"]) == (status, error, "no-store")
    assert ("retry-after" in answer.headers) == (status in (429, 503))


def test_mistakes_in_sql_parameters_places_and_methods_are_told_and_one_of_ours_tells_nothing_of_itself() -> None:
    error = errors.QueryRefused("there is no column x")
    error.mistake = SqlMistake("no column x", 2, 7)
    assert answered(error).json() == {"error": "there is no column x", "kind": "refused", "line": 2, "column": 7}
    refused = {"error": "limit: Input should be greater than or equal to 1", "kind": "refused"}
    assert (answered(None, "/x?limit=0").json(), answered(None, "/y").status_code) == (refused, 404)
    wrong = answered(None, "/x", "PUT")
    assert (wrong.status_code, wrong.headers["allow"], list(wrong.json())) == (405, "GET", ["error", "kind"])
    assert answered(HTTPException(418, "short and stout")).json() == {"error": "short and stout", "kind": "refused"}

    def count() -> float:
        return REGISTRY.get_sample_value("marketpulse_api_errors_total", {"status": "500"}) or 0

    before = count()
    answer = answered(ZeroDivisionError("a secret in an argument"))
    assert (answer.status_code, "see the log" in answer.json()["error"]) == (500, True)
    assert ("secret" not in answer.text, count()) == (True, before + 1)


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    def never() -> Any:
        raise AssertionError("nothing is asked")

    app = app_of(sql=SqlApi(SqlRuns(never, SqlSettings(rows_max=77))))
    answer = ask(app, "/api/openapi.json")
    assert ask(app, "/api/openapi.json", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    return dict(answer.json())


def operations(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{m} {p}", one) for p, path in spec["paths"].items() for m, one in path.items()]


def test_every_route_tells_its_errors_and_token_and_every_example_is_as_its_schema(spec: dict[str, Any]) -> None:
    assert spec["security"] == [{}, {"token": []}]
    for name, one in operations(spec):
        assert {"200", "400", "401", "403", "414", "421", "429", "500"} <= set(one["responses"]), name
        assert "Retry-After" in one["responses"]["429"]["headers"], name
        assert one["description"], name
        assert "HTTPValidationError" not in json.dumps(one), name
    tried = 0
    for _, one in operations(spec):
        content = one["responses"]["200"]["content"].get("application/json", {})
        if "example" not in content:
            continue
        schema = content["schema"] | {"components": spec["components"]}
        jsonschema.Draft202012Validator(schema).validate(content["example"])
        tried += 1
    assert tried >= 5


def test_a_parameter_is_typed_and_never_null_and_has_the_settings_bounds(spec: dict[str, Any]) -> None:
    for name, one in operations(spec):
        for parameter in one.get("parameters", ()):
            assert "null" not in json.dumps(parameter["schema"]), name
            assert {"type", "enum", "pattern"} & set(parameter["schema"]), (name, parameter)
    assert {p["name"]: p for p in spec["paths"]["/api/sql"]["get"]["parameters"]}["limit"]["schema"]["maximum"] == 77
