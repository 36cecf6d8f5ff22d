import asyncio
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from board_rows import bars, live, row
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web import stream
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer
from page_reader import PageReader
from pages_that_never_read import NeverReads

FRAMES_PER_S = 20.0


class Site:
    def __init__(self) -> None:
        serve = ServeSettings(port=0, frames_per_s=FRAMES_PER_S)
        self.board = Board()
        self.server = WebServer(create_app(self.board, serve, {}), serve)
        self.server.start()
        self.address = f"ws://127.0.0.1:{self.server.port}/ws"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.board.take(bars(*(row("AAPL", "1m", 60 * i, float(i)) for i in range(5))))
    yield site
    site.server.stop()


async def frame_with(page: ClientConnection, part: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            frame: dict[str, Any] = json.loads(await page.recv())
            if part in frame:
                return frame


async def until_closed(page: ClientConnection) -> int | None:
    """Read on until the server closes; its code."""
    async with asyncio.timeout(5):
        try:
            while True:
                await page.recv()
        except websockets.ConnectionClosed:
            return page.close_code


def wish(symbol: str = "AAPL", timeframe: str = "1m") -> str:
    return json.dumps({"subscribe": {"chart": {"symbol": symbol, "timeframe": timeframe}, "parts": []}})


def test_a_page_gets_quotes_at_once_and_its_chart_when_it_asks(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as page:
            first = await frame_with(page, "quotes")
            assert (first["after"], first["symbols"][0][1]) == (None, "AAPL")
            await page.send(wish())
            chart = (await frame_with(page, "chart"))["chart"]
            assert [r[5] for r in chart["rows"]] == [0, 1, 2, 3, 4]
            site.board.take(live([], row("AAPL", "1m", 300, 5.5)))
            step = await frame_with(page, "chart")
            assert [r[5] for r in step["chart"]["rows"]] == [5.5]

    asyncio.run(visit())


def test_every_frame_builds_on_the_one_before(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as page:
            last = (await frame_with(page, "quotes"))["seq"]
            for i in range(10):
                site.board.take(live([], row("AAPL", "1m", 300, float(i))))
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
                site.board.take(live([], row("AAPL", "1m", 300, time.monotonic())))
                try:
                    await asyncio.wait_for(page.recv(), 0.002)
                    frames += 1
                except TimeoutError:
                    continue
            return frames

    frames = asyncio.run(visit())
    assert 5 < frames <= 1.5 * FRAMES_PER_S + 2


def test_a_page_that_reads_nothing_holds_up_nobody_and_gets_fewer_steps(site: Site) -> None:
    everything = live([], *(row(f"S{j:04d}", "1m", 300, j / 7) for j in range(1_500)))  # 50 kB a frame
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    small.connect(("127.0.0.1", site.server.port))
    small.setblocking(False)

    async def visit() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with connect(site.address, max_queue=1, sock=small) as slow, connect(site.address) as quick:
            frames = []
            for _ in range(100):
                site.board.take(everything)
                frames.append(await frame_with(quick, "quotes"))
            late = [json.loads(await slow.recv())]
            while late[-1]["seq"] < frames[-1]["seq"]:
                late.append(json.loads(await slow.recv()))
            return frames, late

    frames, late = asyncio.run(visit())
    assert len(late) < len(frames)
    assert all(after["after"] == before["seq"] for before, after in itertools.pairwise(late))


def count(name: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_{name}") or 0.0


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_page_that_never_reads_is_let_go_and_leaves_nothing_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SEND_TIMEOUT_S", 0.3)
    let_go, connected = count("pages_let_go_total"), count("pages_connected")
    with NeverReads(site.server.port):
        until(lambda: count("pages_connected") == connected + 1)
        while count("pages_let_go_total") == let_go:
            site.board.take(live([], *(row(f"S{j:04d}", "1m", 300, time.monotonic()) for j in range(1_500))))
        until(lambda: count("pages_connected") == connected)
    assert count("pages_let_go_total") == let_go + 1


def test_a_page_that_comes_back_goes_on_where_it_was(site: Site) -> None:
    async def visit() -> None:
        reader = PageReader()
        async with connect(site.address) as page:
            await page.send(wish())
            while reader.shown != json.loads(wish())["subscribe"]:
                reader.take(str(await page.recv()))
        site.board.take(live([], row("AAPL", "1m", 300, 5.5)))
        async with connect(f"{site.address}?resume={quote(reader.resume() or '')}") as page:
            first = json.loads(await page.recv())
            assert (first["after"], [r[5] for r in first["chart"]["rows"]]) == (reader.seq, [5.5])
        async with connect(f"{site.address}?resume=nonsense") as page:
            assert json.loads(await page.recv())["after"] is None

    asyncio.run(visit())


def test_an_idle_page_still_hears_the_figures_each_second(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as page:
            heard = [(await frame_with(page, "figures"))["figures"]["now_ms"] for _ in range(3)]
            assert heard[2] - heard[0] > 900  # the first one may come at the end of its second

    asyncio.run(visit())


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"subscribe": 5}', wish(timeframe="9x"), wish("X" * 65)])
def test_a_wish_that_cannot_be_read_ends_the_conversation(site: Site, text: str) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as page:
            await page.send(text)
            return await until_closed(page)

    assert asyncio.run(visit()) == 1008


def test_a_message_that_is_too_large_ends_the_conversation(site: Site) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as page:
            await page.send("x" * 5_000)
            return await until_closed(page)

    assert asyncio.run(visit()) == 1009


def test_a_binary_message_is_no_wish_either(site: Site) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as page:
            await page.send(b"\x00\x01")
            return await until_closed(page)

    assert asyncio.run(visit()) == 1008


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 421)],
)
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


def test_pages_that_leave_are_forgotten(site: Site) -> None:
    async def visit() -> None:
        for _ in range(5):
            async with connect(site.address) as page:
                await frame_with(page, "quotes")

    asyncio.run(visit())
    deadline = time.monotonic() + 5
    while REGISTRY.get_sample_value("marketpulse_pages_connected") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert REGISTRY.get_sample_value("marketpulse_pages_connected") == 0
