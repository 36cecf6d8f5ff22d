"""The web API as one ASGI application. Times are milliseconds."""

from collections.abc import Sequence
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from marketpulse.settings import ServeSettings
from marketpulse.web.access import Access
from marketpulse.web.board import Board
from marketpulse.web.guard import Guard
from marketpulse.web.openapi import describe
from marketpulse.web.pages import Asset, Pages, load_assets
from marketpulse.web.problems import tell_problems, unknown
from marketpulse.web.rest.adjusting import InPrices
from marketpulse.web.rest.alert_rows import RecentAlerts
from marketpulse.web.rest.alerts import AlertsApi
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
    alerts: RecentAlerts | None = None,
    routers: Sequence[APIRouter] = (),
    in_prices: InPrices = lambda _: False,
) -> ASGIApp:
    """The whole application behind its guard. `assets`: the pages; None reads the built ones. `sql`: /api/sql.
    `in_prices`: which indicators' columns are prices. `stored`: what lies behind the board. `alerts`: the newest ones, a part of the board. `routers`: those of the views."""
    app = FastAPI(title="MarketPulse", version=version("marketpulse"), openapi_url=None, docs_url=None, redoc_url=None)
    tell_problems(app)
    app.include_router(NowApi(board).router())
    app.include_router(BarsApi(board, stored, in_prices).router())
    app.include_router(AlertsApi(RecentAlerts() if alerts is None else alerts, stored).router())
    if sql is not None:
        app.include_router(sql.router())
    for router in routers:
        app.include_router(router)
    describe(app)
    app.add_api_route("/api/{path:path}", unknown, methods=["GET"], include_in_schema=False)
    pages = Pages(load_assets() if assets is None else assets)
    app.router.routes += [
        WebSocketRoute("/ws", Stream(board, serve.frames_per_s).attend),
        Route("/{path:path}", pages.answer),  # the last: it answers every path
    ]
    return Guard(Access(app, serve), serve.allowed_hosts)
