"""The door for rows that are pushed: `POST /ingest` on loopback, with a token, answered when the rows are in the log."""

import contextlib
import hmac
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from marketpulse.clock import Clock
from marketpulse.errors import EnvironmentProblem
from marketpulse.settings import HttpSettings
from marketpulse.sources.push_requests import Push, Waiting
from marketpulse.telemetry import PUSHES

PATH = "/ingest"
_CONNECTIONS_MAX = 256
_PER_ADDRESS_MAX = 128
_ARRIVES_WITHIN_S = 10.0  # a request, head and body, since the one before it was answered
_KEY_CHARACTERS_MAX = 200
_RETRY_S = 1


class PushServer:
    """Serves from threads of its own until `close`."""

    def __init__(self, settings: HttpSettings, source: str, token: str, waiting: Waiting, clock: Clock) -> None:
        handler = _handler(settings, source, token.encode(), waiting, clock)
        try:
            self._server = _Server((settings.host, settings.port), handler)
        except OSError as error:
            raise EnvironmentProblem(
                f"port {settings.port} on {settings.host} cannot be opened ({error.strerror}): set port to another, or 0"
            ) from None
        self.url = f"http://{settings.host}:{self._server.server_address[1]}{PATH}"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="push", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """A thread a connection, not more than a number of them, and none for a request that does not arrive."""

    daemon_threads = True
    block_on_close = False  # who keeps a connection open does not keep us
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._addresses: dict[socket.socket, str] = {}
        self._deadlines: dict[socket.socket, float] = {}
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        address = client_address[0]
        same = sum(1 for other in tuple(self._addresses.values()) if other == address)
        if len(self._addresses) >= _CONNECTIONS_MAX or same >= _PER_ADDRESS_MAX:
            self.shutdown_request(request)
            return
        self._addresses[request] = address
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.arrived(request)
            del self._addresses[request]

    def arrives(self, connection: socket.socket) -> None:
        """Wait for a request from here, and not for ever."""
        self._deadlines[connection] = time.monotonic() + _ARRIVES_WITHIN_S

    def arrived(self, connection: socket.socket) -> None:
        self._deadlines.pop(connection, None)

    def service_actions(self) -> None:
        """End the connections whose request is late: called ten times a second."""
        now = time.monotonic()
        for connection in [one for one, deadline in tuple(self._deadlines.items()) if deadline < now]:
            self.arrived(connection)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is nobody's fault."""


def _handler(
    settings: HttpSettings, source: str, token: bytes, waiting: Waiting, clock: Clock
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "marketpulse"
        sys_version = ""
        timeout = _ARRIVES_WITHIN_S
        server: _Server
        wbufsize = -1  # head and body in one piece: the second would wait for the first one's receipt
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            self.server.arrives(self.connection)
            super().handle_one_request()

        def do_POST(self) -> None:
            if self.path.partition("?")[0] != PATH:
                self._refuse(404, f"rows are pushed to {PATH}")
                return
            given = self.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, b"Bearer " + token):
                self._refuse(401, "send the header `Authorization: Bearer TOKEN` with the source's token")
                return
            if self.headers.get("Content-Encoding", "identity") != "identity":
                self._refuse(415, "send the rows as they are, not compressed")
                return
            length = self.headers.get("Content-Length", "")
            if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
                self._refuse(411, "say Content-Length; chunks are not taken")
                return
            if (size := int(length)) > settings.body_bytes:
                self._refuse(413, f"at most {settings.body_bytes:,} bytes in one request: send several")
                return
            self._take(size)

        def do_GET(self) -> None:
            self._refuse(405 if self.path == PATH else 404, f"rows are pushed by POST to {PATH}")

        def _take(self, size: int) -> None:
            if not waiting.reserve(size):
                away = waiting.log_is_away(clock.monotonic())
                self._later(503 if away else 429, "the log is away" if away else "the log is slower than you")
                return
            try:
                body = self.rfile.read(size)
                self.server.arrived(self.connection)
                if len(body) < size:
                    self.close_connection = True
                    return
                self._push(body)
            finally:
                waiting.release(size)

        def _push(self, body: bytes) -> None:
            key = self.headers.get("Idempotency-Key")
            if key is not None and not 0 < len(key) <= _KEY_CHARACTERS_MAX:
                self._answer(400, {"error": f"an Idempotency-Key has 1 to {_KEY_CHARACTERS_MAX} characters"})
                return
            push = waiting.offer(Push(body, clock.now_ns(), key))
            if not push.done.wait(settings.answer_s):
                self._later(
                    503, "the log has not taken the rows yet, but still may: repeat with the same Idempotency-Key"
                )
                return
            self._answer(push.status, push.outcome)

        def _later(self, status: int, why: str) -> None:
            # An unread body may still be in the connection: nothing can follow it.
            self.close_connection = True
            self._answer(status, {"error": why, "retry_after_s": _RETRY_S}, {"Retry-After": str(_RETRY_S)})

        def _refuse(self, status: int, why: str) -> None:
            self.close_connection = True
            more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            self._answer(status, {"error": why}, more)

        def _answer(self, status: int, body: dict[str, object], headers: dict[str, str] | None = None) -> None:
            PUSHES.labels(source, str(status)).inc()
            data = orjson.dumps(body) + b"\n"
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **(headers or {}),
                **({"Connection": "close"} if self.close_connection else {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Requests are counted, not logged."""

    return Handler
