"""The web API answers as /api/openapi.json says and nothing breaks it, whatever Schemathesis makes it be asked."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, CheckContext, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks as openapi_checks

from board_rows import row
from lake_store import LakeRows
from marketpulse.model.rows import ALERT
from marketpulse.query.history import LakeHistory
from marketpulse.query.pool import ChildPool
from marketpulse.settings import ServeSettings, Settings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.rest.alert_rows import RecentAlerts
from marketpulse.web.rest.stored import Stored
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns
from moving_feed import MovingFeed
from waiting import wait_until

EXAMPLES = 25  # of each route and kind: together half a minute
TAKING = [
    "GET /api/alerts", "GET /api/bars", "GET /api/corporate_actions", "GET /api/indicators", "GET /api/symbols",
    "GET /api/sql", "POST /api/sql",
]  # fmt: skip
"""Operations with parameters that may be wrong."""
OPERATIONS = [
    *TAKING, "GET /api/health", "GET /api/sql/named", "GET /api/sql/running", "GET /metrics", "DELETE /api/sql/{id}",
]  # fmt: skip
MODES = {GenerationMode.POSITIVE: OPERATIONS, GenerationMode.NEGATIVE: TAKING}


def rejects_what_does_not_fit(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """A refusal for its length is one as well."""
    if response.status_code in (413, 414):
        return None
    return openapi_checks.negative_data_rejection(context, response, case)


CHECKS = [
    schemathesis.checks.not_a_server_error, openapi_checks.status_code_conformance, openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance, openapi_checks.response_schema_conformance,
    rejects_what_does_not_fit,
]  # fmt: skip


class Moving:
    """The server over a lake and a board that a feed keeps changing."""

    def __init__(self, settings: Settings) -> None:
        feed, alerts = MovingFeed(symbols=3, history=60), RecentAlerts()
        board = Board(60, parts={"recent_alerts": alerts})
        stored = self._stored = Stored(lambda: LakeHistory(settings))
        runs = self._runs = SqlRuns(lambda: ChildPool(settings), settings.sql)
        serve = ServeSettings(port=0, requests_per_s=1e6)
        self._server = WebServer(create_app(board, serve, {}, SqlApi(runs), stored, alerts), serve)
        self._server.start()
        self.url = self._server.url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, args=(feed, board), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._runs.close()
        self._server.stop()
        self._stored.close()

    def _carry(self, feed: MovingFeed, board: Board) -> None:
        while not self._stop.is_set():
            board.take_stats(feed.stats())
            for batch in feed.batches(0.05):
                board.take(batch)


def fill(settings: Settings) -> None:
    """Minutes of AAPL and alerts on some of them."""
    minutes = [row("AAPL", "1m", 60 * i, float(i), sma_20=i + 0.5, vwap=None) for i in range(400)]
    lake = LakeRows(settings)
    lake.add("bars", minutes)
    lake.add("indicators", minutes, ["sma_20", "vwap"])
    split = {"type": "split", "symbol": "AAPL", "source": "files", "event_time_ns": 1, "topic": "market"}
    body = '{"ratio": 2.0, "ex_time_ns": 6000000000000}'
    lake.add("events", [{**split, "partition": 0, "offset": 0, "row": 0, "body": body}])
    raised = {"rule": "high", "severity": "info", "state": "raised", "late": False, "message": "high"}
    alerts = [{**m, **raised, "event_time_ns": m["close_time_ns"], "value": m["close"]} for m in minutes[::40]]
    lake.add("alerts", [{name: row[name] for name in ALERT.names if name in row} for row in alerts])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("api"), sql={"timeout_s": 5, "rows_max": 1_000})
    fill(settings)
    moving = Moving(settings)
    wait_until(lambda: httpx.get(moving.url + "api/symbols").json()["symbols"], "the first bars")
    yield schemathesis.openapi.from_url(moving.url + "api/openapi.json")
    moving.close()


def test_every_route_is_fuzzed(api: BaseSchema) -> None:
    assert sorted(one.ok().label for one in api.get_all_operations() if isinstance(one, Ok)) == sorted(OPERATIONS)


@pytest.mark.parametrize(("mode", "operation"), [(mode, one) for mode, of in MODES.items() for one in of])
def test_an_answer_is_as_described_whatever_is_asked(api: BaseSchema, mode: GenerationMode, operation: str) -> None:
    found = api.find_operation_by_label(operation)
    assert found is not None
    fuzz(found.as_strategy(mode))


SERIES = {"symbol": "AAPL", "timeframe": "1m"}
ORDERED = {"q": "SELECT symbol, close, open_time FROM bars ORDER BY open_time"}
KNOWN: list[tuple[str, dict[str, str]]] = [
    ("bars", SERIES), ("indicators", SERIES), ("alerts", {"symbol": "AAPL"}), ("sql", ORDERED), ("sql", {"named": "daily_average"}),
]  # fmt: skip


@pytest.mark.parametrize(("route", "known"), KNOWN)
def test_rows_that_there_are_come_as_described(api: BaseSchema, route: str, known: dict[str, str]) -> None:
    """The other parameters are made up, and fit."""
    found = api.find_operation_by_label(f"GET /api/{route}")
    assert found is not None
    assert 200 in fuzz(found.as_strategy(query=known))


def fuzz(cases: SearchStrategy[Case[Any]]) -> set[int]:
    """Send them; the statuses of the answers, each of which is as described."""
    statuses: set[int] = set()

    @seed(1)
    @hypothesis_settings(
        max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=cases)
    def ask(case: Case[Any]) -> None:
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    ask()
    return statuses
