"""A service on loopback, such as a vendor's REST side: it answers what a test's script says, and notes what it was asked."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import orjson


@dataclass(frozen=True)
class Reply:
    """One answer. `cut`: so many bytes fewer come than are announced; `silent`: nothing comes at all."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    silent: bool = False

    @classmethod
    def json(cls, value: object, status: int = 200, **headers: str) -> "Reply":
        return cls(status, orjson.dumps(value), {name.replace("_", "-"): text for name, text in headers.items()})


@dataclass(frozen=True)
class Request:
    """`headers` by their names in small letters."""

    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    method: str
    body: bytes


class VendorServer:
    """`answer(request)` is asked for every reply, one request at a time."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.requests: list[Request] = []
        self.over = threading.Event()
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one piece

            def do_GET(self) -> None:
                parts, headers = urlsplit(self.path), {k.lower(): v for k, v in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                request = Request(parts.path, dict(parse_qsl(parts.query)), headers, self.command, body)
                with lock:
                    outer.requests.append(request)
                    reply = answer(request)
                if reply.silent:
                    outer.over.wait(30)
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) - reply.cut])
                self.close_connection |= bool(reply.cut) or outer.over.is_set()

            do_POST = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Nothing on the test's terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def vendor(answer: Callable[[Request], Reply]) -> Iterator[VendorServer]:
    server = VendorServer(answer)
    try:
        yield server
    finally:
        server.close()


def scripted(*replies: Reply) -> Callable[[Request], Reply]:
    """These replies one after the other; the last one stays."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
