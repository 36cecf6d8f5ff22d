"""The engine's bars and the quotes at their closes, row by row, against a slow oracle that only knows the semantics, over real exchange calendars."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any

import exchange_calendars
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bar_oracle import DAY, SECOND, Oracle, Session
from examples import examples
from market_rows import Engine, Row, config_of
from marketpulse.app.calendars import sessions_by
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.rows import bar_rows

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
        quotes = result.closed["quote_offset"].tolist()
        found = [as_oracle(bar, at) for bar, at in zip(bars, quotes, strict=True)]
        assert found == oracle.take(row), f"row {i}: {row}"
    assert refused == oracle.refused
    assert counts.tolist() == [oracle.outside, oracle.outside_quotes, oracle.late_quotes]


@pytest.mark.parametrize("window", WINDOWS)
@examples(full=20)
@given(data=st.data())
def test_every_row_closes_what_the_semantics_say(window: tuple[str, str, str], data: st.DataObject) -> None:
    oracle = Oracle(FRAMES, {window[0]: sessions_of(*window, around=9)})
    assert_same(PLAIN, oracle, data.draw(streams(*window)))


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
