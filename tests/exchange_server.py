"""An exchange on loopback that speaks Coinbase's or Binance's protocol, WebSocket and REST, with faults by seed.

What trades is fixed by the seed; what goes wrong on the way is too. Trades happen whether someone listens or not.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

import vendor_server
from vendor_server import Reply, vendor

FAULTS = ("lose", "again", "swap", "garbage", "unknown", "not asked", "close", "half a frame", "silence")


class Loopback:
    """What exchanges have in common: their faults, and what is counted. `url` and `rest_url` while it runs."""

    def __init__(self, seed: int, fault_rate: float, rest_fault_rate: float) -> None:
        self.seed, self.fault_rate, self.rest_fault_rate = seed, fault_rate, rest_fault_rate
        self.connections = self.requests = 0
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.url = self.rest_url = ""

    def serve(self, socket: ServerConnection) -> None:
        """Greet who connects, and send what trades, until one of the two goes."""
        raise NotImplementedError

    def reply(self, request: vendor_server.Request) -> tuple[int, bytes]:
        """The status and the body of what is asked by REST."""
        raise NotImplementedError

    def listener(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed, TimeoutError, OSError):
            self.serve(socket)

    def door(self, connection: ServerConnection, request: Request) -> Response | None:  # noqa: ARG002
        """Open to all."""
        return None

    def asked(self, request: vendor_server.Request) -> Reply:
        self.requests += 1
        rng = random.Random(f"{self.seed}/rest/{self.requests}")
        if rng.random() < self.rest_fault_rate:
            faults = ((429, b'{"msg":"slow down"}'), (500, b"oops"), (200, b"<html>busy</html>"), (200, b'[{"id"'))
            return Reply(*rng.choice(faults))
        return Reply(*self.reply(request))

    def send(
        self, socket: ServerConnection, fault: str, rng: random.Random, mine: str | bytes, others: dict[str, str | bytes]
    ) -> None:  # fmt: skip
        """The message, with what a fault makes of it; `others` are what is sent before it, by the fault."""
        if fault == "garbage":
            socket.send(mine[: len(mine) // 2])
        elif fault in others:
            socket.send(others[fault])
        elif fault == "close":
            socket.close(rng.choice((1001, 1011, 4000)), "so long")
        elif fault == "half a frame":
            socket.socket.sendall(b"\x81\x7e\x01\x00{half")
            socket.socket.close()
            raise OSError("cut")
        for _ in range(1 + (fault == "again")):
            socket.send(mine)


class Exchange(Loopback):
    """Products trade ids `first_id` … in turn, one each `every_s`, from the first subscription on."""

    def __init__(
        self, vendor: str, products: tuple[str, ...], trades: int, *, seed: int = 1, fault_rate: float = 0.0,
        rest_fault_rate: float = 0.0, every_s: float = 0.002, first_id: int = 1_000,
        aggregates: bool = False, history_refused: bool = False, silence_s: float = 1.2,
    ) -> None:  # fmt: skip
        super().__init__(seed, fault_rate, rest_fault_rate)
        self.vendor, self.products, self.every_s = vendor, products, every_s
        self.aggregates, self.history_refused, self.silence_s = aggregates, history_refused, silence_s
        rng = random.Random(seed)
        self.first_id = first_id
        begin = time.time_ns() // 1_000_000 * 1_000_000
        self.tape: list[tuple[str, int, int, str, str]] = []
        for i in range(trades):
            price, size = f"{rng.uniform(1, 70_000):.2f}", f"{rng.uniform(0.00001, 3):.8f}"
            at = begin + int(i // len(products) * every_s * len(products) * 1e9) // 1_000_000 * 1_000_000
            self.tape.append((products[i % len(products)], first_id + i // len(products), at, price, size))
        self.happened = 0
        self.closed = threading.Event()

    # --- what is sent ---

    def message(self, trade: tuple[str, int, int, str, str], kind: str = "match") -> str:
        product, number, at, price, size = trade
        if self.vendor == "coinbase":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9)) + f".{at % 10**9 // 1000:06d}Z"
            return json.dumps(
                {"type": kind, "trade_id": number, "sequence": 10 * number, "maker_order_id": "m", "time": stamp,
                 "taker_order_id": "t", "product_id": product, "size": size, "price": price, "side": "sell"}
            )  # fmt: skip
        if self.aggregates:
            data = {"e": "aggTrade", "E": at // 10**6 + 1, "s": product, "a": number, "p": price, "q": size,
                    "f": 2 * number, "l": 2 * number + 1, "T": at // 10**6, "m": True, "M": True}  # fmt: skip
            return json.dumps({"stream": f"{product.lower()}@aggTrade", "data": data})
        data = {"e": "trade", "E": at // 10**6 + 1, "s": product, "t": number, "p": price, "q": size,
                "T": at // 10**6, "m": True, "M": True}  # fmt: skip
        return json.dumps({"stream": f"{product.lower()}@trade", "data": data})

    def known(self) -> list[tuple[str, int, int, str, str]]:
        with self.lock:
            return self.tape[: self.happened]

    def serve(self, socket: ServerConnection) -> None:
        asked = json.loads(socket.recv(5))
        with self.lock:
            self.connections += 1
            number = self.connections
            if number == 1:
                self.happened = len(self.products)
                threading.Thread(target=self.trade, daemon=True).start()
            at = self.happened
        rng = random.Random(f"{self.seed}/{number}")
        if self.vendor == "coinbase":
            assert asked["type"] == "subscribe"
            for product in asked["product_ids"]:
                # Of what happened before this subscription: a newer one would hide those that are about to be sent.
                socket.send(self.message([t for t in self.known()[:at] if t[0] == product][-1], "last_match"))
            socket.send(json.dumps({"type": "subscriptions", "channels": []}))
        else:
            assert asked["method"] == "SUBSCRIBE"
            socket.send(json.dumps({"result": None, "id": asked["id"]}))
            if number == 1:
                for trade in self.known():
                    socket.send(self.message(trade))
        self.play(socket, at, rng)

    def play(self, socket: ServerConnection, at: int, rng: random.Random) -> None:
        beat = 0.0
        while not self.stop.is_set():
            if self.vendor == "coinbase" and time.monotonic() - beat > 0.2:
                beat = time.monotonic()
                known = self.known()
                for product in self.products:
                    newest = [t for t in known if t[0] == product][-1]
                    socket.send(json.dumps({"type": "heartbeat", "sequence": 1, "last_trade_id": newest[1],
                                            "product_id": product, "time": "2026-01-02T03:04:05.000000Z"}))  # fmt: skip
            known = self.known()[at:]
            if not known:
                try:
                    socket.recv(0.02)  # a probe
                    socket.send(json.dumps({"result": [], "id": 0}))
                except TimeoutError:
                    continue
            i = 0
            while i < len(known):
                i += self.send_one(socket, known, i, rng)
            at += len(known)

    def send_one(self, socket: ServerConnection, known: list[Any], i: int, rng: random.Random) -> int:
        """Send trade i, or what a fault makes of it; how many trades that were."""
        mine = self.message(known[i])
        fault = rng.choice(FAULTS) if rng.random() < self.fault_rate else ""
        if fault == "lose":
            return 1
        if fault == "swap" and i + 1 < len(known):
            socket.send(self.message(known[i + 1]))
            socket.send(mine)
            return 2
        if fault == "silence":
            self.stop.wait(self.silence_s)
        stranger = self.message(("XRP-USD" if self.vendor == "coinbase" else "XRPUSDT", *known[i][1:]))
        unknown = json.dumps({"type": "surprise", "e": "surprise"})
        self.send(socket, fault, rng, mine, {"unknown": unknown, "not asked": stranger})
        return 1

    def stop_trading(self) -> None:
        """Nothing happens any more; who asks is answered."""
        self.closed.set()

    def trade(self) -> None:
        while not (self.stop.is_set() or self.closed.is_set()) and self.happened < len(self.tape):
            time.sleep(self.every_s)
            with self.lock:
                self.happened += 1

    # --- what is asked ---

    def reply(self, request: vendor_server.Request) -> tuple[int, bytes]:
        return self.answer(request.path, request.parameters)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        limit = int(query.get("limit", "500"))
        if self.vendor == "coinbase":
            product = path.split("/")[2]
            below = int(query["after"]) if "after" in query else 10**18
            some = [t for t in self.known() if t[0] == product and t[1] < below][-limit:][::-1]
            return 200, json.dumps([json.loads(self.message(t)) for t in some]).encode()
        product = query["symbol"]
        if product not in self.products or "XRP" in product:
            return 400, b'{"code":-1121,"msg":"Invalid symbol."}'
        if self.history_refused and path.endswith("/historicalTrades"):
            return 401, b'{"code":-2014,"msg":"API-key format invalid."}'
        assert path.endswith("/aggTrades") == self.aggregates
        first = int(query["fromId"]) if "fromId" in query else None
        own = [t for t in self.known() if t[0] == product]
        some = own[-limit:] if first is None else [t for t in own if t[1] >= first][:limit]
        if self.aggregates:
            return 200, json.dumps([json.loads(self.message(t))["data"] for t in some]).encode()
        rows = [{"id": t[1], "price": t[3], "qty": t[4], "quoteQty": "1", "time": t[2] // 10**6, "isBuyerMaker": True,
                 "isBestMatch": True} for t in some]  # fmt: skip
        return 200, json.dumps(rows).encode()


Of = TypeVar("Of", bound=Loopback)


@contextmanager
def running(exchange: Of) -> Iterator[Of]:
    """Serves on free ports of loopback."""
    listening = serve(exchange.listener, "127.0.0.1", 0, close_timeout=0.5, process_request=exchange.door)
    with vendor(exchange.asked) as rest, listening as sockets:
        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        exchange.url, exchange.rest_url = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}", rest.url
        try:
            yield exchange
        finally:
            exchange.stop.set()
            sockets.shutdown()


def gathered(
    source: Any, enough: int | Callable[[], bool], into: list[dict[str, Any]], wait_s: float | None = None
) -> tuple[str | None, list[str]]:
    """Poll until `enough` trades stand in `into`, or until it says so; (the newest position, reasons of dead letters).
    It has to be so within a minute, but for who says how long to look."""
    position, reasons = None, []
    deadline = time.monotonic() + (60 if wait_s is None else wait_s)
    while time.monotonic() < deadline:
        polled = source.poll(0.05)
        position = polled.position or position
        into += [row for batch in polled.batches for row in batch.to_pylist()]
        reasons += [item.reason for item in polled.rejected]
        if enough() if callable(enough) else sum(row["type"] == "trade" for row in into) >= enough:
            return position, reasons
    assert wait_s is not None, f"not enough came: {len(into)} rows"
    return position, reasons
