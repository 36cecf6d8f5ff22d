"""Asks by REST for trades that the feed did not bring, in order, in a thread of its own.

gap -> pages of ids, from the lowest up -> trades
    \\-> where these are refused: the newest that the vendor gives to all
        \\-> what the vendor does not have, asked a few times, is given up
"""

import queue
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from marketpulse.errors import RejectedRecord, Retryable, WrongKey
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.streaming.parsed import Trade, Unusable
from marketpulse.sources.streaming.vendor import RestRequest, Vendor
from marketpulse.telemetry import get_logger

_PATIENCE_S = 3_600.0  # the client's own pauses between tries
_TRIES = 4  # of a page that comes without the trades: the vendor's store may lag behind its feed
_AGAIN_S = 1.0


class Wanted(NamedTuple):
    """Trades `[first, last]` of a symbol; without ids: which trade is the newest."""

    symbol: str
    first: int | None = None
    last: int | None = None


class Found(NamedTuple):
    """What came for the ids `[first, last]`. `why`: those of them that did not come will not."""

    symbol: str
    first: int
    last: int
    trades: list[Trade | Unusable]
    received_ns: int
    why: str | None = None
    newest: bool = False  # the answer to: which trade is the newest


@dataclass(slots=True)
class Refill:
    """`ask` takes wishes at any time; `found` hands over what came."""

    vendor: Vendor
    client: RestClient
    source: str
    trades_max: int
    again_s: float = _AGAIN_S
    _wishes: "queue.Queue[Wanted | None]" = field(default_factory=queue.Queue)
    _results: "queue.Queue[Found]" = field(default_factory=lambda: queue.Queue(8))
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"refill-{self.source}", daemon=True)
        self._thread.start()

    def ask(self, wanted: Wanted) -> None:
        self._wishes.put(wanted)

    def found(self) -> Found | None:
        """What has come, in order; None: nothing now."""
        try:
            return self._results.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        self._stop.set()
        self._wishes.put(None)
        if self._thread is not None:
            self._thread.join(5.0)
        self.client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            wanted = self._wishes.get()
            if wanted is None:
                return
            if wanted.first is None or wanted.last is None:
                self._newest(wanted.symbol)
            else:
                self._range(wanted.symbol, wanted.first, wanted.last)

    def _newest(self, symbol: str) -> None:
        request = self.vendor.newest_request(symbol)
        if request is None:
            return
        answer = self._get(request)
        if isinstance(answer, str):
            self._put(Found(symbol, 0, 0, [], 0, answer, newest=True))
            return
        raw, received_ns = answer
        self._put(Found(symbol, 0, 0, self.vendor.parse_trades(symbol, raw), received_ns, newest=True))

    def _range(self, symbol: str, first: int, last: int) -> None:
        if last - first + 1 > self.trades_max:
            start = last - self.trades_max + 1
            why = f"more than refill_trades_max ({self.trades_max}): load them from files"
            self._put(Found(symbol, first, start - 1, [], 0, why))
            first = start
        while first <= last and not self._stop.is_set():
            first = self._page(symbol, first, last)

    def _page(self, symbol: str, first: int, last: int) -> int:
        """Ask for one page; the id to go on from."""
        for attempt in range(_TRIES):
            answer = self._get(self.vendor.trades_request(symbol, first, last))
            if isinstance(answer, str):
                self._recent(symbol, first, last, answer)
                return last + 1
            raw, received_ns = answer
            trades = self.vendor.parse_trades(symbol, raw)
            ids = [t.trade_id for t in trades if isinstance(t, Trade) and first <= t.trade_id <= last]
            if ids:
                until = max(ids)
                self._put(Found(symbol, first, until, trades, received_ns, "the vendor's list is without them"))
                return until + 1
            if attempt < _TRIES - 1 and self._stop.wait(self.again_s * 2**attempt):
                return last + 1
        self._put(Found(symbol, first, last, [], 0, "the vendor does not give them"))
        return last + 1

    def _recent(self, symbol: str, first: int, last: int, why: str) -> None:
        """The way by ids is refused: what lies among the newest trades comes all the same, the rest will not."""
        request = self.vendor.recent_request(symbol)
        answer = why if request is None else self._get(request)
        if isinstance(answer, str):
            self._put(Found(symbol, first, last, [], 0, why))
            return
        raw, received_ns = answer
        trades = self.vendor.parse_trades(symbol, raw)
        self._put(Found(symbol, first, last, trades, received_ns, f"older trades are refused: {why}"))

    def _get(self, request: RestRequest) -> tuple[bytes, int] | str:
        """(body, receive time), or why there will be none."""
        parameters = {name: str(value) for name, value in request.params.items()}
        while not self._stop.is_set():
            try:
                answer = self.client.get(request.path, parameters, patience_s=_PATIENCE_S, stop=self._stop)
            except (WrongKey, RejectedRecord) as error:
                get_logger().warning("refill_refused", source=self.source, error=str(error))
                return str(error)
            except Retryable as error:
                get_logger().warning("refill_waits", source=self.source, error=str(error))
                self._stop.wait(self.again_s)
            else:
                return answer.raw, answer.received_ns
        return "asked to stop"

    def _put(self, found: Found) -> None:
        while not self._stop.is_set():
            try:
                self._results.put(found, timeout=0.25)
            except queue.Full:
                continue
            return
