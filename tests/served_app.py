"""The web application asked without a socket, or served on a free port."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp

from marketpulse.settings import ServeSettings
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.pages import Asset
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi


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
