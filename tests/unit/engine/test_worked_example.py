"""The worked example of the semantics (docs/semantics.md), up to offset 4, and what follows until there are revisions."""

from market_rows import Engine, config_of, heartbeat, span, trade


def test_the_worked_example_gives_exactly_its_rows() -> None:
    engine = Engine(config_of(["1s"]))
    assert engine.feed(trade("AAA", 10.2, 5, 1)) == []
    assert engine.feed(trade("AAA", 10.9, 7, 3)) == []
    assert engine.feed(trade("AAA", 12.5, 6, 2)) == []
    assert engine.feed(trade("AAA", 10.4, 4, 1)) == []
    first, second = engine.feed(heartbeat(13.0))
    assert span(first) == (10, 11)
    assert [
        first[k] for k in ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    ] == [5, 7, 4, 7, 5, 6.0, 3, 0]
    assert (first["receipt"]["first_offset"], first["receipt"]["last_offset"]) == (0, 3)
    assert span(second) == (12, 13)
    assert [
        second[k] for k in ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    ] == [6, 6, 6, 6, 2, 6.0, 1, 0]
    assert (second["receipt"]["first_offset"], second["receipt"]["last_offset"]) == (2, 2)


def test_a_trade_behind_its_closed_bar_is_refused_with_the_timeframes_that_did() -> None:
    engine = Engine(config_of(["1s", "1m"]))
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
