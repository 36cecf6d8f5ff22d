"""Watermarks, liveness and log time (semantics 6–9)."""

from typing import Any

from market_rows import Engine, at, clock, config_of, goodbye, heartbeat, hello, span, trade

REFUSE_LATE: dict[str, Any] = {"window_ns": 0}
"""Without a correction window; what is late there has its own tests."""


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
    engine.feed(hello("x"), hello("y"), clock(1), trade("A", 1, 1, 1, source="x"), trade("A", 1, 1, 1, source="y"))
    assert spans(engine, heartbeat(31, source="x")) == []
    assert spans(engine, heartbeat(31.001, source="x")) == [("A", (1, 2))]


def test_a_symbol_without_live_sources_follows_log_time_behind_the_timeout() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(10), hello(), trade("A", 10, 1, 1))
    assert spans(engine, clock(40.9)) == []
    assert spans(engine, clock(41)) == [("A", (10, 11))]


def test_a_goodbye_takes_the_source_out_after_its_final_watermark() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), trade("A", 1, 1, 1, source="x"), trade("A", 1, 1, 1, source="y"), heartbeat(9, source="y"))
    assert spans(engine, goodbye("x", watermark_ns=None)) == [("A", (1, 2))]


def test_a_returning_source_is_live_again_and_what_it_brings_from_behind_is_late() -> None:
    engine = Engine(config_of(["1s"], window_ns=0))
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


def test_when_all_sources_are_dead_the_pipelines_clock_closes_every_bar() -> None:
    """One said hello, one never did; only clock records move log time."""
    engine = Engine(config_of(["1s", "1m"]))
    engine.feed(clock(10), hello("x"), trade("A", 10, 1, 1, source="x"), trade("B", 10.5, 1, 1, source="y"))
    assert spans(engine, clock(40)) == []
    assert spans(engine, clock(40.999)) == []
    assert spans(engine, clock(41)) == [("A", (10, 11)), ("B", (10, 11))]
    assert spans(engine, clock(89.999)) == []
    assert spans(engine, clock(90)) == [("A", (0, 60)), ("B", (0, 60))]


def test_a_source_an_hour_ahead_is_refused_and_nobodys_watermark_moves() -> None:
    engine = Engine(config_of(["1s"]))
    hour = 3_600
    engine.feed(clock(100), hello("good"), hello("fast"), trade("A", 100, 1, 1, source="good"))
    rows = [
        trade("A", hour + 100, 9, 1, source="fast"),
        trade("F", hour + 100, 9, 1, source="fast"),
        heartbeat(hour + 101, source="fast", log=101),
    ]
    result = engine.step(rows)
    assert [refusal.reason for refusal in result.refused] == ["future_time"] * 3
    assert len(result.closed) == 0
    assert spans(engine, trade("A", 102, 2, 1, source="good"), heartbeat(103, source="good")) == [
        ("A", (100, 101)),
        ("A", (102, 103)),
    ]


def test_a_source_whose_clock_jumps_ahead_stops_holding_up_what_it_fed() -> None:
    """What it sends is refused, so it is silent; after the timeout the other source alone decides."""
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(0), hello("x", lateness_ns=0), hello("y", lateness_ns=0))
    engine.feed(trade("A", 0, 1, 1, source="x"), trade("A", 0, 1, 1, source="y"))
    for second in range(1, 31):
        jumped = heartbeat(second + 3_600, source="y", log=second)
        result = engine.step([jumped, heartbeat(second, source="x")])
        assert [refusal.reason for refusal in result.refused] == ["future_time"]
        assert len(result.closed) == 0
    assert spans(engine, heartbeat(30.5, source="x")) == [("A", (0, 1))]


def test_a_source_an_hour_behind_holds_up_its_own_symbols_and_no_others() -> None:
    engine = Engine(config_of(["1s"]))
    hour = 3_600
    engine.feed(clock(hour), hello("good"), hello("slow"))
    engine.feed(trade("A", hour, 1, 1, source="good"), trade("S", 0, 1, 1, source="slow"))
    assert spans(engine, heartbeat(hour + 1, source="good")) == [("A", (hour, hour + 1))]
    assert spans(engine, heartbeat(0.9, source="slow", log=hour + 1)) == []
    assert spans(engine, heartbeat(1, source="slow", log=hour + 1)) == [("S", (0, 1))]
    assert engine.step([trade("S", 1.5, 1, 1, source="slow")]).refused == []


def test_a_symbol_follows_the_slow_one_of_its_sources_until_that_one_dies() -> None:
    engine = Engine(config_of(["1s"]))
    hour = 3_600
    engine.feed(clock(hour), hello("good"), hello("slow"))
    engine.feed(trade("A", 10, 2, 1, source="slow"), trade("A", hour, 1, 1, source="good"))
    assert spans(engine, heartbeat(hour + 20, source="good")) == []
    assert spans(engine, heartbeat(11, source="slow", log=hour + 20)) == [("A", (10, 11))]
    assert spans(engine, heartbeat(hour + 50, source="good")) == []
    assert spans(engine, heartbeat(hour + 51, source="good")) == [("A", (hour, hour + 1))]


def test_an_idle_partition_takes_heartbeats_and_clocks_and_gives_nothing() -> None:
    engine = Engine(config_of(["1s", "1d"], fill=True))
    beats = [heartbeat(quarter / 4) for quarter in range(400)]
    result = engine.step([hello(), clock(0), *beats, clock(86_400), goodbye(watermark_ns=None)])
    assert (len(result.closed), result.refused, result.late, result.out_of_session) == (0, [], 0, 0)


def test_a_quiet_symbol_closes_in_the_same_row_as_a_busy_one_of_its_source() -> None:
    engine = Engine(config_of(["1m"]))
    engine.feed(hello(), trade("QUIET", 1, 1, 1), *[trade("BUSY", t, 1, 1) for t in range(2, 60)])
    assert spans(engine, heartbeat(59.999)) == []
    assert spans(engine, trade("BUSY", 62, 1, 1)) == [("BUSY", (0, 60)), ("QUIET", (0, 60))]


def test_a_returning_source_holds_its_symbols_at_their_watermark_until_it_has_caught_up() -> None:
    engine = Engine(config_of(["1s"], **REFUSE_LATE))
    engine.feed(clock(10), hello("x"), hello("y"))
    engine.feed(trade("A", 10, 1, 1, source="x"), trade("A", 10, 1, 1, source="y"))
    engine.feed(clock(30), heartbeat(45, source="x"))  # y leaves: A follows x, to 45
    late = engine.step([trade("A", 20, 1, 1, source="y")])
    assert [refusal.reason for refusal in late.refused] == ["too_late"]
    engine.feed(trade("A", 46, 1, 1, source="x"))
    assert spans(engine, heartbeat(50, source="x")) == []  # y is live again, and stands at 18
    assert spans(engine, heartbeat(47, source="y", log=50)) == [("A", (46, 47))]


def test_a_goodbyes_final_watermark_closes_what_it_promises_and_no_more() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), hello(), trade("A", 1, 1, 1), trade("A", 2.5, 1, 1))
    assert spans(engine, goodbye(watermark_ns=at(2))) == [("A", (1, 2))]
    assert spans(engine, clock(32.999)) == []
    assert spans(engine, clock(33)) == [("A", (2, 3))]


def test_after_a_goodbye_its_symbols_follow_the_sources_that_are_left() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(5), hello("x"), hello("y"))
    engine.feed(trade("A", 5, 1, 1, source="x"), trade("A", 5, 1, 1, source="y"), heartbeat(7, source="y"))
    assert spans(engine, goodbye("x", watermark_ns=at(5.5))) == [("A", (5, 6))]
    assert spans(engine, trade("A", 8, 1, 1, source="y"), heartbeat(9, source="y")) == [("A", (8, 9))]


def test_history_beside_a_live_source_runs_on_its_own_times_and_holds_up_nobody() -> None:
    engine = Engine(config_of(["1s"]))
    live = 1_000_000
    engine.feed(clock(live), hello("feed"), hello("tape", "historical", lateness_ns=0))
    engine.feed(trade("L", live, 1, 1), trade("H", 5, 1, 1, source="tape"))
    assert spans(engine, heartbeat(live + 1)) == [("L", (live, live + 1))]
    assert spans(engine, clock(live + 86_400)) == []
    assert spans(engine, trade("H", 6, 1, 1, source="tape")) == [("H", (5, 6))]


def test_log_time_never_goes_back_when_a_brokers_clock_does() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(100), hello(), trade("A", 100, 1, 1), clock(50))
    assert spans(engine, clock(130)) == []
    assert spans(engine, clock(131)) == [("A", (100, 101))]


def test_a_rows_own_trade_comes_after_the_closings_that_it_causes() -> None:
    engine = Engine(config_of(["1s"], **REFUSE_LATE))
    engine.feed(hello("x", lateness_ns=0), hello("y", lateness_ns=0))
    engine.feed(trade("A", 0.5, 1, 1, source="y"), trade("A", 1.5, 1, 1, source="x"))
    engine.feed(heartbeat(2, source="x"), heartbeat(1.9, source="y"))
    assert spans(engine, goodbye("y", watermark_ns=None)) == [("A", (1, 2))]
    result = engine.step([trade("A", 1.7, 1, 1, source="x")])
    assert [refusal.reason for refusal in result.refused] == ["too_late"]


def test_a_live_source_that_dies_after_history_of_its_symbol_closes_by_log_time() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(100), hello("tape", "historical"), trade("A", 1, 1, 1, source="tape"), goodbye("tape"))
    engine.feed(hello("feed"), trade("A", 100, 2, 1))
    assert spans(engine, clock(200))[-1:] == [("A", (100, 101))]


def test_a_live_sources_goodbye_from_the_future_moves_no_watermark() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(100), hello(), trade("A", 100, 1, 1))
    result = engine.step([{**goodbye(watermark_ns=at(3_700)), "event_time_ns": at(3_700)}])
    assert [refusal.reason for refusal in result.refused] == ["future_time"]
    assert len(result.closed) == 0


def test_the_first_heartbeat_of_a_partition_from_the_future_moves_no_watermark() -> None:
    engine = Engine(config_of(["1s"]))
    result = engine.step([hello(), heartbeat(3_600, log=0), trade("A", 1, 1, 1)])
    assert [refusal.reason for refusal in result.refused] == ["future_time"]


def switch(symbol: str, source: str, seconds: float) -> dict[str, Any]:
    return {"type": "switch", "symbol": symbol, "source": source, "from": "x", "event_time_ns": at(seconds)}


def test_a_switch_makes_the_new_source_alone_hold_up_the_symbol() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), trade("A", 1, 1, 1, source="x"), trade("B", 1, 1, 1, source="x"))
    engine.feed(heartbeat(5, source="y"))  # x has died: without a switch it holds up both for `source_timeout`
    assert spans(engine, switch("A", "y", 1.1), heartbeat(6, source="y")) == [("A", (1, 2))]


def test_what_a_former_source_still_brings_of_its_own_time_holds_up_nothing() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), trade("A", 1, 1, 1, source="x"), heartbeat(1.5, source="y"), switch("A", "y", 1.1))
    engine.feed(trade("A", 1.05, 1, 1, source="x"), trade("A", 2.5, 1, 1, source="y"))
    assert spans(engine, heartbeat(6, source="y")) == [("A", (1, 2)), ("A", (2, 3))]


def test_rows_of_the_new_source_before_its_switch_are_not_late() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), trade("A", 1, 1, 1, source="x"), heartbeat(9, source="y"))
    bars = engine.feed(trade("A", 1.5, 2, 1, source="y"), trade("A", 2.5, 3, 1, source="y"), switch("A", "y", 1.1))
    found = [(span(bar), bar["trade_count"], bar["receipt"]["late_count"]) for bar in bars]
    assert found == [((1, 2), 2, 0), ((2, 3), 1, 0)]


def test_a_switch_back_follows_the_first_source_again_and_time_does_not_go_back() -> None:
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), trade("A", 1, 1, 1, source="x"), switch("A", "y", 1.1), heartbeat(6, source="y"))
    engine.feed(trade("A", 7, 1, 1, source="y"), heartbeat(3, source="x"), switch("A", "x", 8))
    assert spans(engine, heartbeat(20, source="y")) == []
    assert spans(engine, heartbeat(20, source="x")) == [("A", (7, 8))]


def test_a_switch_of_a_symbol_that_has_not_come_changes_nothing() -> None:
    engine = Engine(config_of(["1s"]))
    assert spans(engine, switch("Z", "y", 1), trade("A", 1, 1, 1), heartbeat(5)) == [("A", (1, 2))]
