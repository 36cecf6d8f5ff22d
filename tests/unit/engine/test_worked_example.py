"""The worked example of the semantics (docs/semantics.md), and what late trades come to beside it."""

from typing import Any

from market_rows import Engine, config_of, heartbeat, span, trade

FIRST = [trade("AAA", 10.2, 5, 1), trade("AAA", 10.9, 7, 3), trade("AAA", 12.5, 6, 2), trade("AAA", 10.4, 4, 1)]
LATE = [trade("AAA", 11.5, 9, 1), trade("AAA", 10.95, 8, 5)]


def numbers(bar: dict[str, Any]) -> tuple[Any, ...]:
    """Its span, then the columns of the page's table."""
    names = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    return span(bar), *(bar[name] for name in names)


def test_the_worked_example_gives_exactly_its_rows() -> None:
    engine = Engine(config_of(["1s"]))
    assert [engine.feed(row) for row in FIRST] == [[]] * 4
    first, second = engine.feed(heartbeat(13.0))
    assert numbers(first) == ((10, 11), 5, 7, 4, 7, 5, 6.0, 3, 0)
    assert (first["receipt"]["first_offset"], first["receipt"]["last_offset"]) == (0, 3)
    assert numbers(second) == ((12, 13), 6, 6, 6, 6, 2, 6.0, 1, 0)
    assert (second["receipt"]["first_offset"], second["receipt"]["last_offset"]) == (2, 2)
    assert [engine.feed(row) for row in LATE] == [[]] * 2
    revised, late = engine.feed(heartbeat(13.5))
    assert numbers(revised) == ((10, 11), 5, 8, 4, 8, 10, 7.0, 4, 1)
    assert (revised["receipt"]["first_offset"], revised["receipt"]["last_offset"]) == (0, 6)
    assert numbers(late) == ((11, 12), 9, 9, 9, 9, 1, 9.0, 1, 0)
    assert (revised["receipt"]["late_count"], late["receipt"]["late_count"]) == (1, 1)


def test_the_indicator_rows_of_the_worked_example_are_revised_where_their_bits_change() -> None:
    engine = Engine(config_of(["1s"], "sma(2)"))
    rows = engine.values(*FIRST, heartbeat(13.0))
    assert [(r["close"], r["sma_2"], r["revision"]) for r in rows] == [(7, None, 0), (6, 6.5, 0)]
    rows = engine.values(*LATE, heartbeat(13.5))
    assert [(r["close"], r["sma_2"], r["revision"]) for r in rows] == [(8, None, 1), (9, 8.5, 0), (6, 7.5, 1)]
    assert engine.values(heartbeat(14.0)) == []


def test_a_trade_behind_the_window_is_refused_with_the_timeframes_that_did() -> None:
    engine = Engine(config_of(["1s", "1m"], window_ns=0))
    engine.feed(trade("AAA", 10.2, 5, 1), trade("AAA", 12.5, 6, 2), heartbeat(13.0))
    for late in (11.5, 10.95):
        result = engine.step([trade("AAA", late, 9, 1)])
        assert len(result.closed) == 0
        assert [(r.row, r.reason, r.timeframes) for r in result.refused] == [(0, "too_late", ("1s", "1m"))]
    assert result.late == 1


def test_a_late_trade_enters_the_open_tick_bar() -> None:
    engine = Engine(config_of(["2t", "1s"]))
    engine.feed(trade("AAA", 10.2, 5, 1), heartbeat(13.0))
    closed = engine.feed(trade("AAA", 10.5, 9, 1))
    assert [(b["timeframe"], b["open"], b["close"], b["trade_count"]) for b in closed] == [("2t", 5, 9, 2)]
