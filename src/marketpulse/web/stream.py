"""The WebSocket: a page says what it wants to see, and gets frames at its own pace."""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from marketpulse.errors import ParameterError
from marketpulse.telemetry import PAGE_FRAMES, PAGES_CONNECTED, PAGES_LET_GO, PAGES_RESUMED, REQUESTS_REFUSED
from marketpulse.web.board import Board
from marketpulse.web.frames import PageView, next_frames
from marketpulse.web.wish import read_resume, read_wish

PAGES_MAX = 500
WISHES_PER_S_MAX = 50
FIGURES_EVERY_S = 1.0  # also what tells a page that the server is alive
SEND_TIMEOUT_S = 20.0  # a page that takes nothing for so long is let go
_GATHER_S = 0.005  # pages that came, or want something else, are answered this soon, together

BAD_WISH = 1008


@dataclass(slots=True, eq=False)
class _Page:
    """One connection. It waits for a frame, or sends one since `sending_since`: never more than one."""

    socket: WebSocket
    view: PageView = field(default_factory=PageView)
    frame: asyncio.Future[str] | None = None
    sending_since: float | None = None
    show: asyncio.Task[None] | None = None

    @property
    def waits(self) -> bool:
        return self.frame is not None and not self.frame.done()


class Stream:
    """The `/ws` endpoint. At each tick all pages that wait get their frames, of one moment: those that keep pace
    stand at the same place, so that a frame is made once for all of them. None waits for another."""

    def __init__(self, board: Board, frames_per_s: float) -> None:
        self._board = board
        self._every_s = 1 / frames_per_s
        self._pages: set[_Page] = set()
        self._hurried: set[_Page] = set()
        self._ticks: asyncio.Task[None] | None = None

    async def attend(self, socket: WebSocket) -> None:
        if len(self._pages) >= PAGES_MAX:
            REQUESTS_REFUSED.labels("pages").inc()
            words = f"{PAGES_MAX} pages are open: close one, or come again later\n"
            await socket.send_denial_response(PlainTextResponse(words, 503))
            return
        page = _Page(socket)
        at = read_resume(socket.query_params.get("resume"), self._board.parts)
        if at is not None:
            PAGES_RESUMED.labels("resumed" if page.view.resume(self._board, at) else "whole").inc()
        self._pages.add(page)
        PAGES_CONNECTED.inc()
        try:
            await socket.accept()
            await self._converse(page)
        finally:
            self._pages.discard(page)
            PAGES_CONNECTED.dec()

    async def _converse(self, page: _Page) -> None:
        if self._ticks is None or self._ticks.done():
            self._ticks = asyncio.create_task(self._tick())
        page.show = asyncio.create_task(self._show(page))
        own = [asyncio.create_task(self._listen(page)), page.show]
        self._hurry(page)
        try:
            done, _ = await asyncio.wait([*own, self._ticks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task is page.show and task.cancelled():
                    PAGES_LET_GO.inc()
                else:
                    task.result()
        except (WebSocketDisconnect, RuntimeError):
            # RuntimeError: Starlette's word for sending on a socket that has just closed.
            pass
        except ParameterError as error:
            REQUESTS_REFUSED.labels("wish").inc()
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await page.socket.close(BAD_WISH, str(error)[:120])
        finally:
            for task in own:
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)

    async def _listen(self, page: _Page) -> None:
        while True:
            message = await page.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            page.view.wanted = read_wish(message.get("text") or "", self._board.parts)  # bytes are no wish
            self._hurry(page)
            await asyncio.sleep(1 / WISHES_PER_S_MAX)

    async def _show(self, page: _Page) -> None:
        loop = asyncio.get_running_loop()
        while True:
            page.frame = loop.create_future()
            frame = await page.frame
            page.sending_since = loop.time()
            await page.socket.send_text(frame)  # returns when there is room for the next one
            page.sending_since = None
            PAGE_FRAMES.inc()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._pages:
            self._serve(self._pages)
            for page in self._pages:
                since = page.sending_since
                if since is not None and loop.time() - since > SEND_TIMEOUT_S and page.show is not None:
                    page.show.cancel()
            due = max(due + self._every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _hurry(self, page: _Page) -> None:
        if not self._hurried:
            asyncio.get_running_loop().call_later(_GATHER_S, self._serve_hurried)
        self._hurried.add(page)

    def _serve_hurried(self) -> None:
        pages, self._hurried = self._hurried, set()
        self._serve(pages)

    def _serve(self, pages: Collection[_Page]) -> None:
        """The next frames of the pages that wait for one; the others are sending still, and get a larger step."""
        waiting = [page for page in pages if page.waits]
        if not waiting:
            return
        figures = int(asyncio.get_running_loop().time() / FIGURES_EVERY_S)
        frames = next_frames(self._board, [page.view for page in waiting], figures=figures)
        for page, frame in zip(waiting, frames, strict=True):
            if frame is not None and page.frame is not None:
                page.frame.set_result(frame)
