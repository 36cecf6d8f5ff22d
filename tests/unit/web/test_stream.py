import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from board_rows import bars, live, row
from marketpulse.errors import ParameterError
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.frames import Wish
from marketpulse.web.server import WebServer
from marketpulse.web.stream import read_wish

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


async def frame_with(socket: ClientConnection, part: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if part in frame:
                return frame


async def until_closed(socket: ClientConnection) -> int | None:
    """Read on until the server closes; its code."""
    async with asyncio.timeout(5):
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed:
            return socket.close_code


def wish(symbol: str = "AAPL", timeframe: str = "1m") -> str:
    return json.dumps({"subscribe": {"chart": {"symbol": symbol, "timeframe": timeframe}, "parts": []}})


def test_a_page_gets_quotes_at_once_and_its_chart_when_it_asks(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as socket:
            first = await frame_with(socket, "quotes")
            assert (first["after"], first["quotes"][0][0]) == (None, "AAPL")
            await socket.send(wish())
            chart = (await frame_with(socket, "chart"))["chart"]
            assert [r[5] for r in chart["rows"]] == [0, 1, 2, 3, 4]
            site.board.take(live([], row("AAPL", "1m", 300, 5.5)))
            step = await frame_with(socket, "chart")
            assert [r[5] for r in step["chart"]["rows"]] == [5.5]

    asyncio.run(visit())


def test_every_frame_builds_on_the_one_before(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as socket:
            last = (await frame_with(socket, "quotes"))["seq"]
            for i in range(10):
                site.board.take(live([], row("AAPL", "1m", 300, float(i))))
                frame = await frame_with(socket, "seq")
                assert frame["after"] == last
                last = frame["seq"]

    asyncio.run(visit())


def test_frames_come_no_faster_than_the_setting(site: Site) -> None:
    async def visit() -> int:
        async with connect(site.address) as socket:
            await frame_with(socket, "quotes")
            began, frames = time.monotonic(), 0
            while time.monotonic() - began < 1.5:
                site.board.take(live([], row("AAPL", "1m", 300, time.monotonic())))
                try:
                    await asyncio.wait_for(socket.recv(), 0.002)
                    frames += 1
                except TimeoutError:
                    continue
            return frames

    frames = asyncio.run(visit())
    assert 5 < frames <= 1.5 * FRAMES_PER_S + 2


def test_a_page_that_reads_nothing_holds_up_nobody_and_gets_fewer_steps(site: Site) -> None:
    everything = live([], *(row(f"S{j:04d}", "1m", 300, 1.0) for j in range(1_500)))  # 100 kB a frame

    async def visit() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with connect(site.address, max_queue=1) as slow, connect(site.address) as quick:
            frames = []
            for _ in range(100):
                site.board.take(everything)
                began = time.monotonic()
                frames.append(await frame_with(quick, "quotes"))
                assert time.monotonic() - began < 2
            late = [json.loads(await slow.recv())]
            while late[-1]["seq"] < frames[-1]["seq"]:
                late.append(json.loads(await slow.recv()))
            return frames, late

    frames, late = asyncio.run(visit())
    assert len(late) < len(frames)
    assert all(after["after"] == before["seq"] for before, after in itertools.pairwise(late))


def test_an_idle_page_still_hears_the_figures_each_second(site: Site) -> None:
    async def visit() -> None:
        async with connect(site.address) as socket:
            await frame_with(socket, "figures")
            began = time.monotonic()
            await frame_with(socket, "figures")
            assert 0.5 < time.monotonic() - began < 2

    asyncio.run(visit())


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "{}", '{"subscribe": 5}', wish(timeframe="9x"), wish("X" * 65)]
)
def test_a_wish_that_cannot_be_read_ends_the_conversation(site: Site, text: str) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as socket:
            await socket.send(text)
            return await until_closed(socket)

    assert asyncio.run(visit()) == 1008


def test_a_message_that_is_too_large_ends_the_conversation(site: Site) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as socket:
            await socket.send("x" * 5_000)
            return await until_closed(socket)

    assert asyncio.run(visit()) == 1009


def test_a_binary_message_is_no_wish_either(site: Site) -> None:
    async def visit() -> int | None:
        async with connect(site.address) as socket:
            await socket.send(b"\x00\x01")
            return await until_closed(socket)

    assert asyncio.run(visit()) == 1008


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 421)],
)
def test_foreign_pages_are_refused_before_the_socket_opens(
    site: Site, headers: dict[str, str], status: int
) -> None:
    async def visit() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        fields = {
            "Host": f"127.0.0.1:{site.server.port}", "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
        } | headers  # fmt: skip
        writer.write(
            ("GET /ws HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode()
        )
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return line.decode()

    assert asyncio.run(visit()).split()[1] == str(status)


def test_pages_that_leave_are_forgotten(site: Site) -> None:
    async def visit() -> None:
        for _ in range(5):
            async with connect(site.address) as socket:
                await frame_with(socket, "quotes")

    asyncio.run(visit())
    deadline = time.monotonic() + 5
    while REGISTRY.get_sample_value("marketpulse_pages_connected") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert REGISTRY.get_sample_value("marketpulse_pages_connected") == 0


def test_a_wish_names_a_chart_and_parts() -> None:
    assert read_wish(wish("BTC-USD", "5m"), ()) == Wish(("BTC-USD", "5m"))
    only_a_part = '{"subscribe": {"chart": null, "parts": ["alerts"]}}'
    assert read_wish(only_a_part, {"alerts", "market"}) == Wish(None, frozenset({"alerts"}))
    for wrong in (
        '{"subscribe": {"symbol": "AAPL"}}',
        only_a_part,
        only_a_part.replace('["alerts"]', '"market"'),
    ):
        with pytest.raises(ParameterError, match="subscribe"):
            read_wish(wrong, {"market"})
