"""Bars and the quotes at their closes by the letter of docs/semantics.md (1 to 9, 17), slowly and plainly: what the engine's are held against.

It knows nothing of the engine: lists, sorting and the standard library's exact sum. Every row looks at
everything again; nothing is kept up to date.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECOND = 10**9
DAY = 86_400 * SECOND
LATENESS, SOURCE_TIMEOUT, GRACE = 2 * SECOND, 30 * SECOND, 300 * SECOND
MAX_AGE, MAX_SKEW = DAY, 5 * SECOND
UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}

Row = dict[str, Any]


class Session(NamedTuple):
    """One session of a venue: [opens, closes), and its date in days since 1970."""

    opens: int
    closes: int
    date: int


class Place(NamedTuple):
    """Where a bar lies: its session, its times, and the watermark that closes it."""

    session: Session
    opens: int
    closes: int
    due: int


@dataclass
class Source:
    watermark: int | None = None
    lateness: int = LATENESS
    mode: str = "unknown"
    live: bool = False
    heard_at: int | None = None  # log time at its last record


@dataclass
class Symbol:
    name: str
    sessions: Sequence[Session] | None  # None: around the clock
    feeds: set[str] = field(default_factory=set)
    watermark: int | None = None
    trades: list[tuple[int, int, float, float]] = field(default_factory=list)  # (time, offset, price, size)
    quotes: list[tuple[int, int]] = field(default_factory=list)  # (time, offset)
    closed: dict[str, list[Place]] = field(default_factory=dict)  # by timeframe
    last_close: dict[str, float] = field(default_factory=dict)


class Oracle:
    """`take` one row of the log after the other; it gives the bars that the row closes, in their order.

    Its correction window is empty: what comes behind the watermark is too late.
    """

    def __init__(self, frames: Sequence[str], venues: Mapping[str, Sequence[Session] | None], *, fill: bool = False):
        self.frames, self.venues, self.fill = frames, venues, fill  # frames from the smallest to the largest
        self.log_time: int | None = None
        self.sources: dict[str, Source] = {}
        self.symbols: dict[str, Symbol] = {}
        self.reached: dict[frozenset[str], int | None] = {}  # the watermark of each set of sources that fed a symbol
        self.offset = -1
        self.refused: list[tuple[int, str]] = []
        self.outside = self.outside_quotes = self.late_quotes = 0

    def take(self, row: Row) -> list[Row]:
        """8: check; log time and liveness; watermark; closings; then the row's own trade or quote."""
        self.offset += 1
        kind = row["type"]
        if kind in ("trade", "quote", "heartbeat", "goodbye") and (reason := self._check(row)):
            self.refused.append((self.offset, reason))
            return []
        if kind in ("heartbeat", "clock"):
            self._move_log_time(row["log_time_ns"])
        if kind != "clock":
            self._hear(row)
        self._move_watermarks()
        bars = self._close_due()
        if kind == "trade":
            self._take_trade(row)
        if kind == "quote":
            self._take_quote(row)
        return bars

    # --- 9: the door

    def _check(self, row: Row) -> str | None:
        mode = self.sources.get(row["source"], Source()).mode
        if mode == "historical":
            return None
        known = [time for time in (self.log_time, row.get("log_time_ns")) if time is not None]
        says = row["watermark_ns"] if row["type"] == "goodbye" else row["event_time_ns"]
        if known and says is not None and says > max(known) + MAX_SKEW:
            return "future_time"
        if self.log_time is None or row["type"] == "goodbye" or mode != "live":
            return None
        return "past_time" if row["event_time_ns"] < self.log_time - MAX_AGE else None

    # --- 6, 7: time

    def _move_log_time(self, appended: int) -> None:
        self.log_time = appended if self.log_time is None else max(self.log_time, appended)
        for source in self.sources.values():
            if source.heard_at is None:
                source.heard_at = self.log_time
            if source.mode != "historical" and self.log_time - source.heard_at > SOURCE_TIMEOUT:
                source.live = False
        self._move_watermarks()

    def _hear(self, row: Row) -> None:
        source = self.sources.setdefault(row["source"], Source())
        source.live, source.heard_at = True, self.log_time
        if row["type"] == "hello":
            source.mode = row["mode"]
            source.lateness = row.get("lateness_ns", LATENESS)
            return
        if row["type"] in ("trade", "quote"):
            symbol = self.symbols.get(row["symbol"])
            if symbol is None:
                symbol = self.symbols[row["symbol"]] = Symbol(row["symbol"], self.venues[row["venue"]])
            symbol.feeds.add(row["source"])
        seen = row["event_time_ns"] - (source.lateness if row["type"] in ("trade", "quote") else 0)
        promised = row["watermark_ns"] if row["type"] == "goodbye" else seen
        if promised is not None and (source.watermark is None or promised > source.watermark):
            source.watermark = promised
        if row["type"] == "goodbye":
            self._move_watermarks()
            source.live = False

    def _move_watermarks(self) -> None:
        for symbol in self.symbols.values():
            self.reached.setdefault(frozenset(symbol.feeds), None)
        for feeds, before in self.reached.items():
            self.reached[feeds] = _later(before, self._lowest(feeds))
        for symbol in self.symbols.values():
            symbol.watermark = _later(symbol.watermark, self.reached[frozenset(symbol.feeds)])

    def _lowest(self, feeds: frozenset[str]) -> int | None:
        feeding = [self.sources[name] for name in feeds]
        live = [source for source in feeding if source.live]
        if live:
            known = [source.watermark for source in live if source.watermark is not None]
            return min(known) if len(known) == len(live) else None
        if self.log_time is None or all(source.mode == "historical" for source in feeding):
            return None
        return self.log_time - SOURCE_TIMEOUT

    # --- 1, 2: where a time lies

    def _session_of(self, symbol: Symbol, time: int) -> Session | None:
        if symbol.sessions is None:
            date = time // DAY
            return Session(date * DAY, (date + 1) * DAY, date)
        begun = [session for session in symbol.sessions if session.opens <= time]
        return begun[-1] if begun and time < begun[-1].closes + GRACE else None

    def _place(self, symbol: Symbol, frame: str, session: Session, time: int) -> Place:
        grace = 0 if symbol.sessions is None else GRACE
        if frame == "1d":
            return Place(session, session.opens, session.closes, session.closes + grace)
        length = int(frame[:-1]) * UNITS[frame[-1]]
        opens = session.opens
        while opens + length < session.closes and opens + length <= time:
            opens += length
        closes = min(opens + length, session.closes)
        return Place(session, opens, closes, closes + grace if closes == session.closes else closes)

    def _place_of(self, symbol: Symbol, frame: str, time: int) -> Place | None:
        session = self._session_of(symbol, time)
        return None if session is None else self._place(symbol, frame, session, time)

    def _next_place(self, symbol: Symbol, frame: str, place: Place) -> Place | None:
        """The bar behind this one: in the same session, or at the next one's open."""
        if place.closes < place.session.closes:
            return self._place(symbol, frame, place.session, place.closes)
        if symbol.sessions is None:
            return self._place(symbol, frame, self._session_of(symbol, place.closes), place.closes)  # type: ignore[arg-type]
        later = [session for session in symbol.sessions if session.opens >= place.closes]
        return self._place(symbol, frame, later[0], later[0].opens) if later else None

    # --- 3, 4, 8: closing

    def _close_due(self) -> list[Row]:
        """One bar at a time: the first of all that are due, by (close time, symbol, timeframe)."""
        bars: list[Row] = []
        while True:
            due = [
                (place.closes, symbol.name, index, place)
                for symbol in self.symbols.values()
                for index, frame in enumerate(self.frames)
                for place in self._waiting(symbol, frame)
                if symbol.watermark is not None and place.due <= symbol.watermark
            ]
            if not due:
                return bars
            _, name, index, place = min(due)
            bars.append(self._bar(self.symbols[name], self.frames[index], place))

    def _waiting(self, symbol: Symbol, frame: str) -> list[Place]:
        """Bars with trades that have not closed; with `fill`, the one behind the last closed one too."""
        closed = symbol.closed.get(frame, [])
        places = {self._place_of(symbol, frame, time) for time, *_ in symbol.trades}
        waiting = [place for place in places if place is not None and place not in closed]
        if self.fill and closed and (behind := self._next_place(symbol, frame, closed[-1])) is not None:
            waiting.append(behind)
        return waiting

    def _bar(self, symbol: Symbol, frame: str, place: Place) -> Row:
        symbol.closed.setdefault(frame, []).append(place)
        inside = sorted(trade for trade in symbol.trades if self._place_of(symbol, frame, trade[0]) == place)
        prices = [price for _, _, price, _ in inside] or [symbol.last_close[frame]]
        symbol.last_close[frame] = prices[-1]
        volume = math.fsum(size for *_, size in inside)
        offsets = [offset for _, offset, _, _ in inside]
        return {
            "symbol": symbol.name, "timeframe": frame, "open_time_ns": place.opens, "close_time_ns": place.closes,
            "session_date": place.session.date, "open": prices[0], "high": max(prices), "low": min(prices),
            "close": prices[-1], "volume": volume,
            "vwap": math.fsum(price * size for _, _, price, size in inside) / volume if volume else None,
            "trade_count": len(inside),
            "first_offset": min(offsets, default=None), "last_offset": max(offsets, default=None),
            "quote_offset": self._quote_at(symbol, place),
        }  # fmt: skip

    # --- 8, 11: the row's own trade

    def _take_trade(self, row: Row) -> None:
        symbol, time = self.symbols[row["symbol"]], row["event_time_ns"]
        session = self._session_of(symbol, time)
        if session is None:
            self.outside += 1
            return
        place = self._place(symbol, self.frames[0], session, time)
        if symbol.watermark is not None and place.due <= symbol.watermark:
            self.refused.append((self.offset, "too_late"))
            return
        symbol.trades.append((time, self.offset, row["price"], row["size"]))

    # --- 17: quotes

    def _take_quote(self, row: Row) -> None:
        symbol, time = self.symbols[row["symbol"]], row["event_time_ns"]
        session = self._session_of(symbol, time)
        if session is None or time >= session.closes:
            self.outside_quotes += 1
        elif symbol.watermark is not None and time < symbol.watermark:
            self.late_quotes += 1
        else:
            symbol.quotes.append((time, self.offset))

    def _quote_at(self, symbol: Symbol, place: Place) -> int | None:
        """The offset of the last quote of the bar's session before its close."""
        before = [quote for quote in symbol.quotes if place.session.opens <= quote[0] < place.closes]
        return max(before)[1] if before else None


def _later(before: int | None, now: int | None) -> int | None:
    """A watermark never goes back."""
    return now if before is None else before if now is None else max(before, now)
