"""A vendor on loopback whose feed needs a key and whose trade ids do not count, WebSocket and REST, with faults by seed.

Trades happen whether someone listens or not, each at the time of its happening. What a broken connection does not bring
is in the history. A dialect is one vendor's protocol.
"""

import json
import random
import threading
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgpack
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

import vendor_server
from exchange_server import Loopback
from exchange_server import running as running

KEY, SECRET = "a-key-that-nobody-may-read", "a-secret-that-nobody-may-read"
Texts = dict[str, str]
FAULTS = ("again", "swap", "garbage", "unknown", "not asked", "close", "half a frame")


class Happened(NamedTuple):
    symbol: str
    number: int
    venue: int  # an index; each dialect has its own names
    at_ns: int
    price: float
    size: float


class Dialect:
    """One vendor's words. `greet` returns the symbols that were asked for."""

    def greet(self, socket: ServerConnection, exchange: "KeyedExchange") -> list[str]:
        raise NotImplementedError

    def begin(self, socket: ServerConnection) -> None:
        """What is said once the subscription has taken hold."""

    def trades(self, some: list[Happened]) -> str | bytes:
        raise NotImplementedError

    def unknown(self) -> str | bytes:
        raise NotImplementedError

    def page(self, path: str, query: Texts, headers: Texts, exchange: "KeyedExchange") -> tuple[int, bytes]:
        raise NotImplementedError

    def allows(self, path: str, key: str) -> bool:  # noqa: ARG002
        """Whether the door opens for a request to connect."""
        return True


def iso(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{at_ns % 10**9:09d}Z"


def from_iso(text: str) -> int:
    whole, _, part = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int(part.ljust(9, "0"))


class AlpacaWords(Dialect):
    venues = ("V", "D", "Q")

    def __init__(self, packed: bool = False) -> None:
        self.packed = packed

    def frame(self, messages: list[dict[str, Any]]) -> str | bytes:
        if not self.packed:
            return json.dumps(messages)
        for message in messages:
            if "t" in message:
                at = from_iso(message["t"])
                message["t"] = msgpack.Timestamp(at // 10**9, at % 10**9)
        packed: bytes = msgpack.packb(messages)
        return packed

    def greet(self, socket: ServerConnection, exchange: "KeyedExchange") -> list[str]:
        assert socket.request is not None
        assert (socket.request.headers.get("Content-Type") == "application/msgpack") == self.packed
        socket.send(self.frame([{"T": "success", "msg": "connected"}]))
        asked = json.loads(socket.recv(5))
        if (asked["action"], asked["key"], asked["secret"]) != ("auth", exchange.key, SECRET):
            socket.send(self.frame([{"T": "error", "code": 402, "msg": f"auth failed: {asked['key']}"}]))
            socket.close(1000)
            raise OSError("refused")
        socket.send(self.frame([{"T": "success", "msg": "authenticated"}]))
        wanted = json.loads(socket.recv(5))
        assert wanted["action"] == "subscribe"
        socket.send(self.frame([{"T": "subscription", **{k: wanted.get(k, []) for k in ("trades", "quotes", "bars")}}]))
        return list(wanted["trades"])

    def trade(self, t: Happened) -> dict[str, Any]:
        row = {"i": t.number, "x": self.venues[t.venue], "p": t.price, "s": t.size, "c": ["@"], "z": "C"}
        return {**row, "t": iso(t.at_ns)}

    def trades(self, some: list[Happened]) -> str | bytes:
        return self.frame([{"T": "t", "S": t.symbol, **self.trade(t)} for t in some])

    def unknown(self) -> str | bytes:
        return self.frame([{"T": "surprise"}])

    def page(self, path: str, query: Texts, headers: Texts, exchange: "KeyedExchange") -> tuple[int, bytes]:
        pairs = "/" in exchange.symbols[0]
        assert path == ("/v1beta3/crypto/us/trades" if pairs else "/v2/stocks/trades")
        if (headers["apca-api-key-id"], headers["apca-api-secret-key"]) != (exchange.key, SECRET):
            return 401, b'{"message":"unauthorized"}'
        begin, end = from_iso(query["start"]), from_iso(query["end"])
        own = [t for t in exchange.known() if t.symbol == query["symbols"] and begin <= t.at_ns <= end]
        at = int(query.get("page_token", "0"))
        some = own[at : at + exchange.page_rows]
        following = str(at + exchange.page_rows) if len(own) > at + exchange.page_rows else None
        body = {"trades": {query["symbols"]: [self.trade(t) for t in some]}, "next_page_token": following}
        return 200, json.dumps(body).encode()


class PolygonWords(Dialect):
    venues = (11, 4, 12)

    def status(self, status: str, words: str) -> str:
        return json.dumps([{"ev": "status", "status": status, "message": words}])

    def greet(self, socket: ServerConnection, exchange: "KeyedExchange") -> list[str]:
        socket.send(self.status("connected", "Connected Successfully"))
        if json.loads(socket.recv(5)) != {"action": "auth", "params": exchange.key}:
            socket.send(self.status("auth_failed", f"authentication failed: {KEY}"))
            socket.close(1000)
            raise OSError("refused")
        socket.send(self.status("auth_success", "authenticated"))
        wanted = json.loads(socket.recv(5))
        assert wanted["action"] == "subscribe"
        for name in wanted["params"].split(","):
            socket.send(self.status("success", f"subscribed to: {name}"))
        return [name.removeprefix("T.") for name in wanted["params"].split(",")]

    def trades(self, some: list[Happened]) -> str | bytes:
        return json.dumps([
            {"ev": "T", "sym": t.symbol, "i": str(t.number), "x": self.venues[t.venue], "p": t.price, "s": int(t.size),
             "c": [14], "t": t.at_ns // 10**6, "q": 1, "z": 3} for t in some
        ])  # fmt: skip

    def unknown(self) -> str | bytes:
        return json.dumps([{"ev": "surprise"}])

    def page(self, path: str, query: Texts, headers: Texts, exchange: "KeyedExchange") -> tuple[int, bytes]:
        if headers["authorization"] != f"Bearer {exchange.key}":
            return 401, b'{"status":"ERROR","error":"Unknown API Key"}'
        symbol = path.removeprefix("/v3/trades/")
        if "cursor" in query:
            begin, end, at = (int(part) for part in query["cursor"].split("."))
        else:
            begin, end, at = int(query["timestamp.gte"]), int(query["timestamp.lte"]), 0
        own = [t for t in exchange.known() if t.symbol == symbol and begin <= t.at_ns <= end]
        some = own[at : at + exchange.page_rows]
        rows = [{"id": str(t.number), "exchange": self.venues[t.venue], "price": t.price, "size": t.size, "tape": 3,
                 "sip_timestamp": t.at_ns, "participant_timestamp": t.at_ns - 5, "conditions": [14],
                 "sequence_number": 1} for t in some]  # fmt: skip
        body: dict[str, Any] = {"results": rows, "status": "OK"}
        if len(own) > at + exchange.page_rows:
            following = f"{begin}.{end}.{at + exchange.page_rows}"
            body["next_url"] = f"https://api.massive.com{path}?cursor={following}"
        return 200, json.dumps(body).encode()


class FinnhubWords(Dialect):
    def allows(self, path: str, key: str) -> bool:
        return parse_qs(urlsplit(path).query) == {"token": [key]}

    def greet(self, socket: ServerConnection, exchange: "KeyedExchange") -> list[str]:
        asked = [json.loads(socket.recv(5)) for _ in exchange.symbols]
        assert {message["type"] for message in asked} == {"subscribe"}
        return [message["symbol"] for message in asked]

    def begin(self, socket: ServerConnection) -> None:
        socket.send('{"type":"ping"}')

    def trades(self, some: list[Happened]) -> str | bytes:
        rows = [{"s": t.symbol, "p": t.price, "t": t.at_ns // 10**6, "v": t.size, "c": ["1"]} for t in some]
        return json.dumps({"type": "trade", "data": rows})

    def unknown(self) -> str | bytes:
        return json.dumps({"type": "surprise"})


class KeyedExchange(Loopback):
    """Symbols trade in turn, one each `every_s`, from the first subscription on; in all `trades`."""

    def __init__(
        self, words: Dialect, symbols: tuple[str, ...], trades: int, *, seed: int = 1, fault_rate: float = 0.0,
        rest_fault_rate: float = 0.0, every_s: float = 0.003, page_rows: int = 7,
    ) -> None:  # fmt: skip
        super().__init__(seed, fault_rate, rest_fault_rate)
        self.words, self.symbols, self.count = words, symbols, trades
        self.every_s, self.page_rows = every_s, page_rows
        self.key = KEY
        self.tape: list[Happened] = []

    def known(self) -> list[Happened]:
        with self.lock:
            return list(self.tape)

    def trade(self) -> None:
        rng = random.Random(self.seed)
        for i in range(self.count):
            if self.stop.wait(self.every_s):
                return
            one = Happened(
                self.symbols[i % len(self.symbols)], 100 + i // 3, i % 3, time.time_ns(),
                round(rng.uniform(1, 500), 2), float(rng.randint(1, 900)),
            )  # fmt: skip
            with self.lock:
                self.tape.append(one)

    def serve(self, socket: ServerConnection) -> None:
        at = len(self.known())  # what happens once it is answered is brought
        assert set(self.words.greet(socket, self)) == set(self.symbols)
        with self.lock:
            self.connections += 1
            first = self.connections == 1
        self.words.begin(socket)
        if first:
            threading.Thread(target=self.trade, daemon=True).start()
        self.play(socket, at, random.Random(f"{self.seed}/{self.connections}"))

    def play(self, socket: ServerConnection, at: int, rng: random.Random) -> None:
        while not self.stop.is_set():
            known = self.known()
            if at == len(known):
                time.sleep(0.005)
                continue
            some = known[at : at + rng.randint(1, 4)]
            at += len(some)
            fault = rng.choice(FAULTS) if rng.random() < self.fault_rate else ""
            stranger = self.words.trades([some[0]._replace(symbol="ZZZ")])
            mine = self.words.trades(some[::-1] if fault == "swap" else some)
            self.send(socket, fault, rng, mine, {"unknown": self.words.unknown(), "not asked": stranger})

    def reply(self, request: vendor_server.Request) -> tuple[int, bytes]:
        return self.words.page(request.path, request.parameters, request.headers, self)

    def door(self, connection: ServerConnection, request: Request) -> Response | None:
        return None if self.words.allows(request.path, self.key) else connection.respond(401, "no\n")
