import asyncio
from typing import Any

import httpx
import pytest

from board_rows import bars, row
from marketpulse.ports import PipelineStats
from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board


def get(board: Board, path: str, method: str = "GET") -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(board, ServeSettings(), {}))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path)

    return asyncio.run(run())


@pytest.fixture
def board() -> Board:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i + 1)) for i in range(5))))
    return board


def test_bars_come_with_the_names_of_their_columns_in_milliseconds(board: Board) -> None:
    answer = get(board, "/api/bars?symbol=AAPL&timeframe=1m&limit=2").json()
    rows: list[dict[str, Any]] = [dict(zip(answer["columns"], r, strict=True)) for r in answer["rows"]]
    assert [(r["open_time_ms"], r["close_time_ms"], r["close"]) for r in rows] == [
        (180_000, 240_000, 4.0),
        (240_000, 300_000, 5.0),
    ]


def test_symbols_come_with_last_price_and_reference(board: Board) -> None:
    answer = get(board, "/api/symbols").json()
    assert answer["timeframes"] == ["1m"]
    assert answer["symbols"] == [
        {
            "symbol": "AAPL", "last": 5.0, "last_time_ms": 300_000, "reference": 1.0,
            "reference_kind": "session_open", "simulated": False, "venue": None, "timeframes": ["1m"],
            "bid": None, "bid_size": None, "ask": None, "ask_size": None,
        }
    ]  # fmt: skip


def test_health_says_whether_the_log_is_there(board: Board) -> None:
    assert get(board, "/api/health").json()["status"] == "starting"
    board.take_stats(PipelineStats(10, 0, 0, 5, broker_reachable=True))
    assert get(board, "/api/health").json()["status"] == "ok"
    board.take_stats(PipelineStats(0, 0, 0, 0, broker_reachable=False))
    assert get(board, "/api/health").json()["status"] == "log_away"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/bars", 400),
        ("/api/bars?symbol=AAPL", 400),
        ("/api/bars?symbol=AAPL&timeframe=1m&limit=0", 400),
        ("/api/bars?symbol=AAPL&timeframe=1m&limit=-1", 400),
        ("/api/bars?symbol=AAPL&timeframe=1m&limit=%C2%B2", 400),
        ("/api/bars?symbol=AAPL&timeframe=1m&limit=99999999999999999999", 400),
        ("/api/bars?symbol=NONE&timeframe=1m", 404),
        ("/api/bars?symbol=AAPL&timeframe=1h", 404),
    ],
)
def test_a_wrong_question_is_answered_with_what_to_ask(board: Board, path: str, status: int) -> None:
    answer = get(board, path)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_nothing_can_be_written(board: Board) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(board, "/api/bars", method).status_code == 405
