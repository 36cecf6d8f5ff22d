import asyncio

import httpx

from board_rows import bars, row
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import metrics_text
from marketpulse.web.api import create_app
from marketpulse.web.board import Board


def get(path: str, **headers: str) -> httpx.Response:
    board = Board()
    board.take(bars(row("AAA", "1m", 0, 1.0), row("AAA", "5m", 0, 2.0)))

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(board, ServeSettings(), {}))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(run())


def test_symbols_come_as_csv_too() -> None:
    lines = get("/api/symbols", accept="text/csv").text.splitlines()
    assert lines[0].startswith('"symbol","last","last_time_ms"')
    assert lines[1].startswith('"AAA",2,300000,2,"session_open",false,,"1m 5m"')


def test_health_is_never_kept_and_takes_no_parameters() -> None:
    assert get("/api/health").headers["cache-control"] == "no-store"
    assert get("/api/health?x=1").status_code == 400


def test_metrics_are_the_processs_own() -> None:
    answer = get("/metrics")
    assert answer.headers["content-type"] == metrics_text()[1]
    assert "# TYPE marketpulse_pages_connected gauge" in answer.text
