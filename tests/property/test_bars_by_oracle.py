"""The engine's bars and the quotes at their closes, row by row, against a slow oracle: docs/semantics.md (1 to 9, 17)
by the letter, over real exchange calendars. It knows nothing of the engine: lists, sorting and the standard library's
exact sum; every row looks at everything again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple

import exchange_calendars
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from market_rows import Engine, Row, config_of
from marketpulse.app.calendars import sessions_by
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows

SECOND = 10**9
DAY = 86_400 * SECOND
LATENESS, SOURCE_TIMEOUT, GRACE = 2 * SECOND, 30 * SECOND, 300 * SECOND
MAX_AGE, MAX_SKEW = DAY, 5 * SECOND
UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}


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


FRAMES = ("1s", "1m", "30m", "1h", "1d")
WINDOWS = (  # around half-days, holidays, both clock changes, a longer day in Tokyo, a year's end
    ("XNYS", "2025-11-26", "2025-12-01"), ("XNYS", "2025-12-23", "2025-12-26"), ("XNYS", "2025-12-31", "2026-01-05"),
    ("XNYS", "2026-03-06", "2026-03-09"), ("XNYS", "2026-10-30", "2026-11-02"), ("XLON", "2025-12-24", "2025-12-31"),
    ("XLON", "2026-03-27", "2026-03-30"), ("XTKS", "2024-11-01", "2024-11-06"), ("24x7", "2025-12-31", "2026-01-02"),
)  # fmt: skip
SESSIONS = sessions_by("regular", {})
# Late trades are refused here; what they revise has its own tests.
PLAIN = config_of(FRAMES, "spread", sessions_of=SESSIONS, window_ns=0)
FILLED = config_of(FRAMES[2:], "spread", sessions_of=SESSIONS, window_ns=0, fill=True)

whole_seconds = st.integers(1, 40).map(lambda seconds: seconds * SECOND)
after_a_moment = st.sampled_from([0, 0, 2 * SECOND, 30 * SECOND]) | whole_seconds | st.integers(1, 3 * SECOND)
"""How far time moves from row to row inside a burst: often by nothing, the lateness, or the silence of a dead source."""


def days(day: date) -> int:
    """Since 1970."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


@cache
def sessions_of(name: str, first: str, last: str, around: int = 0) -> tuple[Session, ...] | None:
    """From the library itself, not from the tables that the engine is given; with some days around them."""
    if name == "24x7":
        return None
    margin = timedelta(days=around)
    start, end = date.fromisoformat(first) - margin, date.fromisoformat(last) + margin
    schedule = exchange_calendars.get_calendar(name, start="2024-01-01").schedule.loc[str(start) : str(end)]
    return tuple(Session(row.open.value, row.close.value, row.Index.value // DAY) for row in schedule.itertuples())


@cache
def moments(name: str, first: str, last: str) -> tuple[int, ...]:
    """Times at which something may go wrong: around opens, closes, hours, the grace, lunch, midnight."""
    sessions = sessions_of(name, first, last)
    if sessions is None:
        start = days(date.fromisoformat(first)) * DAY
        edges = [start + i * DAY + h * 3_600 * SECOND for i in range(3) for h in (0, 1, 12, 23)]
    else:
        edges = [edge for s in sessions for edge in (s.opens, s.closes, s.closes + 300 * SECOND)]
        edges += [s.opens + m * 60 * SECOND for s in sessions for m in (1, 60, 150, 180)]
    around = (-(10**10), -1, 0, 1, SECOND, 4 * SECOND, 31 * SECOND, 290 * SECOND)
    return tuple(sorted(edge + shift for edge in edges for shift in around))


def row_of(kind: str, source: str, time: int, **more: Any) -> Row:
    return {"type": kind, "source": source, "event_time_ns": time, **more}


def clock(now: int) -> Row:
    return {"type": "clock", "event_time_ns": 0, "log_time_ns": now}


def trade(source: str, symbol: str, venue: str, time: int, price: float, size: float) -> Row:
    return row_of("trade", source, time, symbol=symbol, venue=venue, price=price, size=size)


def quote(source: str, symbol: str, venue: str, time: int, bid: float, ask: float) -> Row:
    return row_of("quote", source, time, symbol=symbol, venue=venue, bid=bid, bid_size=1.0, ask=ask, ask_size=2.0)


@st.composite
def streams(draw: st.DrawFn, venue: str, first: str, last: str) -> list[Row]:
    """Bursts of rows of two sources around such moments: quiet symbols, late prints, wrong clocks, silence, goodbyes."""
    rows: list[Row] = []
    behind = {"x": 0, "y": draw(st.sampled_from([0, 0, 3_600 * SECOND]))}  # y's clock
    burst = st.lists(st.tuples(st.sampled_from("tttttqqqhhhcclgw"), after_a_moment), min_size=1, max_size=10)
    now = 0
    for start in sorted(draw(st.lists(st.sampled_from(moments(venue, first, last)), min_size=1, max_size=8))):
        before, now = max(now, start - SECOND), max(now, start)
        if draw(st.booleans()):  # a bar is open when the moment comes
            rows.append(trade("x", "A", venue, before, draw(st.integers(1, 99)) / 8, 1.0))
        rows.append(draw(st.sampled_from([clock(now), row_of("heartbeat", "x", now, log_time_ns=now)])))
        for kind, step in draw(burst):
            now += step
            source = draw(st.sampled_from("xxy"))
            time = now - behind[source]
            symbol = draw(st.sampled_from("ABQ" if source == "x" else "BC"))
            if kind == "t":
                late = draw(st.sampled_from([0, 0, 0, SECOND, 5 * SECOND, 61 * SECOND, 3_600 * SECOND]))
                price, size = draw(st.integers(1, 99)) / 8, draw(st.integers(0, 5)) / 4
                rows.append(trade(source, symbol, venue, time - late, price, size))
            elif kind == "q":
                early = draw(st.sampled_from([0, 0, 0, -SECOND, SECOND, 5 * SECOND, 290 * SECOND]))
                rows.append(quote(source, symbol, venue, time - early, 9.0, draw(st.integers(1, 99)) / 8))
            elif kind == "h":
                rows.append(row_of("heartbeat", source, time, log_time_ns=now))
            elif kind == "c":
                rows.append(clock(now))
            elif kind == "l":
                lateness = draw(st.sampled_from([0, 2 * SECOND, 60 * SECOND]))
                rows.append(row_of("hello", source, time, mode="live", run_id="1", lateness_ns=lateness))
            elif kind == "g":
                rows.append(row_of("goodbye", source, time, watermark_ns=draw(st.sampled_from([None, time]))))
            else:  # an hour ahead
                rows.append(trade(source, "W", venue, now + 3_600 * SECOND, 1.0, 1.0))
    return [*rows, clock(now + 5 * DAY)]


def as_oracle(bar: dict[str, Any], quote_offset: int) -> dict[str, Any]:
    """An emitted row with the fields that the oracle tells."""
    same = (
        "symbol", "timeframe", "open_time_ns", "close_time_ns", "open", "high", "low", "close", "volume", "vwap", "trade_count",
    )  # fmt: skip
    return {
        **{name: bar[name] for name in same}, "session_date": days(bar["session_date"]),
        **{name: bar["receipt"][name] for name in ("first_offset", "last_offset")},
        "quote_offset": None if quote_offset < 0 else quote_offset,
    }  # fmt: skip


def assert_same(config: EngineConfig, oracle: Oracle, rows: Sequence[Row]) -> None:
    """Row for row: the same bars in the same order, the same rows refused, the same counted as out of session."""
    engine = Engine(config)
    refused: list[tuple[int, str]] = []
    counts = np.zeros(3, np.int64)
    for i, row in enumerate(rows):
        result = engine.step([dict(row)])
        refused += [(i, refusal.reason) for refusal in result.refused]
        counts += (result.out_of_session, result.quotes.out_of_session, result.quotes.too_late)
        bars = bar_rows(engine.state, config, result.closed, "market", 0).to_pylist()
        assert len(result.indicated) == len(bars)
        found = [as_oracle(bar, at) for bar, at in zip(bars, result.closed["quote_offset"].tolist(), strict=True)]
        assert found == oracle.take(row), f"row {i}: {row}"
    assert refused == oracle.refused
    assert counts.tolist() == [oracle.outside, oracle.outside_quotes, oracle.late_quotes]


@pytest.mark.parametrize("window", WINDOWS)
@examples(full=20)
@given(data=st.data())
def test_every_row_closes_what_the_semantics_say(window: tuple[str, str, str], data: st.DataObject) -> None:
    assert_same(PLAIN, Oracle(FRAMES, {window[0]: sessions_of(*window, around=9)}), data.draw(streams(*window)))


@st.composite
def quiet_days(draw: st.DrawFn, venue: str, first: str, last: str, every: int) -> list[Row]:
    """A few trades and quotes over the window's days, in order, and a heartbeat `every` so often."""
    edges = moments(venue, first, last)
    start, end = edges[0], edges[-1]
    inside, at_edges = st.integers(start, end), st.sampled_from(edges)
    traded = draw(st.lists(at_edges, max_size=6)) + draw(st.lists(inside, min_size=1, max_size=6))
    rows = [trade("x", draw(st.sampled_from("AB")), venue, time, time % 97 / 8 + 1, 1.0) for time in traded]
    quoted = draw(st.lists(inside | at_edges, max_size=9))
    rows += [quote("x", draw(st.sampled_from("AB")), venue, time, 9.0, 10.0) for time in quoted]
    beats = range(start // every * every, end + every, every)
    rows += [row_of("heartbeat", "x", time, log_time_ns=time) for time in beats]
    hello = row_of("hello", "x", 0, mode="historical", run_id="1", lateness_ns=0)
    return [hello, *sorted(rows, key=lambda row: row["event_time_ns"])]


@pytest.mark.parametrize(("window", "every"), [*((window, 1_800) for window in WINDOWS), (WINDOWS[0], 6 * 3_600)])
@examples(full=15)
@given(data=st.data())
def test_with_fill_every_span_of_every_session_has_its_bar_also_where_time_moves_by_many_bars_at_a_row(
    window: tuple[str, str, str], every: int, data: st.DataObject
) -> None:
    oracle = Oracle(FRAMES[2:], {window[0]: sessions_of(*window, around=9)}, fill=True)
    assert_same(FILLED, oracle, data.draw(quiet_days(*window, every * SECOND)))
