"""The web API as one ASGI application. Times are milliseconds."""

from importlib.metadata import version
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from marketpulse.settings import ServeSettings
from marketpulse.web.ask import AskApi
from marketpulse.web.board import Board
from marketpulse.web.guard import Guard
from marketpulse.web.pages import Asset, Pages, load_assets
from marketpulse.web.sql import SqlApi
from marketpulse.web.stream import Stream

LIMIT_MAX = 10_000


def _json(value: Any, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def _problem(status: int, what: str) -> Response:
    return _json({"error": what}, status)


class Api:
    """GET /api/health, /api/symbols and /api/bars."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api")
        for path, answer in (("/health", self.health), ("/symbols", self.symbols), ("/bars", self.bars)):
            router.add_api_route(path, answer, methods=["GET"], response_class=Response)
        return router

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        figures = self._board.figures()
        status = {True: "ok", False: "log_away", None: "starting"}[figures["broker_reachable"]]
        return _json({"status": status, **figures})

    async def symbols(self, request: Request) -> Response:  # noqa: ARG002
        names = (
            "symbol", "last", "last_time_ms", "reference", "reference_kind", "simulated", "venue", "timeframes",
            "bid", "bid_size", "ask", "ask_size",
        )  # fmt: skip
        quotes = [dict(zip(names, row, strict=True)) for row in self._board.quote_rows()]
        return _json(
            {"timeframes": self._board.timeframes, "indicators": self._board.names, "symbols": quotes}
        )

    async def bars(self, request: Request) -> Response:
        asked = request.query_params
        symbol, timeframe, limit = asked.get("symbol"), asked.get("timeframe"), asked.get("limit", "500")
        if not symbol or not timeframe:
            return _problem(400, "say which bars: /api/bars?symbol=AAPL&timeframe=1m&limit=500")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:6]) <= LIMIT_MAX:
            return _problem(400, f"limit must be a whole number from 1 to {LIMIT_MAX}")
        with self._board.lock:
            chart = self._board.chart(symbol, timeframe, limit=int(limit[:6]))
            columns = self._board.columns()
        if chart is None:
            return _problem(404, "no bars of this symbol and timeframe yet: see /api/symbols")
        return _json({
            "symbol": symbol, "timeframe": timeframe, "columns": columns, "rows": chart["rows"],
            "session": chart["session"],
        })  # fmt: skip


def create_app(
    board: Board,
    serve: ServeSettings,
    assets: dict[str, Asset] | None = None,
    sql: SqlApi | None = None,
    ask: AskApi | None = None,
) -> ASGIApp:
    """The whole application behind its guard. `assets`: the pages; None reads the built ones. `sql`: /api/sql,
    and `ask` what helps to ask there."""
    app = FastAPI(
        title="MarketPulse",
        version=version("marketpulse"),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(Api(board).router())
    if ask is not None:
        app.include_router(ask.router())
    if sql is not None:
        app.router.routes.extend(sql.routes())
    pages = Pages(load_assets() if assets is None else assets)
    app.router.routes += [
        WebSocketRoute("/ws", Stream(board, serve.frames_per_s).attend),
        Route("/{path:path}", pages.answer),  # the last: it answers every path
    ]
    return Guard(app, serve.allowed_hosts)
