"""The nanosecond at which one bar ends and the next one begins (semantics 3 and 6)."""

from market_rows import Engine, Row, at, config_of, heartbeat, hello, span, trade


def promise(event_time_ns: int) -> Row:
    return {**heartbeat(0), "event_time_ns": event_time_ns, "log_time_ns": event_time_ns}


def test_a_promise_one_nanosecond_before_the_close_leaves_the_bar_open() -> None:
    engine = Engine(config_of(["1s"]))
    assert engine.feed(hello(), trade("A", 1.5, 10, 1), promise(at(2) - 1)) == []
    (bar,) = engine.feed(promise(at(2)))
    assert (*span(bar), bar["trade_count"]) == (1, 2, 1)


def test_a_trade_at_the_close_opens_the_next_bar_though_the_one_before_is_still_open() -> None:
    engine = Engine(config_of(["1s"]))
    bars = engine.feed(hello(), trade("A", 1.5, 10, 1), trade("A", 2, 20, 4), heartbeat(3))
    assert [(*span(b), b["open"], b["close"], b["volume"]) for b in bars] == [(1, 2, 10, 10, 1), (2, 3, 20, 20, 4)]
