"""The web API as one ASGI application. Times are milliseconds."""

from importlib.metadata import version

from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from marketpulse.settings import ServeSettings
from marketpulse.web.board import Board
from marketpulse.web.charts import ChartApi
from marketpulse.web.guard import Guard
from marketpulse.web.pages import Asset, Pages, load_assets
from marketpulse.web.problems import tell_problems
from marketpulse.web.rest.bars import BarsApi
from marketpulse.web.rest.now import NowApi
from marketpulse.web.rest.stored import Stored
from marketpulse.web.sql import SqlApi
from marketpulse.web.stream import Stream


def create_app(
    board: Board,
    serve: ServeSettings,
    assets: dict[str, Asset] | None = None,
    sql: SqlApi | None = None,
    stored: Stored | None = None,
    charts: ChartApi | None = None,
) -> ASGIApp:
    """The whole application behind its guard. `assets`: the pages; None reads the built ones. `sql`: /api/sql.
    `stored`: what lies behind the board. `charts`: what a chart asks for beside its bars."""
    app = FastAPI(
        title="MarketPulse",
        version=version("marketpulse"),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    tell_problems(app)
    app.include_router(NowApi(board).router())
    app.include_router(BarsApi(board, stored).router())
    if charts is not None:
        app.include_router(charts.router())
    if sql is not None:
        app.router.routes.extend(sql.routes())
    pages = Pages(load_assets() if assets is None else assets)
    app.router.routes += [
        WebSocketRoute("/ws", Stream(board, serve.frames_per_s).attend),
        Route("/{path:path}", pages.answer),  # the last: it answers every path
    ]
    return Guard(app, serve.allowed_hosts)
