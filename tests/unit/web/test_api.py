"""What every route has in common: its form, its problems, its etag, its description, and the built pages; and what a
chart, the pipeline's page and the sources' page ask for, over desks that answer from memory."""

import gzip
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import httpx
import jsonschema
import pyarrow as pa
import pytest
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request

from board_rows import app_of, ask, bars, live, row
from market_rows import trade
from marketpulse import errors
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.processes import with_processes
from marketpulse.errors import Fatal, MarketPulseError, ParameterError, QueryLimit, RejectedRecord, Retryable
from marketpulse.ports import BarSpan, LiveBars, PipelineStats, ReceiptAsk, SqlMistake
from marketpulse.settings import SqlSettings
from marketpulse.telemetry import REGISTRY, metrics_text
from marketpulse.web.board import Board
from marketpulse.web.forms import accepted
from marketpulse.web.pages import load_assets
from marketpulse.web.problems import BodyTooLong, Unconditional, tell_problems, told
from marketpulse.web.rest.answers import form_of, has_already, next_link, tell, tell_rows
from marketpulse.web.rest.charts import ChartApi
from marketpulse.web.rest.pipeline import PipelineApi
from marketpulse.web.rest.sources import Sources, SourcesApi, SymbolScores
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
from marketpulse.web.turns import Busy
from score_rows import card_of


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


def test_every_route_tells_its_errors_and_token_each_example_is_as_its_schema_and_parameters_are_typed(
    spec: dict[str, Any],
) -> None:
    assert spec["security"] == [{}, {"token": []}]
    for name, one in operations(spec):
        assert {"200", "400", "401", "403", "414", "421", "429", "500"} <= set(one["responses"]), name
        assert "Retry-After" in one["responses"]["429"]["headers"], name
        assert one["description"], name
        assert "HTTPValidationError" not in json.dumps(one), name
        for parameter in one.get("parameters", ()):
            assert "null" not in json.dumps(parameter["schema"]), name
            assert {"type", "enum", "pattern"} & set(parameter["schema"]), (name, parameter)
    tried = 0
    for _, one in operations(spec):
        content = one["responses"]["200"]["content"].get("application/json", {})
        if "example" not in content:
            continue
        schema = content["schema"] | {"components": spec["components"]}
        jsonschema.Draft202012Validator(schema).validate(content["example"])
        tried += 1
    assert tried >= 5
    assert {p["name"]: p for p in spec["paths"]["/api/sql"]["get"]["parameters"]}["limit"]["schema"]["maximum"] == 77


class Desk:
    """Behaves as ports.ChartDesk says: the close, twice, is the only indicator it knows."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fault: Exception | None = None
        self.closed = False

    def catalogue(self) -> Sequence[Mapping[str, Any]]:
        return [{"name": "twice", "stem": "twice"}]

    def values(self, stems: Sequence[str], span: BarSpan, live: LiveBars) -> tuple[list[str], list[list[float]]]:
        self.asked.append(span)
        if list(stems) != ["twice"]:
            raise ParameterError(f"{stems[0]} is no indicator")
        return ["twice"], [[time, 2 * row[5]] for time, row in live.rows.items()][-span.limit :]

    def sessions(self, venue: str | None, from_ms: float, to_ms: float) -> Mapping[str, Any]:
        return {"calendar": "XNYS" if venue == "XNAS" else "24x7", "built": "regular", "sessions": [from_ms, to_ms]}

    def receipt(self, ask: ReceiptAsk, cancelled: threading.Event) -> Mapping[str, Any]:
        self.asked.append(ask)
        if self.fault is not None:
            raise self.fault
        return {"symbol": ask.symbol, "name": ask.name, "same": True, "cancelled": cancelled.is_set()}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def desk() -> Desk:
    return Desk()


def get(desk: Desk, path: str, **options: Any) -> httpx.Response:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1), venue="XNAS") for i in range(5))))
    board.take(live([], row("AAPL", "1m", 300, 9.0, venue="XNAS")))
    with closing(ChartApi(board, lambda: desk)) as charts:
        return ask(app_of(board, routers=[charts.router()]), path, params=options)


def test_values_come_with_their_columns_also_of_forming_bars_and_sessions_of_the_symbols_venue(desk: Desk) -> None:
    answer = get(desk, "/api/chart/indicators", symbol="AAPL", timeframe="1m", indicator="twice", limit=2).json()
    assert (answer["columns"], answer["rows"]) == (["open_time_ms", "twice"], [[240_000, 10], [300_000, 18]])
    assert (desk.asked, desk.closed) == ([BarSpan("AAPL", "1m", None, None, 2)], True)
    assert get(desk, "/api/catalog").json() == {"indicators": [{"name": "twice", "stem": "twice"}]}
    found = get(desk, "/api/chart/sessions", symbol="AAPL", from_ms=0, to_ms=1_000).json()
    assert (found["venue"], found["calendar"], found["sessions"]) == ("XNAS", "XNYS", [0, 1_000])
    assert get(desk, "/api/chart/sessions", symbol="ZZZ", from_ms=0, to_ms=1).json()["calendar"] == "24x7"


def test_a_receipt_is_asked_for_by_the_bars_open_time(desk: Desk) -> None:
    found = get(desk, "/api/explain", symbol="AAPL", timeframe="1m", open_ms=1_734_532_200_000, name="rsi_14")
    assert found.json()["same"] is True
    assert desk.asked == [ReceiptAsk("AAPL", "1m", 1_734_532_200_000_000_000, "rsi_14")]
    get(desk, "/api/explain", symbol="AAPL", timeframe="100t", open_ms=1_734_532_200_000_001_234 / 1e6, name="close")
    ticks = desk.asked[1]
    assert ticks.as_shown
    assert abs(ticks.open_ns - 1_734_532_200_000_001_234) < 300  # what a double keeps


@pytest.mark.parametrize(("fault", "status"), [
    (Fatal("no 1m bar opens then"), 404), (ParameterError("'x' is not computed"), 400),
    (QueryLimit("it took too long"), 422), (Retryable("the log is away"), 503),
])  # fmt: skip
def test_why_there_is_no_receipt_is_said(desk: Desk, fault: Exception, status: int) -> None:
    desk.fault = fault
    answer = get(desk, "/api/explain", symbol="AAPL", timeframe="1m", open_ms=0)
    assert (answer.status_code, answer.json()["error"]) == (status, str(fault))


@pytest.mark.parametrize(("path", "options", "said"), [
    ("indicators", {"symbol": "AAPL", "timeframe": "1m", "indicator": "x"}, "is no indicator"),
    ("indicators", {"symbol": "AAPL", "timeframe": "1m", "indicator": ","}, "from 1 to 24"),
    ("indicators", {"symbol": "AAPL", "timeframe": "1m"}, "indicator is missing"),
    ("indicators", {"symbol": "AAPL", "timeframe": "9d", "indicator": "twice"}, "only 1d"),
    ("sessions", {"symbol": "AAPL", "from_ms": 2, "to_ms": 1}, "after from_ms"),
    ("sessions", {"symbol": "AAPL", "from_ms": 0, "to_ms": 8e12}, "20 years"),
])  # fmt: skip
def test_a_wrong_question_is_told_what_is_wrong(desk: Desk, path: str, options: dict[str, Any], said: str) -> None:
    answer = get(desk, f"/api/chart/{path}", **options)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True)


# /api/pipeline, /api/dead-letters and /api/sources, with a desk and watches that are made up.

LETTER = {"letter_partition": 3, "letter_offset": 7, "reason": "bad_price", "value": "{}"}


class Room:
    def __init__(self) -> None:
        sent_to, board = {"topic": "market", "partition": 1, "offset": 2}, Board()
        self.watch = Mock(**{"spec": ["picture"], "picture.return_value": {"findings": []}})
        self.desk = Mock(**{"spec": ["newest", "send_again", "close"], "send_again.return_value": sent_to})
        self.desk.newest.side_effect = lambda limit: [LETTER][:limit]
        self.api = PipelineApi(board, self.watch, lambda: self.desk)
        self.app = app_of(board, routers=[self.api.router()])

    def send(self, partition: int, offset: int, value: str) -> httpx.Response:
        body = {"letter_partition": partition, "letter_offset": offset, "value": value}
        return ask(self.app, "/api/dead-letters/send", "POST", json=body)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.api.close()


def test_the_picture_has_the_strips_figures_and_a_desk_that_is_closed_after_sends_letters_again(room: Room) -> None:
    answer = ask(room.app, "/api/pipeline").json()
    assert (answer["pipeline"], answer["figures"]["symbols"]) == ({"findings": []}, 0)
    assert room.watch.mock_calls == [call.picture()]
    assert ask(room.app, "/api/dead-letters").json() == {"letters": [LETTER]}
    assert room.send(3, 7, '{"price": 1.5}').json() == {"sent_to": {"topic": "market", "partition": 1, "offset": 2}}
    assert room.desk.send_again.mock_calls == [call(3, 7, b'{"price": 1.5}')]
    for query in ("limit=0", "limit=501", "limit=x"):
        assert ask(room.app, f"/api/dead-letters?{query}").status_code in (400, 422), query
    room.api.close()
    assert room.desk.close.called


@pytest.mark.parametrize(("fault", "status", "words"), [
    (RejectedRecord("price must be above 0"), 422, "no market data still: price must be above 0"),
    (ParameterError("this letter was sent again already"), 409, "already"), (Retryable("the broker is away"), 503, "away"),
])  # fmt: skip
def test_a_letter_that_is_refused_says_why(room: Room, fault: MarketPulseError, status: int, words: str) -> None:
    room.desk.send_again.side_effect = fault
    answer = room.send(0, 0, "{}")
    assert (answer.status_code, words in answer.json()["error"]) == (status, True)


class Keeper:
    """What a keeper of the scores has heard; `heard` is None before it has."""

    def __init__(self, heard: Card | None) -> None:
        self.heard = heard

    def sources(self) -> Mapping[str, Any] | None:
        if self.heard is None:
            return None
        rows = with_processes(self.heard.sources(), None, {})
        unchanging = {"hours": 1, "log_time_ms": 5, "catching_up": False, "left_out_rows": 0}
        return {**unchanging, "sources": rows, "dead_letters_of_nobody": {}}

    def symbols(self, source: str, limit: int) -> Mapping[str, Any] | None:
        return None if self.heard is None else self.heard.symbols(source, limit)


def ask_sources(query: str, keeper: Keeper | None) -> httpx.Response:
    with closing(SourcesApi(keeper)) as api:
        return ask(app_of(routers=[api.router()]), f"/api/sources{query}")


def test_the_scores_are_as_they_are_described_and_wrong_questions_are_refused() -> None:
    keeper = Keeper(card_of([(trade(name, 3_600.0 + i, 1.0, 1.0), 3_600.0 + i) for i, name in enumerate("ABC")]))
    found = Sources.model_validate(ask_sources("", keeper).json())
    assert [(one.source, one.symbols, one.reconnects) for one in found.sources] == [("feed", 3, None)]
    symbols = SymbolScores.model_validate(ask_sources("/symbols?source=feed&limit=2", keeper).json())
    assert [one.symbol for one in symbols.symbols] == ["A", "B"]
    assert SymbolScores.model_validate(ask_sources("/symbols?source=other", keeper).json()).symbols == []
    for query in ("", "?source=feed&limit=0", "?source=feed&limit=1001", "?source=", "?source=feed&more=1"):
        assert ask_sources(f"/symbols{query}", keeper).status_code == 400, query


@pytest.mark.parametrize(("keeper", "words"), [(None, "set scorecard.enabled"), (Keeper(None), "try again")])
def test_without_a_card_it_says_why(keeper: Keeper | None, words: str) -> None:
    for query in ("", "/symbols?source=feed"):
        answer = ask_sources(query, keeper)
        assert (answer.status_code, words in answer.json()["error"]) == (503, True)
