"""A live feed as a source: the connection, the check of its trade ids, and the refill, as the log wants them.

Its position holds, by symbol, the newest trade id and what is still missing: a restart asks for what
came meanwhile, and takes nothing twice.
"""

import json
import queue
from typing import Any

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import ParameterError, Retryable, SettingsError
from marketpulse.ports import Hello, Polled
from marketpulse.settings import StreamSettings
from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.streaming.connection import Connection, Item
from marketpulse.sources.streaming.continuity import Series
from marketpulse.sources.streaming.delays import Delays
from marketpulse.sources.streaming.intake import Intake
from marketpulse.sources.streaming.parsed import Refusal, Trade
from marketpulse.sources.streaming.recording import Recorder
from marketpulse.sources.streaming.refill import Found, Refill, Wanted
from marketpulse.sources.streaming.vendor import Vendor
from marketpulse.telemetry import get_logger

_AGGREGATES = "aggregates"  # in a position, beside the symbols, which are in capitals
_MESSAGES_MAX = 5_000  # of one poll
_RATE = Rate(requests=5, per_s=1.0, burst=5)


def _keyless(status: int, body: Any) -> Judgement | None:  # noqa: ARG001
    """There is no key that could be wrong: who is not let in is refused this one thing."""
    return Judgement(Taken.REFUSED, "not without a key") if status in (401, 403) else None


class LiveSource:
    """A `Source` over one vendor's feed. `backoff_s`: (first, longest) pause between two connections."""

    def __init__(
        self,
        vendor: Vendor,
        settings: StreamSettings,
        source: str,
        *,
        lateness_ns: int,
        clock: Clock | None = None,
        backoff_s: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        self._vendor = vendor
        self._settings = settings
        self._source = source
        self._lateness_ns = max(1, lateness_ns)
        self._clock = clock or SystemClock()
        self._backoff_s = backoff_s
        self._delays = Delays()
        self._connection: Connection | None = None
        self._refill: Refill | None = None
        self._recorder: Recorder | None = None
        self._unheard_since: float | None = None

    def start(self, position: str | None) -> Hello:
        """Connect, and go on behind the trades of `position`. Raises SettingsError."""
        settings, vendor = self._settings, self._vendor
        try:
            symbols = {
                vendor.to_vendor(symbol): vendor.to_ours(vendor.to_vendor(symbol)) for symbol in settings.symbols
            }
        except ParameterError as error:
            raise SettingsError(f"{self._source}: symbols: {error}") from None
        self._intake = Intake(
            vendor, self._source, settings.url, symbols, settings.trades, settings.quotes, settings.with_venue,
            singles=frozenset() if vendor.aggregates else None,
        )  # fmt: skip
        self._unheard = set(symbols)
        if position is not None:
            self._restore(json.loads(position))
        wanted = tuple(symbols)
        if settings.record is not None:
            self._recorder = Recorder(settings.record, self._source, vendor.name)
        self._connection = Connection(
            self._source, vendor.url(settings, wanted), vendor.subscribe(settings, wanted), vendor.probe(),
            settings.silence_s, self._clock, Backoff(*self._backoff_s),
            keep=self._recorder.keep if self._recorder else lambda _: None,
            idle=self._recorder.idle if self._recorder else lambda _: None,
        )  # fmt: skip
        if settings.refill and settings.trades:
            client = RestClient(
                self._source, settings.rest_url, _RATE, judge=_keyless, clock=self._clock,
                backoff=Backoff(*self._backoff_s),
            )  # fmt: skip
            self._refill = Refill(vendor, client, self._source, settings.refill_trades_max)
            self._refill.start()
        self._connection.start()
        return Hello(
            source=self._source,
            mode="live",
            run_id=f"{self._clock.now_ns():x}",
            lateness_ns=self._lateness_ns,
            calendar="24x7",
        )

    def poll(self, timeout_s: float) -> Polled:
        """What has come, at most some thousand messages. Raises SettingsError for a symbol that the vendor does not
        have, Retryable when it refuses for another reason."""
        self._take_messages(timeout_s)
        self._take_refilled()
        now_ns = self._clock.now_ns()
        self._intake.settle(now_ns)
        self._ask_for_missing()
        self._delays.note(self._clock.monotonic(), self._intake.delays_ns)
        self._notice_silence()
        refusal, self._intake.refusal = self._intake.refusal, None
        if refusal is not None and refusal.for_good:
            raise SettingsError(f"{self._source}: the vendor refuses ({refusal.message}): correct the source's symbols")
        if refusal is not None and not self._intake.waiting():
            raise Retryable(f"{self._source}: the vendor refuses ({refusal.message})")
        if not self._intake.waiting():
            return Polled()
        position: dict[str, object] = {**self._intake.position()}  # before the rows: it may say that a gap is given up
        if self._vendor.aggregates:
            position[_AGGREGATES] = 1
        batches, rejected = self._intake.drain()
        return Polled(batches, json.dumps(position, separators=(",", ":")), rejected=rejected)

    def watermark_ns(self) -> int | None:
        """Now, less the lateness and the delay with which trades have been coming; no promise while the vendor is
        not heard."""
        if self._connection is None or not self._connection.connected.is_set() or not self._connection.queue.empty():
            return None
        return self._clock.now_ns() - self._lateness_ns - self._delays.longest_ns()

    def close(self) -> None:
        for part in (self._connection, self._refill, self._recorder):
            if part is not None:
                part.close()

    def _restore(self, position: dict[str, Any]) -> None:
        """Go on behind it, unless it counts what is not counted any more."""
        if bool(position.pop(_AGGREGATES, 0)) != self._vendor.aggregates:
            get_logger().warning(
                "position_left", source=self._source, why="single trades and aggregates have other ids",
                note="what came while the source was down is not asked for",
            )  # fmt: skip
            return
        self._intake.restore(position)

    # --- parts of a poll ---

    def _take_messages(self, timeout_s: float) -> None:
        assert self._connection is not None  # noqa: S101  poll comes after start
        inbox = self._connection.queue
        wait = timeout_s
        for _ in range(_MESSAGES_MAX):
            try:
                item = inbox.get(timeout=wait) if wait > 0 else inbox.get_nowait()
            except queue.Empty:
                return
            wait = 0.0
            self._take(item)

    def _take(self, item: Item) -> None:
        if item.kind == "message":
            self._intake.message(item.data, item.received_ns)
            self._intake.settle(item.received_ns)
        elif item.kind == "connected":
            if self._unheard_since is None:
                self._unheard_since = self._clock.monotonic()
            self._ask_for_newest()

    def _ask_for_newest(self) -> None:
        if self._refill is not None:
            for symbol, series in self._intake.series.items():
                if series.last is not None:
                    self._refill.ask(Wanted(symbol))

    def _take_refilled(self) -> None:
        while self._refill is not None and (found := self._refill.found()) is not None:
            if found.newest:
                self._take_newest(found)
                continue
            self._intake.refilled(found.trades, (found.first, found.last), found.received_ns)
            if found.why is not None:
                self._intake.given_up(found.symbol, found.first, found.last, found.why)

    def _take_newest(self, found: Found) -> None:
        if found.why is not None:
            if self._vendor.unknown_symbol(found.why):
                self._intake.refusal = Refusal(found.why, for_good=True)
            return
        ids = [trade.trade_id for trade in found.trades if isinstance(trade, Trade)]
        if ids:
            self._intake.series.setdefault(found.symbol, Series()).claim(max(ids), found.received_ns)

    def _notice_silence(self) -> None:
        """A symbol of which nothing came since the first connection: say so, once, and ask whether the vendor has it."""
        since = self._unheard_since
        if since is None or not self._unheard or self._clock.monotonic() - since < self._settings.silence_s:
            return
        for symbol in sorted(self._unheard - self._intake.heard):
            get_logger().warning(
                "symbol_silent", source=self._source, symbol=symbol,
                todo="nothing came for it since the connection: look whether the vendor has it",
            )  # fmt: skip
            if self._refill is not None:
                self._refill.ask(Wanted(symbol))
        self._unheard.clear()

    def _ask_for_missing(self) -> None:
        declared, self._intake.declared = self._intake.declared, []
        for symbol, gap in declared:
            for first, last in list(gap.missing):
                if self._refill is not None:
                    self._refill.ask(Wanted(symbol, first, last))
                else:
                    self._intake.given_up(symbol, first, last, "refill is off")
