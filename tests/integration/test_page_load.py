"""Two hundred pages at once, ten of which never read: all others see everything, and the ten are let go."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from board_rows import live, row
from marketpulse.settings import ServeSettings
from marketpulse.telemetry import REGISTRY
from marketpulse.web import stream
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.page_socket import WAITING_BYTES_MAX
from marketpulse.web.server import WebServer
from page_reader import NeverReads, PageReader
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PAGES, NEVER_READ, SYMBOLS = 200, 10, 500
FRAME_BYTES_MAX = 400_000  # the first one of 500 symbols
PLACE = re.compile(r'{"seq":(?P<seq>[0-9]+),"after":(?P<after>[0-9]+|null)')


def count(name: str) -> float:
    return REGISTRY.get_sample_value(f"marketpulse_{name}") or 0.0


@contextmanager
def moving(board: Board) -> Iterator[None]:
    """All symbols trade, again and again."""
    stop = threading.Event()

    def trade() -> None:
        step = 0
        while not stop.wait(0.1):
            step += 1
            rows = (row(f"S{i:04d}", "1m", 60, step + i / 7, bid=step / 3, ask=step / 7) for i in range(SYMBOLS))
            board.take(live([], *rows))

    thread = threading.Thread(target=trade)
    thread.start()
    yield
    stop.set()
    thread.join()


class Visitor:
    """A page that reads on and on. `watched`: it keeps what it read, else only where it stands."""

    def __init__(self, page: ClientConnection, *, watched: bool) -> None:
        self.page, self.watched = page, watched
        self.texts: list[str] = []
        self.seq: int | None = None
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self.page:
            place = PLACE.match(str(text))
            assert place is not None
            assert json.loads(place["after"]) == self.seq
            self.seq = int(place["seq"])
            if self.watched:
                self.texts.append(str(text))


def test_two_hundred_pages_of_which_ten_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAGES_MAX", PAGES)
    monkeypatch.setattr(stream, "SEND_TIMEOUT_S", 4.0)
    serve, board = ServeSettings(port=0), Board()
    board.take(live([], *(row(f"S{i:04d}", "1m", 60, 1.0) for i in range(SYMBOLS))))
    server = WebServer(create_app(board, serve, {}), serve)
    server.start()
    let_go = count("pages_let_go_total")
    held: list[int] = []

    async def visit() -> list[list[str]]:
        address = f"ws://127.0.0.1:{server.port}/ws"
        pages = [await connect(address, max_size=None) for _ in range(PAGES - NEVER_READ)]
        with pytest.raises(InvalidStatus) as refused:
            await connect(address)
        assert refused.value.response.status_code == 503
        visitors = [Visitor(page, watched=i % 30 == 0) for i, page in enumerate(pages)]
        async with asyncio.timeout(120):
            with moving(board):
                while count("pages_let_go_total") < let_go + NEVER_READ:
                    connections = list(server._server.server_state.connections)
                    held.extend(one.transport.get_write_buffer_size() for one in connections)  # what no page has taken
                    await asyncio.sleep(0.2)
            while any(visitor.seq != board.seq for visitor in visitors):
                await asyncio.sleep(0.1)
        assert not any(visitor.task.done() for visitor in visitors)
        for page in pages:
            await page.close()
        return [visitor.texts for visitor in visitors if visitor.watched]

    with ExitStack() as silent:
        for _ in range(NEVER_READ):
            silent.enter_context(NeverReads(server.port))
        wait_until(lambda: count("pages_connected") >= NEVER_READ, "they are connected")
        watched = asyncio.run(visit())
        server.stop()
    assert count("pages_let_go_total") == let_go + NEVER_READ
    assert max(held) <= WAITING_BYTES_MAX + FRAME_BYTES_MAX
    told = {symbol: last for symbol, last, *_ in board.quote_rows()}
    assert len(told) == SYMBOLS
    for texts in watched:
        reader = PageReader()
        for text in texts:
            reader.take(text)
        assert {symbol: quote[0] for symbol, quote in reader.quotes.items()} == told
