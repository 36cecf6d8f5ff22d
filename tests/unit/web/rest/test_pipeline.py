"""/api/pipeline and /api/dead-letters, with a desk and a watch that are made up."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from marketpulse.errors import MarketPulseError, ParameterError, RejectedRecord, Retryable
from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.rest.pipeline import PipelineApi

LETTER = {"letter_partition": 3, "letter_offset": 7, "reason": "bad_price", "value": "{}"}


class MadeUpWatch:
    def __init__(self) -> None:
        self.asked: list[tuple[bool | None, int | None]] = []

    def picture(self, *, broker_reachable: bool | None, engine_lag: int | None) -> Mapping[str, Any] | None:
        self.asked.append((broker_reachable, engine_lag))
        return {"findings": []}


class MadeUpDesk:
    def __init__(self) -> None:
        self.fault: MarketPulseError | None = None
        self.sent: list[tuple[int, int, bytes]] = []
        self.closed = False

    def newest(self, limit: int) -> Sequence[Mapping[str, Any]]:
        if self.fault is not None:
            raise self.fault
        return [LETTER][:limit]

    def send_again(self, partition: int, offset: int, value: bytes) -> Mapping[str, Any]:
        if self.fault is not None:
            raise self.fault
        self.sent.append((partition, offset, value))
        return {"topic": "market", "partition": 1, "offset": 2}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def desk() -> MadeUpDesk:
    return MadeUpDesk()


@pytest.fixture
def watch() -> MadeUpWatch:
    return MadeUpWatch()


class Client:
    """Asks the application without a socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, json: Any) -> httpx.Response:
        return self._ask("POST", path, json)

    def _ask(self, method: str, path: str, json: Any = None) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, json=json)

        return asyncio.run(run())


@pytest.fixture
def client(desk: MadeUpDesk, watch: MadeUpWatch) -> Iterator[Client]:
    board = Board()
    api = PipelineApi(board, watch, lambda: desk)
    yield Client(create_app(board, ServeSettings(), {}, routers=[api.router()]))
    api.close()


def test_the_picture_comes_with_the_figures_that_the_strip_shows(client: Client, watch: MadeUpWatch) -> None:
    answer = client.get("/api/pipeline")
    assert answer.json()["pipeline"] == {"findings": []}
    assert answer.json()["figures"]["symbols"] == 0
    assert watch.asked == [(None, None)]


def test_letters_are_listed_and_sent_again(client: Client, desk: MadeUpDesk) -> None:
    assert client.get("/api/dead-letters").json() == {"letters": [LETTER]}
    mended = {"letter_partition": 3, "letter_offset": 7, "value": '{"price": 1.5}'}
    assert client.post("/api/dead-letters/send", json=mended).json() == {
        "sent_to": {"topic": "market", "partition": 1, "offset": 2}
    }
    assert desk.sent == [(3, 7, b'{"price": 1.5}')]


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (RejectedRecord("price must be above 0"), 422, "no market data still: price must be above 0"),
        (ParameterError("this letter was sent again already"), 409, "already"),
        (Retryable("the broker is away"), 503, "away"),
    ],
)
def test_a_letter_that_is_refused_says_why(
    client: Client, desk: MadeUpDesk, fault: MarketPulseError, status: int, words: str
) -> None:
    desk.fault = fault
    answer = client.post("/api/dead-letters/send", json={"letter_partition": 0, "letter_offset": 0, "value": "{}"})
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x"])
def test_a_wrong_question_is_refused(client: Client, query: str) -> None:
    assert client.get(f"/api/dead-letters?{query}").status_code in (400, 422)


def test_the_desk_is_closed_with_the_routes(desk: MadeUpDesk, watch: MadeUpWatch) -> None:
    board = Board()
    api = PipelineApi(board, watch, lambda: desk)
    Client(create_app(board, ServeSettings(), {}, routers=[api.router()])).get("/api/dead-letters")
    api.close()
    assert desk.closed
