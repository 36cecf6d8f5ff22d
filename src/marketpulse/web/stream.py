"""The WebSocket: a page says what it wants to see, and gets frames at its own pace."""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from marketpulse.errors import ParameterError
from marketpulse.model.market import SYMBOL_BYTES_MAX
from marketpulse.model.timeframe import Timeframe
from marketpulse.telemetry import PAGE_FRAMES, PAGES_CONNECTED, REQUESTS_REFUSED
from marketpulse.web.board import Board
from marketpulse.web.frames import PageView, Wish, next_frame

PAGES_MAX = 200
WISH_BYTES_MAX = 1_024
WISHES_PER_S_MAX = 50
FIGURES_EVERY_S = 1.0  # also what tells a page that the server is alive
SEND_TIMEOUT_S = 20.0  # a page that takes nothing for so long is let go

TOO_MANY_PAGES, BAD_WISH = 1013, 1008


def read_wish(text: str, parts: Collection[str]) -> Wish:
    """`{"subscribe": {"chart": {"symbol": …, "timeframe": …} or null, "parts": […]}}`. Raises ParameterError.

    `parts`: the names that there are."""
    try:
        wish = orjson.loads(text)["subscribe"]
        chart, wanted = wish["chart"], wish["parts"]
        place = None if chart is None else _read_place(chart["symbol"], chart["timeframe"])
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        raise ParameterError(
            'send {"subscribe": {"chart": {"symbol": "AAPL", "timeframe": "1m"}, "parts": []}}'
        ) from None
    if not isinstance(wanted, list) or not all(isinstance(name, str) and name in parts for name in wanted):
        raise ParameterError(f"subscribe: parts is a list of some of {', '.join(sorted(parts)) or 'none'}")
    return Wish(place, frozenset(wanted))


def _read_place(symbol: Any, timeframe: Any) -> tuple[str, str]:
    if not isinstance(symbol, str) or not 0 < len(symbol.encode(errors="replace")) <= SYMBOL_BYTES_MAX:
        raise ParameterError(f"subscribe: a symbol is text of at most {SYMBOL_BYTES_MAX} bytes")
    if not isinstance(timeframe, str):
        raise ParameterError("subscribe: a timeframe is text such as 1m")
    return symbol, Timeframe.parse(timeframe).name


@dataclass(slots=True)
class Stream:
    """The `/ws` endpoint. Each page has its own tasks and its own view: none waits for another."""

    board: Board
    frames_per_s: float
    pages: int = 0

    async def attend(self, socket: WebSocket) -> None:
        if self.pages >= PAGES_MAX:
            REQUESTS_REFUSED.labels("pages").inc()
            await socket.close(TOO_MANY_PAGES)
            return
        self.pages += 1
        PAGES_CONNECTED.inc()
        try:
            await socket.accept()
            await self._converse(socket)
        finally:
            self.pages -= 1
            PAGES_CONNECTED.dec()

    async def _converse(self, socket: WebSocket) -> None:
        view, wished = PageView(), asyncio.Event()
        tasks = [
            asyncio.create_task(self._listen(socket, view, wished)),
            asyncio.create_task(self._show(socket, view, wished)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            # RuntimeError: Starlette's word for sending on a socket that has just closed.
            pass
        except ParameterError as error:
            REQUESTS_REFUSED.labels("wish").inc()
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(BAD_WISH, str(error)[:120])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, socket: WebSocket, view: PageView, wished: asyncio.Event) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            view.wanted = read_wish(message.get("text") or "", self.board.parts)  # bytes are no wish
            wished.set()
            await asyncio.sleep(1 / WISHES_PER_S_MAX)

    async def _show(self, socket: WebSocket, view: PageView, wished: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        figures_due = loop.time()
        while True:
            wished.clear()
            now = loop.time()
            frame = next_frame(self.board, view, figures=now >= figures_due)
            if now >= figures_due:
                figures_due = now + FIGURES_EVERY_S
            if frame is not None:
                await asyncio.wait_for(socket.send_text(frame.decode()), SEND_TIMEOUT_S)
                PAGE_FRAMES.inc()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wished.wait(), 1 / self.frames_per_s)
