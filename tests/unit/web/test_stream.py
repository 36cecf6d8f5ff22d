"""The page's socket and the server it hangs on."""

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from board_rows import NeverReads, PageReader, app_of, bars, closes, live, row, serving, wish
from marketpulse.errors import EnvironmentProblem, SettingsError
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web import connection, page_socket, stream
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer, open_socket
from refused import assert_raises
from waiting import wait_until

FRAMES_PER_S = 20.0
EVERYTHING = live([], *(row(f"S{j:04d}", "1m", 300, j / 7) for j in range(1_500)))
"""50 kB a frame."""


def count(name: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_{name}") or 0.0


class Site:
    """A server with a board of five bars."""

    def __init__(self, server: WebServer, board: Board) -> None:
        self.server, self.board = server, board
        self.address = f"ws://127.0.0.1:{server.port}/ws"

    def move(self, close: float = 5.5) -> None:
        self.board.take(live([], row("AAPL", "1m", 300, close)))

    def move_all(self) -> None:
        self.board.take(EVERYTHING)


@pytest.fixture
def site() -> Iterator[Site]:
    board = Board()
    board.take(bars(*(row("AAPL", "1m", 60 * i, float(i)) for i in range(5))))
    with serving(board, ServeSettings(port=0, frames_per_s=FRAMES_PER_S)) as server:
        yield Site(server, board)


async def frame_with(page: ClientConnection, part: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            frame: dict[str, Any] = json.loads(await page.recv())
            if part in frame:
                return frame


async def until_closed(page: ClientConnection) -> int | None:
    """Read on until the server closes; its code."""
    async with asyncio.timeout(5):
        with suppress(websockets.ConnectionClosed):
            while True:
                await page.recv()
    return page.close_code


def test_a_page_gets_quotes_at_once_its_chart_when_it_asks_and_every_frame_builds_on_the_one_before(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as page:
            first = await frame_with(page, "quotes")
            assert (first["after"], first["symbols"][0][1]) == (None, "AAPL")
            await page.send(wish())
            assert closes(await frame_with(page, "chart")) == [0, 1, 2, 3, 4]
            site.move()
            assert closes(await frame_with(page, "chart")) == [5.5]
        async with connect(site.address) as page:
            last = (await frame_with(page, "quotes"))["seq"]
            for i in range(10):
                site.move(float(i))
                frame = await frame_with(page, "seq")
                assert frame["after"] == last
                last = frame["seq"]

    asyncio.run(visit())


def test_frames_come_no_faster_than_the_setting(site: Site) -> None:
    async def visit() -> int:
        async with connect(site.address) as page:
            await frame_with(page, "quotes")
            began, frames = time.monotonic(), 0
            while time.monotonic() - began < 1.5:
                site.move(time.monotonic())
                with suppress(TimeoutError):
                    await asyncio.wait_for(page.recv(), 0.002)
                    frames += 1
            return frames

    assert 5 < asyncio.run(visit()) <= 1.5 * FRAMES_PER_S + 2


def test_a_page_that_reads_nothing_holds_up_nobody_and_gets_fewer_steps(site: Site) -> None:
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    small.connect(("127.0.0.1", site.server.port))
    small.setblocking(False)

    async def visit() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with connect(site.address, max_queue=1, sock=small) as slow, connect(site.address) as quick:
            frames = []
            for _ in range(100):
                site.move_all()
                frames.append(await frame_with(quick, "quotes"))
            late = [json.loads(await slow.recv())]
            while late[-1]["seq"] < frames[-1]["seq"]:
                late.append(json.loads(await slow.recv()))
            return frames, late

    frames, late = asyncio.run(visit())
    assert len(late) < len(frames)
    assert all(after["after"] == before["seq"] for before, after in itertools.pairwise(late))


def test_a_page_that_comes_back_goes_on_where_it_was(site: Site) -> None:
    async def visit() -> None:
        reader = PageReader()
        async with connect(site.address) as page:
            await page.send(wish())
            while reader.shown != json.loads(wish())["subscribe"]:
                reader.take(str(await page.recv()))
        site.move()
        async with connect(f"{site.address}?resume={quote(reader.resume() or '')}") as page:
            first = json.loads(await page.recv())
            assert (first["after"], closes(first)) == (reader.seq, [5.5])
        async with connect(f"{site.address}?resume=nonsense") as page:
            assert json.loads(await page.recv())["after"] is None

    asyncio.run(visit())


def test_an_idle_page_still_hears_the_figures_each_second_and_pages_that_leave_are_forgotten(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as page:
            heard = [(await frame_with(page, "figures"))["figures"]["now_ms"] for _ in range(3)]
            assert heard[2] - heard[0] > 900  # the first one may come at the end of its second
        for _ in range(5):
            async with connect(site.address) as page:
                await frame_with(page, "quotes")

    asyncio.run(visit())
    wait_until(lambda: count("pages_connected") == 0, within_s=20)


@pytest.mark.parametrize(("message", "code"), [
    ("", 1008), ("nonsense", 1008), ("[]", 1008), ("{}", 1008), ('{"subscribe": 5}', 1008), (wish(timeframe="9x"), 1008),
    (wish("X" * 65), 1008), (b"\x00\x01", 1008), ("x" * 5_000, 1009),
])  # fmt: skip
def test_a_wish_that_cannot_be_read_ends_the_conversation(site: Site, message: str | bytes, code: int) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as page:
            await page.send(message)
            return await until_closed(page)

    assert asyncio.run(visit()) == code


@pytest.mark.parametrize(("headers", "status"), [
    ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 421),
])  # fmt: skip
def test_foreign_pages_are_refused_before_the_socket_opens(site: Site, headers: dict[str, str], status: int) -> None:
    async def visit() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        fields = {
            "Host": f"127.0.0.1:{site.server.port}", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
        } | headers  # fmt: skip
        writer.write(("GET /ws HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode())
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return line.decode()

    assert asyncio.run(visit()).split()[1] == str(status)


@patch.object(stream, "SEND_TIMEOUT_S", 0.2)
@patch.object(page_socket, "LINGER_S", 0.1)
def test_a_page_that_never_reads_is_cut_off_and_leaves_nothing_behind_and_a_closed_one_is_left_alone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that is only closed would wait for ever until its buffer is taken."""
    let_go, connected = count("pages_let_go_total"), count("pages_connected")

    async def visit() -> None:
        async with connect(site.address) as page:
            await page.recv()
        with NeverReads(site.server.port):
            async with asyncio.timeout(30):
                while count("pages_let_go_total") == let_go:
                    site.move_all()
                    await asyncio.sleep(0.01)
                while site.server._server.server_state.connections:
                    await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # longer than it lingers

    asyncio.run(visit())
    assert (count("pages_let_go_total"), count("pages_connected")) == (let_go + 1, connected)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_kernel_holds_a_bounded_share_a_taken_default_port_gives_way_and_unsafe_ones_never_listen() -> None:
    server = WebServer(app_of(), ServeSettings(port=0))
    asked = server._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    server._socket.close()
    assert page_socket.KERNEL_BYTES <= asked <= 2 * page_socket.KERNEL_BYTES  # Linux tells twice what was set
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        listener = open_socket(ServeSettings.model_construct(port=taken, _fields_set=set()))  # the default
        assert listener.getsockname()[1] not in {0, taken}
        listener.close()
        assert_raises(EnvironmentProblem, rf"port {taken} .*serve.port", open_socket, ServeSettings(port=taken))
    assert_raises(SettingsError, "SERVE__TOKEN", open_socket, ServeSettings(host="::", port=0))


def test_the_server_answers_stops_within_two_seconds_with_pages_open_and_its_port_can_be_used_again_at_once() -> None:
    server = WebServer(app_of(), ServeSettings(port=0))
    server.start()
    assert httpx.get(server.url + "api/health").json()["status"] == "starting"

    async def stop_with_pages_open() -> float:
        address = f"ws://127.0.0.1:{server.port}/ws"
        async with connect(address), connect(address):
            began = time.monotonic()
            await asyncio.to_thread(server.stop)
            return time.monotonic() - began

    assert asyncio.run(stop_with_pages_open()) < 2
    assert not server.alive()
    assert_raises(httpx.ConnectError, "", httpx.get, server.url)
    with serving(serve=ServeSettings(port=server.port)) as again:
        assert (again.port, httpx.get(again.url + "api/health").status_code) == (server.port, 200)


@patch.object(connection, "ARRIVES_WITHIN_S", 0.3)
@patch.object(connection, "PER_ADDRESS_MAX", 3)
def test_a_request_that_does_not_arrive_is_ended_a_page_stays_and_an_address_has_few_connections(site: Site) -> None:
    at = ("127.0.0.1", site.server.port)
    whole = f"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1:{site.server.port}\r\n".encode()

    def answer(said: bytes) -> bytes:
        with socket.create_connection(at, 5) as client:
            client.sendall(said)
            return b"".join(iter(lambda: client.recv(4_096), b""))

    async def visit() -> None:
        async with connect(site.address) as page:
            await page.recv()
            for unfinished in (b"", whole):
                assert b" 408 " in await asyncio.to_thread(answer, unfinished)
            assert b" 200 " in await asyncio.to_thread(answer, whole + b"Content-Length: 9\r\n\r\n{")  # then closed
            others = [await asyncio.open_connection(*at) for _ in range(3)]
            assert await others[2][0].read() == b""  # the page and two others
            for _, writer in others:
                writer.close()
            await frame_with(page, "figures")
            await page.close()

    asyncio.run(visit())
    wait_until(lambda: httpx.get(site.server.url + "api/health").status_code == 200)
