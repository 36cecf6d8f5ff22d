"""Bars: anchoring, sessions, ticks, bars of a source, filling. Expected values are hand sums."""

import math

import numpy as np

from market_rows import MIDNIGHT_NS, Engine, at, bar, clock, config_of, goodbye, heartbeat, hello, span, trade
from marketpulse.engine.layout import VENUES_MAX
from marketpulse.model.market import COMPLETE
from marketpulse.model.session import SessionTable, around_the_clock

HOUR = 3_600
NEW_YORK = SessionTable(  # 2026-01-02, 14:30–21:00 UTC; 2026-01-05, a half-day until 18:00
    "XNYS",
    np.array([at(86_400 + 14.5 * HOUR), at(4 * 86_400 + 14.5 * HOUR)]),
    np.array([at(86_400 + 21 * HOUR), at(4 * 86_400 + 18 * HOUR)]),
    np.array([20_455, 20_458], np.int32),
)


def sessions_of(name: str) -> SessionTable | None:
    return {"XNYS": NEW_YORK, "24x7": around_the_clock()}.get(name)


def closed(engine: Engine, *rows: dict) -> list[tuple]:  # type: ignore[type-arg]
    return [
        (b["timeframe"], *span(b), b["open"], b["high"], b["low"], b["close"], b["volume"]) for b in engine.feed(*rows)
    ]


def test_larger_bars_are_made_of_the_smaller_ones_and_close_together() -> None:
    engine = Engine(config_of(["1s", "1m", "5m"]))
    rows = [trade("A", 1.5, 10, 1), trade("A", 59.5, 12, 2), trade("A", 61, 8, 3), trade("A", 300.5, 9, 1)]
    bars = closed(engine, *rows, heartbeat(301))
    assert bars == [
        ("1s", 1, 2, 10, 10, 10, 10, 1),
        ("1s", 59, 60, 12, 12, 12, 12, 2),
        ("1m", 0, 60, 10, 12, 10, 12, 3),
        ("1s", 61, 62, 8, 8, 8, 8, 3),
        ("1m", 60, 120, 8, 8, 8, 8, 3),
        ("5m", 0, 300, 10, 12, 8, 8, 6),
        ("1s", 300, 301, 9, 9, 9, 9, 1),
    ]


def test_bars_that_close_together_leave_by_close_time_then_symbol_then_timeframe() -> None:
    engine = Engine(config_of(["1s", "1m"]))
    rows = [trade(s, t, 1, 1) for s, t in (("C", 59), ("A", 59), ("B", 58))]
    bars = engine.feed(*rows, heartbeat(60))
    order = [(b["close_time_ns"], b["symbol"], b["timeframe"]) for b in bars]
    assert [(s, f) for _, s, f in order] == [
        ("B", "1s"),
        ("A", "1s"),
        ("A", "1m"),
        ("B", "1m"),
        ("C", "1s"),
        ("C", "1m"),
    ]


def test_vwap_is_the_exact_sum_of_price_times_size_over_the_exact_volume() -> None:
    engine = Engine(config_of(["1m", "1h"]))
    prices, sizes = [0.1, 0.2, 0.3, 1e6], [3.0, 0.7, 1e-3, 1e9]
    rows = [trade("A", 60 * i, p, s) for i, (p, s) in enumerate(zip(prices, sizes, strict=True))]
    hour = engine.feed(*rows, heartbeat(3_600))[-1]
    assert hour["timeframe"] == "1h"
    assert hour["volume"] == math.fsum(sizes)
    assert hour["vwap"] == math.fsum(p * s for p, s in zip(prices, sizes, strict=True)) / math.fsum(sizes)


def test_vwap_is_empty_when_nothing_was_sold() -> None:
    bars = Engine(config_of(["1s"])).feed(trade("A", 1, 5, 0), heartbeat(2))
    assert (bars[0]["volume"], bars[0]["vwap"]) == (0, None)


def test_open_and_close_follow_event_time_and_then_the_log() -> None:
    engine = Engine(config_of(["1s"]))
    rows = [
        trade("A", 1.5, 10, 1),
        trade("A", 1.2, 11, 1),
        trade("A", 1.2, 12, 1),
        trade("A", 1.9, 13, 1),
        trade("A", 1.9, 14, 1),
    ]
    (one,) = engine.feed(*rows, heartbeat(2))
    assert (one["open"], one["close"]) == (11, 14)


def test_intraday_bars_are_anchored_at_the_open_and_the_last_one_is_short() -> None:
    engine = Engine(config_of(["1h", "1d"], calendar="XNYS", sessions_of=sessions_of))
    day, opened = 86_400, 86_400 + 14.5 * HOUR
    rows = [trade("A", opened + 60, 10, 1), trade("A", opened + 6.25 * HOUR, 11, 2)]
    bars = closed(engine, *rows, heartbeat(day + 21 * HOUR + 300))
    assert bars == [
        ("1h", opened, opened + HOUR, 10, 10, 10, 10, 1),
        ("1h", opened + 6 * HOUR, day + 21 * HOUR, 11, 11, 11, 11, 2),
        ("1d", opened, day + 21 * HOUR, 10, 11, 10, 11, 3),
    ]


def test_a_half_day_ends_early_and_prints_within_the_grace_belong_to_it() -> None:
    engine = Engine(config_of(["1m", "1d"], calendar="XNYS", sessions_of=sessions_of))
    close = 4 * 86_400 + 18 * HOUR
    assert closed(engine, trade("A", close - 30, 10, 1), heartbeat(close + 299)) == []
    assert closed(engine, trade("A", close + 200, 12, 5)) == []
    bars = closed(engine, heartbeat(close + 300))
    assert bars == [
        ("1m", close - 60, close, 10, 12, 10, 12, 6),
        ("1d", 4 * 86_400 + 14.5 * HOUR, close, 10, 12, 10, 12, 6),
    ]


def test_trades_outside_every_session_enter_no_bar_and_are_counted() -> None:
    engine = Engine(config_of(["1t", "1m"], calendar="XNYS", sessions_of=sessions_of))
    result = engine.step(
        [trade("A", 86_400 + HOUR, 10, 1), trade("A", 86_400 + 21 * HOUR + 301, 10, 1), heartbeat(3 * 86_400)]
    )
    assert (len(result.closed), result.out_of_session, result.refused) == (0, 2, [])


def test_a_symbol_follows_the_calendar_of_its_venue() -> None:
    engine = Engine(config_of(["1d"], sessions_of=sessions_of))
    rows = [trade("A", 86_400 + 15 * HOUR, 10, 1, venue="XNYS"), trade("B", 86_400 + 15 * HOUR, 10, 1, venue="NOWHERE")]
    bars = closed(engine, *rows, heartbeat(3 * 86_400))
    assert [b[1:3] for b in bars] == [(86_400 + 14.5 * HOUR, 86_400 + 21 * HOUR), (86_400, 2 * 86_400)]


def test_tick_bars_are_cut_by_count_in_the_order_of_the_log() -> None:
    engine = Engine(config_of(["1t", "3t"]))
    bars = closed(engine, trade("A", 3, 10, 1), trade("A", 1, 12, 2), trade("A", 2, 11, 3), trade("A", 4, 9, 1))
    assert [b for b in bars if b[0] == "3t"] == [("3t", 3, 2, 10, 12, 10, 11, 6)]
    assert [b[3] for b in bars if b[0] == "1t"] == [10, 12, 11, 9]


def test_a_source_that_only_has_bars_feeds_the_larger_ones() -> None:
    engine = Engine(config_of(["1m", "5m"]))
    parts = [bar("S", "1m", 60 * i, 60 * i + 60, (10 + i, 20 + i, 5 - i, 11 + i, 100)) for i in range(5)]
    bars = closed(engine, *parts, heartbeat(300))
    assert [b[0] for b in bars] == ["1m"] * 5 + ["5m"]
    assert bars[-1] == ("5m", 0, 300, 10, 24, 1, 15, 500)


def test_bars_of_other_symbols_that_end_together_are_all_in_before_a_larger_one_closes() -> None:
    engine = Engine(config_of(["1m", "5m"]))
    rows = [bar(s, "1m", 60 * i, 60 * i + 60, (1, 1, 1, 1, 100)) for i in range(6) for s in "ABC"]
    result = engine.step([hello(mode="historical", lateness_ns=0), *rows])
    assert result.refused == []
    assert [b["volume"] for b in result.closed if b["frame"] == 1] == [500, 500, 500]


def test_a_source_bar_labelled_within_the_grace_belongs_to_the_sessions_last_bar() -> None:
    engine = Engine(config_of(["1m", "1h", "1d"], calendar="XNYS", sessions_of=sessions_of))
    close = 86_400 + 21 * HOUR
    rows = [
        bar("S", "1m", close - 60, close, (10, 12, 9, 11, 100)),
        bar("S", "1m", close, close + 60, (11, 13, 11, 13, 50)),
    ]
    bars = closed(engine, *rows, heartbeat(close + 300))
    assert [b[0] for b in bars] == ["1m", "1m", "1h", "1d"]
    assert [b[3:] for b in bars[2:]] == [(10, 13, 9, 13, 150)] * 2


def test_a_bar_without_vwap_or_count_leaves_both_empty_above_it() -> None:
    engine = Engine(config_of(["1m", "5m"]))
    known = bar("S", "1m", 0, 60, (1, 1, 1, 1, 2), vwap=1.0, trade_count=7)
    bars = engine.feed(known, bar("S", "1m", 60, 120, (1, 1, 1, 1, 2)), heartbeat(300))
    assert [(b["vwap"], b["trade_count"]) for b in bars] == [(1.0, 7), (None, None), (None, None)]


def test_a_date_without_a_time_is_that_session() -> None:
    engine = Engine(config_of(["1d"], calendar="XNYS", sessions_of=sessions_of))
    (one,) = engine.feed(bar("S", "1d", 86_400, 2 * 86_400, (1, 2, 1, 2, 5), session_date=20_455))
    assert span(one) == (86_400 + 14.5 * HOUR, 86_400 + 21 * HOUR)
    assert one["session_date"].isoformat() == "2026-01-02"


def test_bars_of_a_source_never_mix_with_bars_built_from_trades() -> None:
    first_wins = Engine(config_of(["1m"]))
    result = first_wins.step([trade("A", 1, 10, 1), bar("A", "1m", 0, 60, (1, 1, 1, 1, 1)), heartbeat(60)])
    assert [r.reason for r in result.refused] == ["other_origin"]
    assert result.closed["close"].tolist() == [10]
    source_wins = Engine(config_of(["1m"], bars_from="source"))
    result = source_wins.step([trade("A", 1, 10, 1), bar("A", "1m", 0, 60, (1, 1, 1, 1, 1)), heartbeat(60)])
    assert [r.reason for r in result.refused] == ["other_origin"]
    assert result.closed["close"].tolist() == [1]


def test_a_bar_that_the_source_may_still_change_closes_when_it_is_final() -> None:
    engine = Engine(config_of(["1m", "5m"]))
    assert engine.feed(bar("S", "1m", 0, 60, (1, 2, 1, 2, 5), final=False)) == []
    (one,) = engine.feed(bar("S", "1m", 0, 60, (1, 3, 1, 3, 8)))
    assert (one["high"], one["volume"], one["receipt"]["first_offset"], one["receipt"]["last_offset"]) == (3, 8, 0, 1)
    (five,) = engine.feed(heartbeat(300))
    assert (five["high"], five["volume"]) == (3, 8)


def test_a_source_bar_behind_the_last_one_is_too_late() -> None:
    engine = Engine(config_of(["1m"]))
    result = engine.step(
        [
            bar("S", "1m", 60, 120, (1, 1, 1, 1, 1)),
            bar("S", "1m", 0, 60, (1, 1, 1, 1, 1)),
            bar("S", "1m", 60, 120, (1, 1, 1, 1, 1)),
        ]
    )
    assert [(r.row, r.reason) for r in result.refused] == [(1, "too_late"), (2, "too_late")]
    assert len(result.closed) == 1


def test_an_unknown_timeframe_is_refused_by_name() -> None:
    result = Engine(config_of(["1m"])).step([bar("S", "7m", 0, 420, (1, 1, 1, 1, 1))])
    assert [r.reason for r in result.refused] == ["unknown_timeframe"]


def test_fill_previous_emits_flat_bars_where_nothing_traded() -> None:
    engine = Engine(config_of(["1s"], fill=True))
    bars = engine.feed(trade("A", 1, 10, 2), heartbeat(4))
    assert [(span(b), b["open"], b["close"], b["volume"], b["trade_count"], b["vwap"]) for b in bars] == [
        ((1, 2), 10, 10, 2, 1, 10),
        ((2, 3), 10, 10, 0, 0, None),
        ((3, 4), 10, 10, 0, 0, None),
    ]
    assert bars[1]["receipt"]["first_offset"] is None
    (one,) = engine.feed(trade("A", 4.5, 11, 1), heartbeat(5))
    assert (one["open"], one["volume"]) == (11, 1)


def test_a_night_of_flat_bars_comes_in_steps_of_bounded_size_and_in_the_order_of_one_step() -> None:
    night = [trade(symbol, 0.5, 10, 1) for symbol in "ABC"] + [clock(1), heartbeat(8 * HOUR), heartbeat(8 * HOUR + 1)]
    config = config_of(["1s", "1m"], fill=True)
    engine = Engine(config, closed_most=1_000)
    steps = list(engine.steps(night))
    sizes = [len(step.closed) for step in steps]
    room = 2 * engine.state.tables.bars.size + 4_096
    assert max(sizes) < 1_000 + room
    assert sum(sizes) == 3 * (8 * HOUR + 1 + 8 * 60)
    assert [step.more for step in steps] == [True] * (len(steps) - 1) + [False]
    whole = Engine(config, closed_most=10**9).step(night)
    assert np.concatenate([step.closed for step in steps]).tobytes() == whole.closed.tobytes()


def test_a_complete_goodbye_closes_everything_and_later_data_is_still_welcome() -> None:
    engine = Engine(config_of(["1s", "1d"]))
    bars = closed(engine, hello(mode="historical"), trade("A", 5, 10, 1), goodbye(watermark_ns=COMPLETE))
    assert bars == [("1s", 5, 6, 10, 10, 10, 10, 1), ("1d", 0, 86_400, 10, 10, 10, 10, 1)]
    again = closed(engine, hello(mode="historical"), trade("A", 86_400 + 5, 11, 1), goodbye(watermark_ns=COMPLETE))
    assert [b[0] for b in again] == ["1s", "1d"]


def test_the_cap_on_symbols_refuses_the_next_one_by_name() -> None:
    engine = Engine(config_of(["1s"], symbols_max=2))
    result = engine.step([trade(s, 1, 1, 1) for s in "ABCA"])
    assert [(r.row, r.reason) for r in result.refused] == [(2, "too_many_symbols")]


def test_a_sixty_fifth_source_is_refused_with_all_it_writes_and_the_others_go_on() -> None:
    engine = Engine(config_of(["1s"]))
    engine.step([trade("A", 1, 1, 1, f"source-{i}") for i in range(64)])
    more = [hello("one-more"), trade("A", 1, 9, 1, "one-more"), heartbeat(60, "one-more"), goodbye("one-more")]
    result = engine.step([*more, trade("A", 1.5, 2, 1, "source-0")])
    assert [(r.row, r.reason) for r in result.refused] == [(i, "too_many_sources") for i in range(4)]
    (bar,) = engine.feed(*[goodbye(f"source-{i}", watermark_ns=COMPLETE) for i in range(64)])
    assert (bar["trade_count"], bar["high"], bar["close"]) == (65, 2, 2)


def test_a_flood_of_venues_is_refused_beyond_the_cap_and_known_ones_go_on() -> None:
    engine = Engine(config_of(["1s"]))
    flood = [trade("A", 1, 1, 1, venue=f"V{i}") for i in range(VENUES_MAX + 2)]
    result = engine.step([*flood, trade("A", 1, 1, 1, venue="V7")])
    assert [(r.row, r.reason) for r in result.refused] == [
        (VENUES_MAX, "too_many_venues"),
        (VENUES_MAX + 1, "too_many_venues"),
    ]


def test_a_flood_of_symbols_beyond_the_cap_does_not_grow_the_state() -> None:
    engine = Engine(config_of(["1s"], symbols_max=10))
    engine.step([trade(f"S{i}", 1, 1, 1) for i in range(10)])
    before = engine.state.size_bytes()
    result = engine.step([trade(f"FLOOD{i}", 1, 1, 1) for i in range(20_000)])
    assert len(result.refused) == 20_000
    assert engine.state.size_bytes() == before


def test_many_symbols_and_open_bars_only_make_the_state_grow() -> None:
    engine = Engine(config_of(["1s", "1m", "1h", "1d"]))
    n = 700
    bars = engine.feed(*[trade(f"S{i:04d}", i / 1_000, 1 + i, 1) for i in range(n)], clock(0), heartbeat(86_400))
    assert len(bars) == 4 * n
    assert {b["symbol"] for b in bars} == {f"S{i:04d}" for i in range(n)}
    assert MIDNIGHT_NS > 0


def test_flat_bars_between_two_trades_stand_at_the_earlier_one_and_come_once() -> None:
    engine = Engine(config_of(["1s"], fill=True))
    rows = [hello(lateness_ns=10 * 10**9), trade("A", 1, 10, 1), trade("A", 5.5, 20, 1), heartbeat(8)]
    bars = [(*span(b), b["close"], b["volume"]) for b in engine.feed(*rows)]
    flat = [(second, second + 1, 10, 0) for second in (2, 3, 4)]
    assert bars == [(1, 2, 10, 1), *flat, (5, 6, 20, 1), (6, 7, 20, 0), (7, 8, 20, 0)]


def test_flat_bars_leave_by_close_time_then_timeframe() -> None:
    engine = Engine(config_of(["1s", "5s"], fill=True))
    bars = engine.feed(trade("A", 1, 10, 1), heartbeat(7))
    seconds = [("1s", second, second + 1) for second in range(1, 7)]
    assert [(b["timeframe"], *span(b)) for b in bars] == [*seconds[:4], ("5s", 0, 5), *seconds[4:]]
