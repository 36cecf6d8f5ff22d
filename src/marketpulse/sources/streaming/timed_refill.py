"""Asks by REST for what happened while a feed was away, page after page, in a thread of its own."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from marketpulse.errors import RejectedRecord, Retryable, WrongKey
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.streaming.parsed import Bar, Print, Unusable
from marketpulse.sources.streaming.timed_intake import Lost
from marketpulse.sources.streaming.vendor import Page, RestRequest
from marketpulse.telemetry import get_logger

_PATIENCE_S = 3_600.0  # the client's own pauses between tries
_AGAIN_S = 1.0
_PAGES_MAX = 10_000  # of one gap: a vendor whose pages do not end


class Pages(NamedTuple):
    """One page of what was asked for. `last`: there is no further one; `why`: there will be none, and this is why."""

    symbol: str
    lost: Lost
    rows: list[Print | Bar | Unusable]
    received_ns: int
    last: bool
    why: str | None = None


@dataclass(slots=True)
class TimedRefill:
    """`ask` takes wishes at any time; `found` hands over what came.

    `request`: (symbol, from_ns, to_ns, page) -> what to ask, None: there is no such history. `read`: an answer's page.
    The client is closed by its owner. The vendor's store may lag behind its feed: nothing is asked for before `wait_s` have passed.
    """

    request: Callable[[str, int, int, str | None], RestRequest | None]
    read: Callable[[str, bytes], Page]
    client: RestClient
    source: str
    overlap_ns: int
    wait_s: float
    again_s: float = _AGAIN_S
    _wishes: "queue.Queue[tuple[float, str, Lost, int, int] | None]" = field(default_factory=queue.Queue)
    _results: "queue.Queue[Pages]" = field(default_factory=lambda: queue.Queue(4))
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"refill-{self.source}", daemon=True)
        self._thread.start()

    def ask(self, symbol: str, lost: Lost) -> None:
        # The overlap brings what was still under way before, and what came before the subscription took hold.
        due = time.monotonic() + self.wait_s  # of each by itself: the gaps of a thousand symbols wait side by side
        self._wishes.put((due, symbol, lost, lost.from_ns - self.overlap_ns, lost.to_ns + self.overlap_ns))

    def found(self) -> Pages | None:
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

    def _run(self) -> None:
        while not self._stop.is_set():
            wish = self._wishes.get()
            if wish is None or self._stop.wait(max(0.0, wish[0] - time.monotonic())):
                return
            self._range(*wish[1:])

    def _range(self, symbol: str, lost: Lost, from_ns: int, to_ns: int) -> None:
        page: str | None = None
        for _ in range(_PAGES_MAX):
            request = self.request(symbol, from_ns, to_ns, page)
            answer = "the vendor has no such history" if request is None else self._get(request)
            if isinstance(answer, str):
                self._put(Pages(symbol, lost, [], 0, True, answer))
                return
            raw, received_ns = answer
            rows, following = self.read(symbol, raw)
            self._put(Pages(symbol, lost, rows, received_ns, last=following is None))
            if following is None or self._stop.is_set():
                return
            page = following
        self._put(Pages(symbol, lost, [], 0, True, f"its answer has more than {_PAGES_MAX} pages"))

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

    def _put(self, found: Pages) -> None:
        while not self._stop.is_set():
            try:
                self._results.put(found, timeout=0.25)
            except queue.Full:
                continue
            return
