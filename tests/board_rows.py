"""Rows for the board of the page, an application served on loopback, and a page's socket that a test reads."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pyarrow as pa
from starlette.types import ASGIApp

from marketpulse.model.rows import ALERT, BAR, LIVE_NAME, indicators_schema, live_schema
from marketpulse.ports import FeedBatch
from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.columns import BOOK
from marketpulse.web.pages import Asset
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi

SECOND_NS = 10**9
LENGTH_S = {"1s": 1, "1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400, "1t": 0}


def row(symbol: str, timeframe: str, open_s: int, close: float, **other: Any) -> dict[str, Any]:
    """A bar that trades between close - 1 and close + 1, in the session of its UTC day."""
    return {
        "symbol": symbol, "timeframe": timeframe, "open_time_ns": open_s * SECOND_NS,
        "close_time_ns": (open_s + LENGTH_S[timeframe]) * SECOND_NS, "open": close, "high": close + 1,
        "low": close - 1, "close": close, "volume": 10.0, "vwap": close, "trade_count": 2, "revision": 0,
        "source": "replay", "venue": None, "session_date": open_s // 86_400,
        "receipt": {
            "topic": "market", "partition": 0, "first_offset": open_s, "first_row": 0, "last_offset": open_s,
            "last_row": 0, "late_count": 0, "engine_version": "1",
        },
    } | other  # fmt: skip


def minute(number: int, close: float, symbol: str = "AAPL", **other: Any) -> dict[str, Any]:
    return row(symbol, "1m", 60 * number, close, **other)


def bars(*rows: dict[str, Any]) -> FeedBatch:
    return FeedBatch("bars", pa.RecordBatch.from_pylist(list(rows), BAR), 1_000)


def indicators(names: list[str], *rows: dict[str, Any]) -> FeedBatch:
    return FeedBatch("indicators", pa.RecordBatch.from_pylist(list(rows), indicators_schema(names)), 1_000)


def live(names: list[str], *rows: dict[str, Any]) -> FeedBatch:
    """Forming bars; a row's own indicators go by their names in `live`."""
    filled = [
        {"event_time_ns": r["open_time_ns"] + 1, "ingest_time_ns": 0}
        | {LIVE_NAME.get(key, key) if key in names and key != "vwap" else key: value for key, value in r.items()}
        for r in rows
    ]
    return FeedBatch("live", pa.RecordBatch.from_pylist(filled, live_schema(names)), 2_000)


def alert(second: int, state: str, symbol: str = "A", rule: str = "high", **more: Any) -> dict[str, Any]:
    """A row of ALERT, `second` seconds after the epoch."""
    time_ns = second * 10**9
    return {
        "symbol": symbol, "rule": rule, "severity": "warning", "timeframe": "1s", "open_time_ns": time_ns - 10**9,
        "event_time_ns": time_ns, "state": state, "was": None, "late": False, "value": 1.5,
        "message": f"{symbol}: {rule} is {state} at 1.5", "revision": 0,
        "receipt": {
            "topic": "market", "partition": 0, "first_offset": second, "first_row": 0, "last_offset": second, "last_row": 0,
            "late_count": 0, "engine_version": "3",
        },
    } | more  # fmt: skip


def alerts(*rows: dict[str, Any]) -> FeedBatch:
    return FeedBatch("alerts", pa.RecordBatch.from_pylist(list(rows), ALERT), 1_000)


def ask(app: ASGIApp, path: str, method: str = "GET", *, raises: bool = True, **sent: Any) -> httpx.Response:
    """The answer to one request; what the application raises is raised here, or answered as by a server."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=raises)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **sent)

    return asyncio.run(run())


def app_of(board: Board | None = None, pages: dict[str, Asset] | None = None, **more: Any) -> ASGIApp:
    return create_app(board or Board(), ServeSettings(), pages or {}, **more)


@contextmanager
def serving(
    board: Board | None = None, serve: ServeSettings | None = None, pages: dict[str, Asset] | None = None,
    sql: SqlApi | None = None, **more: Any,
) -> Iterator[WebServer]:  # fmt: skip
    """The real server on a free port."""
    serve = serve or ServeSettings(port=0)
    server = WebServer(create_app(board or Board(), serve, pages or {}, sql, **more), serve)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def served(*of: Any, **more: Any) -> Iterator[httpx.Client]:
    """A client of `serving`."""
    with serving(*of, **more) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def closes(frame: dict[str, Any]) -> list[float]:
    """Of its chart's rows."""
    return [values[5] for values in frame["chart"]["rows"]]


def wish(symbol: str = "AAPL", timeframe: str = "1m") -> str:
    """What a page says that shows this chart."""
    return json.dumps({"subscribe": {"chart": {"symbol": symbol, "timeframe": timeframe}, "parts": []}})


class PageReader:
    """Takes frames as the page does. `quotes`: by symbol, as Board.quote_rows has them behind the name."""

    def __init__(self) -> None:
        self.seq: int | None = None
        self.run: str | None = None
        self.generation: int | None = None
        self.shown: dict[str, Any] | None = None
        self.columns: list[str] = []
        self.timeframes: list[str] = []
        self.quotes: dict[str, list[Any]] = {}
        self.sparks: dict[str, Any] = {}
        self.charts: dict[tuple[str, str], dict[float, list[Any]]] = {}
        self.parts: list[tuple[str, Any]] = []
        self._symbols: dict[int, list[Any]] = {}

    def take(self, text: str) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(text)
        assert frame["after"] in (None, self.seq), "a frame that does not follow"
        if frame["after"] is None:
            self.quotes, self.sparks, self._symbols = {}, {}, {}
        self.seq = frame["seq"]
        for name in ("run", "generation", "shown", "columns", "timeframes"):
            if name in frame:
                setattr(self, name, frame[name])
        self._take_quotes(frame.get("symbols", []), frame.get("quotes"))
        self.sparks |= frame.get("sparks", {})
        if chart := frame.get("chart"):
            rows = self.charts.setdefault((chart["symbol"], chart["timeframe"]), {})
            if chart["whole"]:
                rows.clear()
            rows |= {row[0]: row for row in chart["rows"]}
        self.parts += frame.get("parts", {}).items()
        return frame

    def resume(self) -> str | None:
        """What the page says when it comes back."""
        if self.seq is None:
            return None
        return json.dumps({"run": self.run, "generation": self.generation, "seq": self.seq, "shown": self.shown})

    def _take_quotes(self, symbols: list[list[Any]], quotes: dict[str, Any] | None) -> None:
        for number, *about in symbols:
            self._symbols[number] = about
        if quotes is None:
            return
        nothing = [None] * len(quotes["id"])
        books = zip(*(quotes.get(name, nothing) for name in BOOK), strict=True)
        for number, last, ago, book in zip(quotes["id"], quotes["last"], quotes["ago"], books, strict=True):
            symbol, *about = self._symbols[number]
            self.quotes[symbol] = [last, quotes["until"] - ago, *about, *book]


class NeverReads:
    """Within its `with`, the connection is open and nobody reads it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def __enter__(self) -> "NeverReads":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
