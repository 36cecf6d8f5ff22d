"""The page's server: its socket, and the thread that serves it."""

import asyncio
import errno
import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from marketpulse.errors import EnvironmentProblem
from marketpulse.settings import ServeSettings
from marketpulse.web.connection import PageConnection
from marketpulse.web.guard import check_binding, is_loopback
from marketpulse.web.page_socket import KERNEL_BYTES, PageSocket

WISH_BYTES_MAX = 1_024
_NEIGHBOURS = 20  # ports tried after the default one, before any free one is taken
_START_S = 10.0
_STOP_S = 1  # for open requests and sockets


def open_socket(serve: ServeSettings) -> socket.socket:
    """Listen where the settings say; where the default port is taken, on the next free one.

    Raises SettingsError for a binding that is not safe, EnvironmentProblem when the port that was
    asked for cannot be had.
    """
    check_binding(serve)
    if serve.port == 0 or "port" in serve.model_fields_set:
        ports = [serve.port]
    else:
        ports = [*range(serve.port, min(serve.port + _NEIGHBOURS, 65_536)), 0]
    for port in ports:
        try:
            return _listen(serve.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == ports[-1]:
                raise EnvironmentProblem(
                    f"port {port} on {serve.host} cannot be opened ({error.strerror}): stop what holds it, "
                    "set serve.port to another, or to 0 for a free one"
                ) from None
    raise AssertionError("ports is never empty")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=256)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)  # its connections inherit it, and the next:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a small answer's body waited 40 ms behind its head
    return listener


class WebServer:
    """Serves an application from a thread of its own until `stop`."""

    def __init__(self, app: ASGIApp, serve: ServeSettings) -> None:
        self._socket = open_socket(serve)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{_shown_host(serve)}:{self.port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, http=PageConnection, ws=PageSocket, ws_max_size=WISH_BYTES_MAX, ws_max_queue=4, ws_ping_interval=20,
                ws_ping_timeout=20, ws_per_message_deflate=False, lifespan="off", log_config=None, log_level="error",
                access_log=False, server_header=False, proxy_headers=False, date_header=True, timeout_graceful_shutdown=_STOP_S,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin, and return when the first request would be answered."""
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise EnvironmentProblem(f"the page's server did not start on port {self.port}: see the log")
            time.sleep(0.01)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close every connection and return; at most about two seconds."""
        self._server.should_exit = True
        self._thread.join(_STOP_S + 1)
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


def _shown_host(serve: ServeSettings) -> str:
    host = serve.host if is_loopback(serve.host) else serve.allowed_hosts[0]
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
