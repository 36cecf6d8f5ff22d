"""A vendor's REST side on loopback, which answers as a test's script says and notes what it was asked; and answers."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import orjson

from marketpulse.sources.rest import Answer


@dataclass(frozen=True)
class Reply:
    """One answer. `cut`: so many bytes fewer come than are announced; `silent`: nothing comes at all; `lost`: the connection ends instead."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    silent: bool = False
    lost: bool = False

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
                if reply.silent or reply.lost:
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) - reply.cut])
                self.close_connection |= bool(reply.cut) or outer.over.is_set()

            do_POST = do_PUT = do_GET  # noqa: N815

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


RECORDED = Path(__file__).parent / "data" / "vendors"
NEW_YORK = ZoneInfo("America/New_York")


def recorded(name: str) -> dict[str, Any]:
    """A recorded answer of Alpha Vantage."""
    found = orjson.loads((RECORDED / "alpha_vantage" / name).read_bytes())
    assert isinstance(found, dict)
    return found


def answer(body: Any, received_ns: int) -> Answer:
    return Answer(body, orjson.dumps(body), {}, received_ns)


def ns(*moment: int, zone: Any = UTC) -> int:
    year, month, day, *clock = moment
    return int(datetime(year, month, day, *clock, tzinfo=zone).timestamp()) * 10**9  # type: ignore[arg-type,misc]


def yahoo_chart(
    times: Sequence[int], closes: Sequence[float | None], *, zone: str = "America/New_York", exchange: str = "NMS",
    regular: tuple[int, int] = (0, 0), market_time: int = 0, currency: str = "USD", granularity: str = "1m",
) -> dict[str, Any]:  # fmt: skip
    """An answer of the chart API. Each bar opens at its close, with a high 1 above and a low 1 below."""

    def column(shift: float) -> list[float | None]:
        return [None if close is None else close + shift for close in closes]

    begin, end = regular
    return {"chart": {"error": None, "result": [{
        "meta": {
            "currency": currency, "symbol": "AAPL", "exchangeName": exchange, "instrumentType": "EQUITY",
            "regularMarketTime": market_time, "exchangeTimezoneName": zone, "dataGranularity": granularity,
            "currentTradingPeriod": {
                "pre": {"start": begin - 19_800, "end": begin}, "regular": {"start": begin, "end": end},
                "post": {"start": end, "end": end + 14_400},
            },
        },
        "timestamp": list(times),
        "indicators": {"quote": [{
            "open": column(0), "high": column(1), "low": column(-1), "close": column(0),
            "volume": [None if close is None else 100 for close in closes],
        }]},
    }]}}  # fmt: skip
