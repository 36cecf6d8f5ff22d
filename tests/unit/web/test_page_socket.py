import asyncio
import socket

import pytest
from websockets.asyncio.client import connect

from board_rows import live, row
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web import page_socket, stream
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer
from pages_that_never_read import NeverReads


def test_a_page_that_was_let_go_is_cut_off_and_one_that_closed_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that is only closed would wait for ever until its buffer is taken."""
    monkeypatch.setattr(stream, "SEND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(page_socket, "LINGER_S", 0.1)
    serve, board = ServeSettings(port=0, frames_per_s=20), Board()
    server = WebServer(create_app(board, serve, {}), serve)
    server.start()
    let_go = REGISTRY.get_sample_value("marketpulse_pages_let_go_total") or 0.0

    async def visit() -> None:
        async with connect(f"ws://127.0.0.1:{server.port}/ws") as page:
            await page.recv()
        with NeverReads(server.port):
            async with asyncio.timeout(30):
                while (REGISTRY.get_sample_value("marketpulse_pages_let_go_total") or 0.0) == let_go:
                    board.take(live([], *(row(f"S{j:04d}", "1m", 300, j / 7) for j in range(1_500))))
                    await asyncio.sleep(0.01)
                while server._server.server_state.connections:
                    await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # longer than it lingers

    asyncio.run(visit())
    server.stop()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_kernel_holds_a_bounded_share_of_what_a_page_has_not_taken() -> None:
    serve = ServeSettings(port=0)
    server = WebServer(create_app(Board(), serve, {}), serve)
    asked = server._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    server._socket.close()
    assert page_socket.KERNEL_BYTES <= asked <= 2 * page_socket.KERNEL_BYTES  # Linux tells twice what was set
