"""A page, for tests: a plain model of what it knows after its frames, and one that never takes any."""

import json
import socket
from typing import Any

from marketpulse.web.columns import BOOK


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
        rows = zip(quotes["id"], quotes["last"], quotes["ago"], books, strict=True)
        for number, last, ago, book in rows:
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
