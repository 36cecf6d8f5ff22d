"""Messages of a vendor whose trade ids do not count -> rows for the log. The same for a live feed and a recording.

    message -> parsed -> trade: new, or again -> rows
                      -> correction, cancel, halt -> events
    the connection was away -> a gap in time -> what is asked for comes -> healed

It has no clock and no connection: receive times come with the messages.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketpulse.errors import ParameterError
from marketpulse.ports import RejectedInput
from marketpulse.sources.streaming.parsed import (
    Bar,
    Cancel,
    Correction,
    Heard,
    Interruption,
    Parsed,
    Print,
    Quote,
    Refusal,
    Unusable,
)
from marketpulse.sources.streaming.rows import Rows
from marketpulse.sources.streaming.vendor import TimedVendor
from marketpulse.telemetry import BARS_CHANGED, STREAM_GAPS, STREAM_MESSAGES, STREAM_MISSING_TRADES, get_logger

POSITION_BYTES = 3_900  # what a position may have, with some room
_IDS_MAX = 5_000  # of a symbol, to know what came already
_NAMES_MAX = 200  # of corrected trades
_STEP_NS = 1_000_000  # the coarsest time that a feed tells: what lies in one step may come in any order
_GAPS_MAX = 8
_SLOW_NS = 5_000_000_000  # by how much a connection's first message may come late
_UNDER_WAY_NS = 1_000_000_000  # what happened so shortly before the last message may still have been under way


def _mark(trade_id: str) -> int:
    """A short name for an id, to stand in a position."""
    return zlib.crc32(trade_id.encode())


@dataclass(slots=True, eq=False)
class Lost:
    """A time `[from_ns, to_ns]` that a connection did not bring. `known`: marks of trades of its first step that came."""

    from_ns: int
    to_ns: int
    known: frozenset[int] = frozenset()
    found: int = 0  # trades that came for it


@dataclass(slots=True)
class Place:
    """How far one symbol is. `ids`: trades that came, in the order in which they came."""

    newest_ns: int = 0
    ids: dict[str, None] = field(default_factory=dict)
    marks: set[int] = field(default_factory=set)  # of the trades in the newest step
    known: frozenset[int] = frozenset()  # of these, the ones that came before a restart
    restored_ns: int = 0  # how far it was at the last restart: ids of what came before are not known any more
    lost: list[Lost] = field(default_factory=list)
    covered_ns: int = 0  # up to here it was brought, or is asked for: no trade belongs to two gaps
    names: dict[str, str] = field(default_factory=dict)  # a corrected trade's id -> the one it came with

    def came(self, trade: Print) -> bool:
        """Whether this trade came before."""
        if trade.trade_id is None:
            return False
        if trade.trade_id in self.ids or trade.trade_id in self.names:
            return True
        return (
            bool(self.known)
            and trade.time_ns // _STEP_NS == self.newest_ns // _STEP_NS
            and _mark(trade.trade_id) in self.known
        )

    def note(self, trade: Print) -> None:
        if trade.time_ns // _STEP_NS > self.newest_ns // _STEP_NS:
            self.known = frozenset()
            self.marks.clear()
        if trade.trade_id is not None:
            self.note_id(trade.trade_id)
            if trade.time_ns // _STEP_NS >= self.newest_ns // _STEP_NS:
                self.marks.add(_mark(trade.trade_id))
        self.newest_ns = max(self.newest_ns, trade.time_ns)

    def note_id(self, known: str) -> None:
        self.ids[known] = None
        if len(self.ids) > _IDS_MAX:
            del self.ids[next(iter(self.ids))]

    def rename(self, old: str, new: str) -> str:
        """A correction gives a trade another id; the one that it came with."""
        first = self.names.get(old, old)
        self.names[new] = first
        if len(self.names) > _NAMES_MAX:
            del self.names[next(iter(self.names))]
        return first


@dataclass(slots=True)
class TimedIntake:
    """`symbols`: the vendor's symbol -> ours; None: all that come are taken, and named by `vendor.to_ours`.

    `trading`: whether the venue was open at any time between two; what lies outside is no gap.
    """

    vendor: TimedVendor
    source: str
    origin: str
    symbols: Mapping[str, str] | None
    trades: bool = True
    quotes: bool = True
    bars: bool = True
    parse: Callable[[bytes], Sequence[Parsed]] | None = None
    trading: Callable[[int, int], bool] = lambda a, b: True  # noqa: ARG005
    late_ns: int = 0  # how far the feed runs behind
    beside: Callable[[], Mapping[str, Any]] = dict  # what else stands in the position, under names no symbol has
    places: dict[str, Place] = field(default_factory=dict)
    refusal: Refusal | None = None
    delays_ns: list[int] = field(default_factory=list)
    declared: list[tuple[str, Lost]] = field(default_factory=list)  # for who asks for what is missing
    newest_ns: int = 0
    heard: set[str] = field(default_factory=set)
    _connected: bool = False
    _heard_ns: int = 0  # the newest time that market data told; a new connection speaks before it brings any
    _rejected: list[RejectedInput] = field(default_factory=list)
    _messages: int = 0
    _rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self._rows = Rows(self.source)

    def message(self, message: bytes, received_ns: int | None, number: int | None = None) -> None:
        """One message as it came. `received_ns` None: unknown, as in a recording without receive times."""
        self._messages += 1
        if self._connected and received_ns is not None:
            self.back(received_ns)
        for parsed in (self.parse or self.vendor.parse)(message):
            try:
                self._one(parsed, received_ns)
            except ParameterError as error:
                parsed = Unusable("bad_symbol", str(error))
            if isinstance(parsed, Unusable):
                self._reject(parsed, message, self._messages if number is None else number)

    def connected(self) -> None:
        """A connection is there (again), and with its next message the feed is."""
        self._connected = True

    def back(self, received_ns: int) -> None:
        """The feed is there. What happened since it was heard before did not come; after a restart nobody knows when
        that was, and since a symbol's newest trade is meant."""
        self._connected = False
        heard_ns = self._heard_ns - _UNDER_WAY_NS
        for symbol in self.symbols if self.symbols is not None else list(self.places):
            place = self.places.setdefault(symbol, Place())
            if not place.newest_ns:
                place.newest_ns = received_ns - self.late_ns  # what was before we came is not missed
                continue
            from_ns = max(place.newest_ns, heard_ns, place.covered_ns)
            if (self.trades or self.bars) and received_ns > from_ns and self.trading(from_ns, received_ns):
                known = frozenset(place.marks) if from_ns == place.newest_ns else frozenset()
                self._lose(symbol, place, Lost(from_ns, received_ns, known))

    def refilled(
        self, symbol: str, lost: Lost, rows: Sequence[Print | Bar | Unusable], received_ns: int, last: bool
    ) -> None:
        """Rows that were asked for. `last`: there are no more of them."""
        place = self.places[symbol]
        newest_ns = lost.from_ns
        first_step, known = lost.from_ns // _STEP_NS, lost.known
        for item in rows:
            if isinstance(item, Unusable):
                self._reject(item, b"", 1)
                continue
            if isinstance(item, Bar):
                if lost.from_ns < item.close_ns <= lost.to_ns:  # a later one still forms
                    lost.found += self._bar(item._replace(symbol=symbol), received_ns, again=False)
                continue
            newest_ns = max(newest_ns, item.time_ns)
            step = item.time_ns // _STEP_NS
            again = item.trade_id is not None and _mark(item.trade_id) in known and step == first_step
            before = step < first_step or (not known and item.time_ns < lost.from_ns)
            beside = before or item.time_ns > lost.to_ns  # the overlap
            if beside and any(gap.from_ns <= item.time_ns <= gap.to_ns for gap in place.lost if gap is not lost):
                continue  # that one brings it
            if again or (beside and item.time_ns <= place.restored_ns):
                self._count("again")
            elif self._print(item._replace(symbol=symbol), received_ns):
                lost.found += 1
                STREAM_MISSING_TRADES.labels(self.source, "healed").inc()
        if last:
            self._event(symbol, lost, "healed", f"{lost.found} {'trades' if self.trades else 'bars'} came", lost.found)
            place.lost.remove(lost)
        elif newest_ns > lost.from_ns:
            step = newest_ns // _STEP_NS
            lost.known = frozenset(
                _mark(t.trade_id) for t in rows
                if isinstance(t, Print) and t.trade_id is not None and t.time_ns // _STEP_NS == step
            )  # fmt: skip
            lost.from_ns = newest_ns

    def given_up(self, symbol: str, lost: Lost, why: str) -> None:
        """Nobody tells what happened then: the gap stays, and is said."""
        self._event(symbol, lost, "open", f"what happened then cannot be had: {why}", lost.found)
        self.places[symbol].lost.remove(lost)

    def cut(self, symbol: str, lost: Lost, from_ns: int, why: str) -> None:
        """Give up what lies before `from_ns`."""
        old = Lost(lost.from_ns, min(lost.to_ns, from_ns), lost.known, lost.found)
        self._event(symbol, old, "open", f"what happened then cannot be had: {why}", lost.found)
        if old.to_ns >= lost.to_ns:
            self.places[symbol].lost.remove(lost)
        else:
            lost.from_ns, lost.known = from_ns, frozenset()

    def settle(self, now_ns: int) -> None:
        """Nothing is restored by waiting: trades do not count here."""

    def drain(self) -> tuple[list[Any], list[RejectedInput]]:
        """What has gathered, in the order in which to write it."""
        batches = self._rows.drain()
        rejected, self._rejected = self._rejected, []
        return batches, rejected

    def waiting(self) -> int:
        """Whether there is something to drain, as a rough count."""
        return len(self._rows) + len(self._rejected)

    def event(self, body: Mapping[str, Any]) -> None:
        """A record that was asked for beside the feed."""
        self._count(str(body["type"]))
        self._rows.event(body)

    def reject(self, item: RejectedInput) -> None:
        """A part of an answer that was asked for beside the feed, and cannot be used."""
        self._count("unusable")
        self._rejected.append(item)

    def position(self) -> dict[str, Any]:
        """By symbol: [newest time, marks of its step …], and for each gap [from, to, found, marks …]. Where it grows too
        long the oldest gaps are given up, and then marks are left out (those trades may come twice, and are dropped
        by the engine)."""
        marks_max = 50
        beside = dict(self.beside())
        while True:
            kept = {symbol: _kept(place, marks_max) for symbol, place in self.places.items()} | beside
            if len(json.dumps(kept, separators=(",", ":"))) <= POSITION_BYTES:
                return kept
            candidates = [(place.lost[0].from_ns, symbol) for symbol, place in self.places.items() if place.lost]
            if candidates and marks_max <= 1:
                symbol = min(candidates)[1]
                self.given_up(symbol, self.places[symbol].lost[0], "more gaps than a position can hold")
            elif marks_max > 0:
                marks_max //= 2
            else:
                return kept  # the log says what to do

    def restore(self, kept: Mapping[str, list[list[int]]]) -> None:
        """Go on behind a position; a symbol that is not asked for any more is forgotten."""
        for symbol, (newest, *lost) in kept.items():
            if self.symbols is None or symbol in self.symbols:
                place = Place(newest[0], marks=set(newest[1:]), known=frozenset(newest[1:]), restored_ns=newest[0])
                place.lost = [Lost(gap[0], gap[1], frozenset(gap[3:]), gap[2]) for gap in lost]
                place.covered_ns = max((gap.to_ns + 1 for gap in place.lost), default=0)
                self.places[symbol] = place
                self.newest_ns = max(self.newest_ns, place.newest_ns)
                self.declared += [(symbol, gap) for gap in place.lost]

    # --- one thing ---

    def _one(self, parsed: Parsed, received_ns: int | None) -> None:
        if isinstance(parsed, Heard):
            self._count("heard")
        elif isinstance(parsed, Refusal):
            self._count("refusal")
            self.refusal = parsed
        elif isinstance(parsed, Print | Quote | Bar | Correction | Cancel | Interruption):
            told_ns = parsed.close_ns if isinstance(parsed, Bar) else parsed.time_ns
            if received_ns is not None:  # what came is no newer than that: a feed may run behind, and a clock ahead
                self._heard_ns = max(self._heard_ns, min(received_ns, told_ns or received_ns))
            name = self._ours(parsed.symbol)
            if name is None or not self._asked_for(parsed):
                self._count("not asked for")
                return
            self.heard.add(parsed.symbol)
            if isinstance(parsed, Print):
                self._print(parsed, received_ns)
            elif isinstance(parsed, Quote):
                self._quote(name, parsed, received_ns)
            elif isinstance(parsed, Bar):
                self._bar(parsed, received_ns, again=True)
            else:
                self._told(name, parsed, received_ns)

    def _asked_for(self, parsed: Parsed) -> bool:
        if isinstance(parsed, Quote):
            return self.quotes
        return self.bars if isinstance(parsed, Bar) else self.trades

    def _print(self, trade: Print, received_ns: int | None) -> bool:
        """Take a trade; False: it came before."""
        name = self._ours(trade.symbol)
        if name is None:
            return False
        place = self.places.setdefault(trade.symbol, Place())
        if place.came(trade):
            self._count("again")
            return False
        place.note(trade)
        if trade.live and place.lost:
            last = place.lost[-1]
            if last.from_ns <= trade.time_ns <= last.to_ns < trade.time_ns + _SLOW_NS:
                last.to_ns, place.covered_ns = trade.time_ns - 1, trade.time_ns  # from here on the feed has brought it
        self._count("trade")
        at = self._at(trade.time_ns, received_ns)
        self._note_delay(trade.time_ns, received_ns if trade.live else None)
        self._rows.trade(
            name, trade.time_ns, trade.price, trade.size, trade.trade_id, at, trade.venue, trade.conditions
        )
        return True

    def _quote(self, name: str, quote: Quote, received_ns: int | None) -> None:
        time_ns = quote.time_ns or received_ns or self.newest_ns
        self._count("quote")
        self._rows.quote(name, time_ns, quote[2:], self._at(time_ns, received_ns), None)

    def _bar(self, bar: Bar, received_ns: int | None, again: bool) -> bool:
        """Take a bar; False: it came before. `again`: one that came before is the vendor's newer word, and is taken too."""
        name = self._ours(bar.symbol)
        if name is None:
            return False
        place = self.places.setdefault(bar.symbol, Place())
        known = f"{bar.timeframe}@{bar.open_ns}"
        if known in place.ids:
            if not again:
                self._count("again")
                return False
            BARS_CHANGED.labels(self.source).inc()
        elif again:
            self._note_delay(bar.close_ns, received_ns)
        place.note_id(known)
        place.newest_ns = max(place.newest_ns, bar.close_ns)
        self._count("bar")
        at = self._at(bar.close_ns, received_ns)
        self._rows.bar(name, bar.timeframe, bar.open_ns, bar.close_ns, bar[4:], at)
        return True

    def _told(self, name: str, parsed: Correction | Cancel | Interruption, received_ns: int | None) -> None:
        """What changes a trade, or halts trading: an event."""
        place = self.places.setdefault(parsed.symbol, Place())
        body: dict[str, Any] = {"symbol": name, "source": self.source, "event_time_ns": parsed.time_ns,
                                "ingest_time_ns": self._at(parsed.time_ns, received_ns)}  # fmt: skip
        if isinstance(parsed, Correction):
            kind = "correction"
            first = place.rename(parsed.trade_id, parsed.new_id)
            body |= {"trade_id": first, "price": parsed.price, "size": parsed.size}
        elif isinstance(parsed, Cancel):
            kind = "cancel"
            body["trade_id"] = place.names.get(parsed.trade_id, parsed.trade_id)
        else:
            kind = parsed.kind
            body |= {"from_ns": parsed.time_ns, "reason": parsed.reason}
        self._count(kind)
        self._rows.event({"type": kind, **body})

    def _at(self, time_ns: int, received_ns: int | None) -> int:
        self.newest_ns = max(self.newest_ns, time_ns)
        return time_ns if received_ns is None else received_ns

    def _note_delay(self, time_ns: int, received_ns: int | None) -> None:
        if received_ns is not None:
            self.delays_ns.append(received_ns - time_ns)

    def _ours(self, symbol: str) -> str | None:
        return self.vendor.to_ours(symbol) if self.symbols is None else self.symbols.get(symbol)

    def _count(self, kind: str) -> None:
        STREAM_MESSAGES.labels(self.source, kind).inc()

    def _reject(self, fault: Unusable, message: bytes, row: int) -> None:
        self._count("unusable")
        value = message if fault.value is None else fault.value
        self._rejected.append(RejectedInput(fault.reason, fault.detail, self.origin, row, value))

    # --- gaps ---

    def _lose(self, symbol: str, place: Place, lost: Lost) -> None:
        place.lost.append(lost)
        place.covered_ns = lost.to_ns + 1
        STREAM_GAPS.labels(self.source).inc()
        get_logger().warning("time_missing", source=self.source, symbol=symbol, from_ns=lost.from_ns, to_ns=lost.to_ns)
        self._event(symbol, lost, "found", "the feed was away", None)
        if len(place.lost) > _GAPS_MAX:
            self.given_up(symbol, place.lost[0], "more gaps than can be kept in mind")
        self.declared.append((symbol, lost))

    def _event(self, symbol: str, lost: Lost, state: str, reason: str, count: int | None) -> None:
        """A `gap` record. It stands at the end of the time that it speaks of."""
        name = self._ours(symbol)
        body = {
            "type": "gap", "symbol": name, "source": self.source, "event_time_ns": lost.to_ns, "from_ns": lost.from_ns,
            "to_ns": lost.to_ns, "reason": reason, "state": state,
        }  # fmt: skip
        self._rows.event(body if count is None else {**body, "trades": count})


def _kept(place: Place, marks_max: int) -> list[list[int]]:
    gaps = [[g.from_ns, g.to_ns, g.found, *sorted(g.known)[:marks_max]] for g in place.lost]
    return [[place.newest_ns, *sorted(place.marks)[:marks_max]], *gaps]
