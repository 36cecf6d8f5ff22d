"""Watermarks, liveness and log time (semantics 6–9)."""

from market_rows import Engine, clock, config_of, goodbye, heartbeat, hello, span, trade


def spans(engine: Engine, *rows: dict) -> list[tuple[str, tuple[float, float]]]:  # type: ignore[type-arg]
    return [(b["symbol"], span(b)) for b in engine.feed(*rows)]


def test_a_bar_closes_when_event_time_less_lateness_reaches_its_end() -> None:
    engine = Engine(config_of(["1s"]))
    assert spans(engine, trade("A", 1, 1, 1), trade("A", 3.999, 1, 1)) == []
    assert spans(engine, trade("A", 4, 1, 1)) == [("A", (1, 2))]


def test_a_hello_sets_the_lateness_of_its_source() -> None:
    engine = Engine(config_of(["1s"]))
    assert spans(engine, hello(lateness_ns=0), trade("A", 1, 1, 1), trade("A", 2, 1, 1)) == [("A", (1, 2))]


def test_the_slowest_live_source_of_a_symbol_holds_it_up_and_nobody_else() -> None:
    engine = Engine(config_of(["1s"]))
    rows = [trade("A", 1, 1, 1, source="x"), trade("A", 1, 1, 1, source="y"), trade("B", 1, 1, 1, source="x")]
    assert spans(engine, *rows, heartbeat(5, source="x")) == [("B", (1, 2))]
    assert spans(engine, heartbeat(5, source="y")) == [("A", (1, 2))]


def test_a_silent_live_source_leaves_the_minimum_by_the_logs_own_clock() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(
        hello("x"), hello("y"), clock(1), trade("A", 1, 1, 1, source="x"), trade("A", 1, 1, 1, source="y")
    )
    assert spans(engine, heartbeat(31, source="x")) == []
    assert spans(engine, heartbeat(31.001, source="x")) == [("A", (1, 2))]


def test_a_symbol_without_live_sources_follows_log_time_behind_the_timeout() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(10), hello(), trade("A", 10, 1, 1))
    assert spans(engine, clock(40.9)) == []
    assert spans(engine, clock(41)) == [("A", (10, 11))]


def test_a_goodbye_takes_the_source_out_after_its_final_watermark() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(
        clock(1),
        trade("A", 1, 1, 1, source="x"),
        trade("A", 1, 1, 1, source="y"),
        heartbeat(9, source="y"),
    )
    assert spans(engine, goodbye("x", watermark_ns=None)) == [("A", (1, 2))]


def test_a_returning_source_is_live_again_and_what_it_brings_from_behind_is_late() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(10), hello(), trade("A", 10, 1, 1), clock(60))
    result = engine.step([trade("A", 29, 1, 1)])
    assert [r.reason for r in result.refused] == ["too_late"]
    assert spans(engine, trade("A", 59, 1, 1), heartbeat(60)) == [("A", (59, 60))]


def test_a_historical_source_may_pause_for_as_long_as_it_likes() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1_000_000), hello(mode="historical"), trade("A", 1, 1, 1), clock(2_000_000))
    assert spans(engine, trade("A", 1.5, 2, 1), trade("A", 4, 1, 1)) == [("A", (1, 2))]


def test_a_live_source_whose_clock_is_wrong_moves_no_watermark() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(100_000), hello(), trade("A", 100_000, 1, 1))
    wrong = [trade("A", 100_005.1, 1, 1), trade("A", 100_000 - 86_401, 1, 1), heartbeat(103_600, log=100_000)]
    result = engine.step(wrong)
    assert [r.reason for r in result.refused] == ["future_time", "past_time", "future_time"]
    assert len(result.closed) == 0
    assert engine.step([trade("A", 100_005, 1, 1)]).refused == []


def test_a_source_that_never_said_hello_may_bring_the_past_but_not_the_future() -> None:
    engine = Engine(config_of(["1s"]))
    result = engine.step([clock(1_000_000), trade("A", 1, 1, 1), trade("A", 1_000_006, 1, 1)])
    assert [(r.row, r.reason) for r in result.refused] == [(2, "future_time")]


def test_an_idle_symbol_closes_by_its_sources_heartbeat() -> None:
    engine = Engine(config_of(["1s", "1m"]))
    engine.feed(trade("A", 1, 1, 1))
    assert spans(engine, heartbeat(1.9)) == []
    assert spans(engine, heartbeat(2)) == [("A", (1, 2))]
    assert spans(engine, heartbeat(60)) == [("A", (0, 60))]


def test_corrections_are_kept_whole_until_they_can_be_applied() -> None:
    engine = Engine(config_of(["1s"]))
    cancel = {"type": "cancel", "symbol": "A", "source": "feed", "trade_id": "1", "event_time_ns": 0}
    assert [r.reason for r in engine.step([cancel]).refused] == ["not_applied"]
