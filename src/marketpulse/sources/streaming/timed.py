"""A live feed that needs a key, and whose trade ids do not count, as a source.

Its position holds, by symbol, the newest trade's time and the times that are still missing: a restart asks for what
happened meanwhile.
"""

import json
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import ParameterError, Retryable, SettingsError, WrongKey
from marketpulse.ports import Hello, Polled
from marketpulse.settings import KeyedStreamSettings
from marketpulse.sources.rest.answer import Judgement, Taken
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.rest.secret import Key, Veil
from marketpulse.sources.streaming.aside import Aside, OpenAside
from marketpulse.sources.streaming.connection import Connection, Item
from marketpulse.sources.streaming.delays import Delays
from marketpulse.sources.streaming.recording import Recorder
from marketpulse.sources.streaming.timed_intake import TimedIntake
from marketpulse.sources.streaming.timed_refill import TimedRefill
from marketpulse.sources.streaming.vendor import Credentials, TimedVendor
from marketpulse.telemetry import get_logger

_MESSAGES_MAX = 5_000  # of one poll
_BESIDE = "beside"  # in a position, among the symbols, which are in capitals
_DAY_NS = 86_400 * 10**9


def _judge(status: int, body: Any) -> Judgement | None:
    """The key was good at the door: what it may not ask for is this one thing."""
    if status == 403 and body is not None:
        return Judgement(Taken.REFUSED, "the plan does not have it")
    return None


def always(from_ns: int, to_ns: int) -> bool:  # noqa: ARG001
    """The venue never closes."""
    return True


@dataclass(repr=False)
class TimedSource:
    """A `Source` over one vendor's feed. `trading`: whether its venue was open at any time between two.

    `backoff_s`: (first, longest) pause between two connections. `settle_s`: how long the vendor's store may lag.
    """

    vendor: TimedVendor
    settings: KeyedStreamSettings
    credentials: Credentials
    source: str
    lateness_ns: int
    trading: Callable[[int, int], bool] = always
    clock: Clock = field(default_factory=SystemClock)
    backoff_s: tuple[float, float] = (1.0, 60.0)
    settle_s: float = 2.0
    silent_s: float = 3_600.0
    aside: OpenAside | None = None  # what its vendor is asked beside the feed
    _intake: TimedIntake = field(init=False)
    _connection: Connection | None = None
    _refill: TimedRefill | None = None
    _aside: Aside | None = None
    _clients: list[RestClient] = field(default_factory=list)
    _recorder: Recorder | None = None
    _unheard: set[str] | None = None  # the vendor's symbols, until it is said which of them are silent
    _open_since: float | None = None
    _delays: Delays = field(default_factory=Delays)

    def start(self, position: str | None) -> Hello:
        """Connect, and go on behind the trades of `position`. Raises SettingsError."""
        settings, vendor = self.settings, self.vendor
        try:
            symbols = {vendor.to_vendor(s): vendor.to_ours(vendor.to_vendor(s)) for s in settings.symbols}
        except ParameterError as error:
            raise SettingsError(f"{self.source}: symbols: {error}") from None
        self._intake = TimedIntake(
            vendor, self.source, settings.url, symbols, settings.trades, settings.quotes, settings.bars,
            trading=self.trading, late_ns=int(settings.late_s * 1e9),
        )  # fmt: skip
        self._unheard = set(symbols)
        kept = {} if position is None else json.loads(position)
        beside = kept.pop(_BESIDE, {})
        self._intake.restore(kept)
        if settings.record is not None:
            self._recorder = Recorder(settings.record, self.source, vendor.name)
        if settings.refill and (settings.trades or settings.bars):
            self._refill = self._refilling()
            self._refill.start()
        if self.aside is not None:
            self._aside = self.aside(self._asking(self._beside_per_minute()), list(symbols.values()))
            self._aside.start(beside)
            aside = self._aside
            self._intake.beside = lambda: {_BESIDE: aside.position()}
        elif beside:  # kept for when it is asked for again
            self._intake.beside = lambda: {_BESIDE: beside}
        self._connection = self._connecting(tuple(symbols))
        self._connection.start()
        return Hello(
            source=self.source,
            mode="live",
            run_id=f"{self.clock.now_ns():x}",
            lateness_ns=max(1, self.lateness_ns),
            calendar=vendor.calendar(settings),
        )

    def poll(self, timeout_s: float) -> Polled:
        """What has come. Raises WrongKey, SettingsError for what the vendor will never give, Retryable when it refuses
        for another reason."""
        self._take_messages(timeout_s)
        self._take_refilled()
        self._ask_for_missing()
        self._take_aside()
        self._delays.note(self.clock.monotonic(), self._intake.delays_ns)
        self._look_for_refusals()
        self._notice_silence()
        if not self._intake.waiting():
            return Polled()
        position = self._intake.position()  # before the rows: it may say that a gap is given up
        batches, rejected = self._intake.drain()
        return Polled(batches, json.dumps(position, separators=(",", ":")), rejected=rejected)

    def watermark_ns(self) -> int | None:
        """Now, less the lateness and the delay of the feed; no promise while the vendor is not heard."""
        connection = self._connection
        if connection is None or not connection.connected.is_set() or not connection.queue.empty():
            return None
        delay_ns = max(self._delays.longest_ns(), int(self.settings.late_s * 1e9))
        return self.clock.now_ns() - max(1, self.lateness_ns) - delay_ns

    def close(self) -> None:
        for part in (self._connection, self._refill, self._aside, self._recorder, *self._clients):
            if part is not None:
                part.close()

    # --- parts of a start ---

    def _connecting(self, symbols: tuple[str, ...]) -> Connection:
        settings, vendor, credentials = self.settings, self.vendor, self.credentials
        greeting = vendor.greeting(settings, symbols)
        recorder = self._recorder
        return Connection(
            self.source, vendor.url(settings, credentials), greeting or (), vendor.probe(), settings.silence_s,
            self.clock, Backoff(*self.backoff_s),
            keep=recorder.keep if recorder else lambda _: None,
            idle=recorder.idle if recorder else lambda _: None,
            greet=None if greeting is not None else lambda m: vendor.replies(settings, symbols, credentials, m),
            headers=vendor.headers(settings),
            veil=Veil(*(Key(word) for word in credentials if word is not None)),
            patient=lambda: not self.trading(self.clock.now_ns(), self.clock.now_ns()),
        )  # fmt: skip

    def _beside_per_minute(self) -> int:
        """The part of the key's rate that questions beside the feed have."""
        return max(1, self.settings.requests_per_minute // 5)

    def _asking(self, per_minute: int) -> RestClient:
        """A client of its own for each kind of question: a fault of one path pauses no other."""
        settings = self.settings
        key, headers = self.vendor.rest_key(self.credentials)
        client = RestClient(
            self.source, settings.rest_url, Rate(per_minute, 60.0, burst=min(5, per_minute)), key=key, headers=headers,
            judge=_judge, clock=self.clock, backoff=Backoff(*self.backoff_s),
        )  # fmt: skip
        self._clients.append(client)
        return client

    def _refilling(self) -> TimedRefill:
        settings, vendor = self.settings, self.vendor
        beside = self._beside_per_minute() if self.aside is not None else 0
        client = self._asking(max(1, settings.requests_per_minute - beside))
        return TimedRefill(
            lambda symbol, begin, end, page: vendor.history_request(settings, symbol, begin, end, page),
            vendor.parse_page, client, self.source, int(settings.overlap_s * 1e9),
            self.settle_s + settings.overlap_s + settings.late_s,
        )  # fmt: skip

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
        elif item.kind == "connected":
            self._intake.connected()

    def _take_refilled(self) -> None:
        while self._refill is not None and (found := self._refill.found()) is not None:
            if found.lost not in self._intake.places[found.symbol].lost:
                continue  # it was given up meanwhile
            if found.why is not None:
                self._intake.given_up(found.symbol, found.lost, found.why)
            else:
                self._intake.refilled(found.symbol, found.lost, found.rows, found.received_ns, found.last)

    def _take_aside(self) -> None:
        if self._aside is None:
            return
        brought = self._aside.poll(self.clock.now_ns())
        for body in brought.bodies:
            self._intake.event(body)
        for item in brought.rejected:
            self._intake.reject(item)

    def _ask_for_missing(self) -> None:
        declared, self._intake.declared = self._intake.declared, []
        for symbol, lost in declared:
            if lost not in self._intake.places[symbol].lost:
                continue
            if self._refill is None:
                self._intake.given_up(symbol, lost, "refill is off")
                continue
            oldest_ns = self.clock.now_ns() - int(self.settings.refill_days_max * _DAY_NS)
            if lost.from_ns < oldest_ns:
                why = f"older than refill_days_max ({self.settings.refill_days_max:g}): load it from files"
                self._intake.cut(symbol, lost, oldest_ns, why)
            if lost in self._intake.places[symbol].lost:
                self._refill.ask(symbol, lost)

    def _notice_silence(self) -> None:
        """A symbol of which nothing came in an hour of trading: say so, once."""
        now_ns = self.clock.now_ns()
        watermark = self.watermark_ns()
        if self._unheard is None or watermark is None or not self.trading(now_ns, now_ns):
            self._open_since = None
            return
        self._open_since = self._open_since or self.clock.monotonic()
        if self.clock.monotonic() - self._open_since < self.silent_s:
            return
        for symbol in sorted(self._unheard - self._intake.heard):
            get_logger().warning(
                "symbol_silent", source=self.source, symbol=symbol,
                todo="nothing came for it in an hour of trading: look whether the vendor has it, and the key's plan",
            )  # fmt: skip
        self._unheard = None

    def _look_for_refusals(self) -> None:
        assert self._connection is not None  # noqa: S101  poll comes after start
        refusal, self._intake.refusal = self._intake.refusal, None
        at_the_door = self._connection.refused
        if at_the_door is not None or (refusal is not None and refusal.key):
            said = at_the_door or (refusal.message if refusal else "")
            raise WrongKey(
                f"{self.source} does not accept the key ({said}): set the right one in the environment or in `.env`, and "
                "start this source again; it asks no more until then"
            )
        if refusal is not None and refusal.for_good:
            raise SettingsError(
                f"{self.source}: the vendor refuses ({refusal.message}): correct the source's symbols or what it asks for"
            )
        if refusal is not None and not self._intake.waiting():
            raise Retryable(f"{self.source}: the vendor refuses ({refusal.message})")
