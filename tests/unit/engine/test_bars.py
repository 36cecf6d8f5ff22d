"""Bars: anchoring, sessions, ticks, bars of a source, filling; watermarks, liveness and log time (semantics 6–9).
Expected values are hand sums."""

import math
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_rows import Engine, Row, at, bar, clock, config_of, goodbye, heartbeat, hello, span, trade
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.exact_sum import DIGITS, add_exact, add_sum, read_sum
from marketpulse.engine.layout import VENUES_MAX
from marketpulse.model.market import COMPLETE
from marketpulse.model.session import SessionTable, around_the_clock

HOUR, DAY = 3_600, 86_400
FRIDAY, FRIDAY_END = DAY + 14.5 * HOUR, DAY + 21 * HOUR
MONDAY, MONDAY_END = 4 * DAY + 14.5 * HOUR, 4 * DAY + 18 * HOUR  # a half-day
NEW_YORK = SessionTable(
    "XNYS", np.array([at(FRIDAY), at(MONDAY)]), np.array([at(FRIDAY_END), at(MONDAY_END)]),
    np.array([20_455, 20_458], np.int32),  # 2 and 5 January 2026
)  # fmt: skip
SESSIONS: dict[str, Any] = {"sessions_of": {"XNYS": NEW_YORK, "24x7": around_the_clock()}.get}
XNYS = {**SESSIONS, "calendar": "XNYS"}
ONES = (1, 1, 1, 1, 1)
FINAL = goodbye(watermark_ns=COMPLETE)


def closed(engine: Engine, *rows: Row) -> list[tuple[Any, ...]]:
    names = ("open", "high", "low", "close", "volume")
    return [(b["timeframe"], *span(b), *(b[name] for name in names)) for b in engine.feed(*rows)]


def refusals(engine: Engine, *rows: Row) -> list[tuple[int, str]]:
    return [(r.row, r.reason) for r in engine.step(rows).refused]


@pytest.mark.parametrize(("config", "portions"), [
    pytest.param(config_of(["1m", "1d"], **XNYS), [
        ([trade("A", MONDAY_END - 30, 10, 1), heartbeat(MONDAY_END + 299)], []),
        ([trade("A", MONDAY_END + 200, 12, 5)], []),
        ([heartbeat(MONDAY_END + 300)],
         [("1m", MONDAY_END - 60, MONDAY_END, 10, 12, 10, 12, 6), ("1d", MONDAY, MONDAY_END, 10, 12, 10, 12, 6)]),
    ], id="a half-day ends early and prints within the grace belong to it"),
    pytest.param(config_of(["1s", "1d"]), [
        ([hello(mode="historical"), trade("A", 5, 10, 1), FINAL],
         [("1s", 5, 6, 10, 10, 10, 10, 1), ("1d", 0, DAY, 10, 10, 10, 10, 1)]),
        ([hello(mode="historical"), trade("A", DAY + 5, 11, 1), FINAL],
         [("1s", DAY + 5, DAY + 6, 11, 11, 11, 11, 1), ("1d", DAY, 2 * DAY, 11, 11, 11, 11, 1)]),
    ], id="a complete goodbye closes everything and later data is still welcome"),
])  # fmt: skip
def test_bars_close_with_these_numbers_in_this_order(config: EngineConfig, portions: list[Any]) -> None:
    engine = Engine(config)
    assert [closed(engine, *rows) for rows, _ in portions] == [bars for _, bars in portions]


def test_sums_and_vwap_are_exact_and_what_a_source_states_is_not_built_upon() -> None:
    prices, sizes = [0.1, 0.2, 0.3, 1e6], [3.0, 0.7, 1e-3, 1e9]
    rows = [trade("A", 60 * i, p, s) for i, (p, s) in enumerate(zip(prices, sizes, strict=True))]
    hour = Engine(config_of(["1m", "1h"])).feed(*rows, heartbeat(HOUR))[-1]
    assert (hour["timeframe"], hour["volume"]) == ("1h", math.fsum(sizes))
    assert hour["vwap"] == math.fsum(p * s for p, s in zip(prices, sizes, strict=True)) / math.fsum(sizes)
    stated = bar("S", "1m", 0, 60, (1, 1, 1, 1, 2), vwap=1.0, trade_count=7)
    bars = Engine(config_of(["1m", "5m"])).feed(stated, bar("S", "1m", 60, 120, (1, 1, 1, 1, 2)), heartbeat(300))
    assert [(b["vwap"], b["trade_count"]) for b in bars] == [(1.0, 7), (None, None), (None, None)]
    assert (read_sum(sum_of([2.0**53, 1.0])), read_sum(sum_of([2.0**53, 2.0, 1.0]))) == (2.0**53, 2.0**53 + 4)
    assert read_sum(sum_of([2.0**53, 1.0, 2.0**-100])) == 2.0**53 + 2


def test_a_symbol_has_its_venues_calendar_a_date_is_its_session_and_the_grace_is_of_the_last_bar() -> None:
    rows = [trade(s, DAY + 15 * HOUR, 10, 1, venue=venue) for s, venue in (("A", "XNYS"), ("B", "NOWHERE"))]
    bars = Engine(config_of(["1d"], **SESSIONS)).feed(*rows, heartbeat(3 * DAY))
    assert [span(b) for b in bars] == [(FRIDAY, FRIDAY_END), (DAY, 2 * DAY)]
    dated = bar("S", "1d", DAY, 2 * DAY, (1, 2, 1, 2, 5), session_date=20_455)
    (one,) = Engine(config_of(["1d"], **XNYS)).feed(dated)
    assert (span(one), one["session_date"].isoformat()) == ((FRIDAY, FRIDAY_END), "2026-01-02")
    before = bar("S", "1m", FRIDAY_END - 60, FRIDAY_END, (10, 12, 9, 11, 100))
    after = bar("S", "1m", FRIDAY_END, FRIDAY_END + 60, (11, 13, 11, 13, 50))
    told = closed(Engine(config_of(["1m", "1h", "1d"], **XNYS)), before, after, heartbeat(FRIDAY_END + 300))
    assert ([b[0] for b in told], [b[3:] for b in told[2:]]) == (["1m", "1m", "1h", "1d"], [(10, 13, 9, 13, 150)] * 2)
    outside = [trade("A", DAY + HOUR, 10, 1), trade("A", FRIDAY_END + 301, 10, 1), heartbeat(3 * DAY)]
    result = Engine(config_of(["1t", "1m"], **XNYS)).step(outside)
    assert (len(result.closed), result.out_of_session, result.refused) == (0, 2, [])


def test_tick_bars_are_cut_by_count_in_the_logs_order_and_bars_feed_larger_ones_all_that_end_together_first() -> None:
    trades = [(3, 10, 1), (1, 12, 2), (2, 11, 3), (4, 9, 1)]
    bars = closed(Engine(config_of(["1t", "3t"])), *(trade("A", *numbers) for numbers in trades))
    assert [b for b in bars if b[0] == "3t"] == [("3t", 3, 2, 10, 12, 10, 11, 6)]
    assert [b[3] for b in bars if b[0] == "1t"] == [10, 12, 11, 9]
    rows = [bar(s, "1m", 60 * i, 60 * i + 60, (1, 1, 1, 1, 100)) for i in range(6) for s in "ABC"]
    result = Engine(config_of(["1m", "5m"])).step([hello(mode="historical", lateness_ns=0), *rows])
    assert (result.refused, [b["volume"] for b in result.closed if b["frame"] == 1]) == ([], [500, 500, 500])


@pytest.mark.parametrize(("wins", "close"), [({}, 10), ({"bars_from": "source"}, 1)], ids=["the first", "the source"])
def test_bars_of_a_source_never_mix_with_bars_built_from_trades(wins: dict[str, Any], close: float) -> None:
    result = Engine(config_of(["1m"], **wins)).step([trade("A", 1, 10, 1), bar("A", "1m", 0, 60, ONES), heartbeat(60)])
    assert ([r.reason for r in result.refused], result.closed["close"].tolist()) == (["other_origin"], [close])


def test_a_sources_bar_closes_when_final_revises_what_is_built_from_it_and_counts_when_doubled() -> None:
    engine = Engine(config_of(["1m", "5m"]))
    assert engine.feed(bar("S", "1m", 0, 60, (1, 2, 1, 2, 5), final=False)) == []
    (one,) = engine.feed(bar("S", "1m", 0, 60, (1, 3, 1, 3, 8)))
    assert (one["high"], one["volume"], one["receipt"]["first_offset"], one["receipt"]["last_offset"]) == (3, 8, 0, 1)
    (five,) = engine.feed(heartbeat(300))
    assert (five["high"], five["volume"]) == (3, 8)
    assert engine.refusals(bar("S", "1m", 0, 60, ONES, final=False)) == ["too_late"]
    # The average of 2 and 4 is 3, and of 3 and 4 then 3.5; the low of the five minutes falls to 1
    engine = Engine(config_of(["1m", "5m"], "sma(2)"))
    first, last = (bar("S", "1m", opens, opens + 60, (c, c, c, c, 1)) for opens, c in ((0, 2), (120, 4)))
    values = engine.values(first, last, heartbeat(300))
    assert [(row["timeframe"], row["sma_2"]) for row in values] == [("1m", None), ("1m", 3.0), ("5m", None)]
    result = engine.step([bar("S", "1m", 60, 120, (3, 3, 1, 3, 5), "other"), first, last])
    assert (result.closed.size, result.late, result.refused) == (0, 3, [])
    result = engine.step([clock(301)])
    assert [(*span(b), b["low"], b["volume"], b["revision"]) for b in engine.bars(result)] == [
        (60, 120, 1, 5, 0), (0, 300, 1, 7, 1),
    ]  # fmt: skip
    assert [float(v) for v in result.values[:, 0]] == pytest.approx([2.5, 3.5, math.nan], nan_ok=True)
    assert (result.duplicates, engine.step([last, clock(302)]).duplicates) == (2, 1)


def test_bars_of_two_lengths_live_side_by_side_the_smaller_build_what_they_can_and_the_larger_stay_elsewhere() -> None:
    def five(opens: float, volume: float, **more: Any) -> Row:
        return bar("S", "5m", opens, opens + 300, (5, 5, 5, 5, volume), "file", **more)

    engine = Engine(config_of(["1m", "5m"]))
    assert [b["volume"] for b in engine.feed(five(0, 50), five(300, 60))] == [50, 60]
    minutes = [bar("S", "1m", opens, opens + 60, (c, c, c, c, c)) for opens, c in ((300, 7), (420, 8))]
    result = engine.step([*minutes, clock(1_300)])
    assert [(b["timeframe"], *span(b), b["open"], b["close"], b["volume"], b["revision"]) for b in engine.bars(result)] == [
        ("1m", 300, 360, 7, 7, 7, 0), ("1m", 420, 480, 8, 8, 8, 0), ("5m", 300, 600, 7, 8, 15, 1),
    ]  # fmt: skip
    assert (result.refused, result.late, result.duplicates) == ([], 2, 0), "the larger one was accepted when it came"
    result = engine.step([five(300, 60), five(300, 61), clock(1_301)])
    assert (result.closed.size, result.refused, result.duplicates) == (0, [], 2), "now it comes in vain"
    assert [(*span(b), b["volume"]) for b in engine.feed(five(600, 9), five(900, 1, final=False))] == [(600, 900, 9)]
    ends = [heartbeat(1_200), heartbeat(1_200, "file")]
    assert [b["timeframe"] for b in engine.feed(bar("S", "1m", 900, 960, ONES), *ends)] == ["1m", "5m"]
    assert engine.refusals(trade("S", 1_300, 1, 1)) == ["other_origin"]
    given = Engine(config_of(["1m", "5m", "10m"], larger_bars="given"))
    given.step([five(0, 50), bar("S", "1m", 360, 420, ONES), five(300, 60), *ends, clock(1_300)])
    result = given.step([bar("S", "1m", 60, 120, ONES), clock(1_400)])
    assert [result.closed[name].tolist() for name in ("volume", "late_count")] == [[1, 110], [1, 2]], "the larger stand"
    assert [b["volume"] for b in given.feed(five(0, 40), clock(1_500))] == [40, 100], "and what is built of it follows"
    full = Engine(config_of(["1m", "5m"], kept_bars=2))
    result = full.step([*(bar("S", "1m", 60 * i, 60 * i + 60, ONES) for i in range(9)), five(300, 4), *ends])
    volumes = [*[1] * 5, 5, *[1] * 4, 4]
    assert (result.refused, result.duplicates, result.closed["volume"].tolist()) == ([], 1, volumes)


def test_a_volume_that_a_source_does_not_give_is_null_in_all_that_is_built_from_it_and_poisons_nothing() -> None:
    engine = Engine(config_of(["1m", "5m"], "sma(1),volume_sma(1)"))
    given, absent = (bar("S", "1m", 60 * i, 60 * i + 60, (1, 1, 1, 1, v), vwap=1) for i, v in ((0, 7), (1, math.nan)))
    result = engine.step([given, absent, bar("S", "1m", 300, 360, (1, 1, 1, 1, 5)), heartbeat(600)])
    assert [(b["timeframe"], b["volume"], b["vwap"]) for b in engine.bars(result)] == [
        ("1m", 7, 1), ("1m", None, None), ("5m", None, None), ("1m", 5, None), ("5m", 5, None),
    ]  # fmt: skip
    assert [math.isnan(v) for v in result.values[:, 1]] == [False, True, True, False, False]
    assert result.values[:, 0].tolist() == [1.0] * 5


def test_what_is_beyond_a_cap_is_refused_late_bars_names_sources_and_a_flood_which_grows_no_state() -> None:
    engine = Engine(config_of(["1m"], kept_bars=100))
    engine.feed(bar("S", "1m", 120, 180, ONES), *(bar("L", "1m", 60 * i, 60 * i + 60, ONES) for i in range(1, 99)))
    assert engine.refusals(bar("S", "1m", 60, 120, ONES), bar("L", "1m", 0, 60, ONES)) == ["too_late"]
    assert [span(b) for b in engine.feed(clock(1))] == [(60, 120)]
    assert refusals(Engine(config_of(["1m"])), bar("S", "7m", 0, 420, ONES)) == [(0, "unknown_timeframe")]
    two = Engine(config_of(["1s"], symbols_max=2))
    assert refusals(two, *(trade(s, 1, 1, 1) for s in "ABCA")) == [(2, "too_many_symbols")]
    venues = [trade("A", 1, 1, 1, venue=f"V{i}") for i in [*range(VENUES_MAX + 2), 7]]
    assert refusals(Engine(config_of(["1s"])), *venues) == [(VENUES_MAX + i, "too_many_venues") for i in (0, 1)]
    engine = Engine(config_of(["1s"]))
    engine.step([trade("A", 1, 1, 1, f"source-{i}") for i in range(64)])
    more = [hello("one-more"), trade("A", 1, 9, 1, "one-more"), heartbeat(60, "one-more"), goodbye("one-more")]
    assert refusals(engine, *more, trade("A", 1.5, 2, 1, "source-0")) == [(i, "too_many_sources") for i in range(4)]
    (one,) = engine.feed(*[goodbye(f"source-{i}", watermark_ns=COMPLETE) for i in range(64)])
    assert (one["trade_count"], one["high"], one["close"]) == (65, 2, 2)
    engine = Engine(config_of(["1s"], symbols_max=10))
    engine.step([trade(f"S{i}", 1, 1, 1) for i in range(10)])
    before = engine.state.size_bytes()
    assert len(refusals(engine, *(trade(f"FLOOD{i}", 1, 1, 1) for i in range(20_000)))) == 20_000
    assert engine.state.size_bytes() == before
    names = [f"S{i:04d}" for i in range(700)]
    rows = [trade(name, i / 1_000, 1 + i, 1) for i, name in enumerate(names)]
    bars = Engine(config_of(["1s", "1m", "1h", "1d"])).feed(*rows, clock(0), heartbeat(DAY))
    assert (len(bars), {b["symbol"] for b in bars}) == (4 * 700, set(names))


def test_fill_emits_flat_bars_where_nothing_traded_and_a_night_of_them_in_bounded_steps_in_order() -> None:
    engine = Engine(config_of(["1s"], fill=True))
    bars = engine.feed(trade("A", 1, 10, 2), heartbeat(4))
    assert [(span(b), b["open"], b["close"], b["volume"], b["trade_count"], b["vwap"]) for b in bars] == [
        ((1, 2), 10, 10, 2, 1, 10), ((2, 3), 10, 10, 0, 0, None), ((3, 4), 10, 10, 0, 0, None),
    ]  # fmt: skip
    assert bars[1]["receipt"]["first_offset"] is None
    (one,) = engine.feed(trade("A", 4.5, 11, 1), heartbeat(5))
    assert (one["open"], one["volume"]) == (11, 1)
    night = [trade(symbol, 0.5, 10, 1) for symbol in "ABC"] + [clock(1), heartbeat(8 * HOUR), heartbeat(8 * HOUR + 1)]
    config = config_of(["1s", "1m"], fill=True)
    engine = Engine(config, closed_most=1_000)
    steps = list(engine.steps(night))
    sizes = [len(step.closed) for step in steps]
    assert max(sizes) < 1_000 + 2 * engine.state.tables.bars.size + 4_096
    assert sum(sizes) == 3 * (8 * HOUR + 1 + 8 * 60)
    assert [step.more for step in steps] == [True] * (len(steps) - 1) + [False]
    whole = Engine(config, closed_most=10**9).step(night)
    assert np.concatenate([step.closed for step in steps]).tobytes() == whole.closed.tobytes()


def promise(event_time_ns: int) -> Row:
    return {**heartbeat(0), "event_time_ns": event_time_ns, "log_time_ns": event_time_ns}


def test_a_promise_a_nanosecond_before_the_close_leaves_it_open_and_a_trade_at_it_opens_the_next() -> None:
    engine = Engine(config_of(["1s"]))
    assert engine.feed(hello(), trade("A", 1.5, 10, 1), promise(at(2) - 1)) == []
    (bar,) = engine.feed(promise(at(2)))
    assert (*span(bar), bar["trade_count"]) == (1, 2, 1)
    engine = Engine(config_of(["1s"]))
    bars = engine.feed(hello(), trade("A", 1.5, 10, 1), trade("A", 2, 20, 4), heartbeat(3))
    assert [(*span(b), b["open"], b["close"], b["volume"]) for b in bars] == [(1, 2, 10, 10, 1), (2, 3, 20, 20, 4)]


terms = st.lists(st.floats(0, 1e30, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-20), max_size=40)


def sum_of(values: list[float]) -> np.ndarray:
    total = np.zeros(DIGITS, np.int64)
    for value in values:
        add_exact(total, value)
    return total


@given(terms, terms, st.randoms(use_true_random=False))
def test_a_sum_is_the_nearest_double_in_any_order(left: list[float], right: list[float], random: Random) -> None:
    values, total = left + right, sum_of(left)
    add_sum(total, sum_of(right))
    sums = (sum_of(values), sum_of(random.sample(values, len(values))), total)
    assert [read_sum(found) for found in sums] == [math.fsum(values)] * 3


HOUR_S, LIVE = 3_600, 1_000_000
Steps = list[tuple[list[Row], list[Any]]]


def tick(symbol: str, seconds: float, source: str = "feed") -> Row:
    return trade(symbol, seconds, 1, 1, source)


def switch(symbol: str, source: str, seconds: float) -> Row:
    return {"type": "switch", "symbol": symbol, "source": source, "from": "x", "event_time_ns": at(seconds)}


def told(engine: Engine, rows: list[Row]) -> list[Any]:
    """(row, why it was refused), then (symbol, open, close) of each bar that closed."""
    result = engine.step(rows)
    return [*((r.row, r.reason) for r in result.refused), *((b["symbol"], *span(b)) for b in engine.bars(result))]


FUTURE, BOTH_OF_A = "future_time", [tick("A", 1, "x"), tick("A", 1, "y")]
STORIES: list[tuple[EngineConfig, dict[str, Steps]]] = [
    (config_of(["1s"]), {
        "a bar closes when event time less lateness reaches its end": [
            ([tick("A", 1), tick("A", 3.999)], []), ([tick("A", 4)], [("A", 1, 2)]),
        ],
        "a hello sets the lateness of its source": [
            ([hello(lateness_ns=0), tick("A", 1), tick("A", 2)], [("A", 1, 2)]),
        ],
        "the slowest live source of a symbol holds it up and nobody else": [
            ([*BOTH_OF_A, tick("B", 1, "x"), heartbeat(5, "x")], [("B", 1, 2)]), ([heartbeat(5, "y")], [("A", 1, 2)]),
        ],
        "a silent live source leaves the minimum by the log's own clock": [
            ([hello("x"), hello("y"), clock(1), *BOTH_OF_A], []),
            ([heartbeat(31, "x")], []), ([heartbeat(31.001, "x")], [("A", 1, 2)]),
        ],
        "a historical source may pause for as long as it likes": [
            ([clock(LIVE), hello(mode="historical"), tick("A", 1), clock(2 * LIVE)], []),
            ([tick("A", 1.5), tick("A", 4)], [("A", 1, 2)]),
        ],
        "a historical source that pauses holds up a symbol that a live one feeds too": [
            ([clock(10), hello("tape", "historical"), hello("feed"), tick("A", 10, "tape"), tick("A", 10, "feed")], []),
            ([heartbeat(50, "feed")], []), ([goodbye("tape", watermark_ns=None)], [("A", 10, 11)]),
        ],
        "a live source whose clock is wrong moves no watermark": [
            ([clock(100_000), hello(), tick("A", 100_000)], []),
            ([tick("A", 100_005.1), tick("A", 100_000 - 86_401), heartbeat(103_600, log=100_000)],
             [(0, FUTURE), (1, "past_time"), (2, FUTURE)]),
            ([tick("A", 100_005)], [("A", 100_000, 100_001)]),
        ],
        "a source that never said hello may bring the past but not the future": [
            ([clock(LIVE), tick("A", 1), tick("A", LIVE + 6)], [(2, FUTURE)]),
        ],
        "a source whose clock jumps ahead is refused, so it is silent, and after the timeout the other decides alone": [
            ([clock(0), hello("x", lateness_ns=0), hello("y", lateness_ns=0), tick("A", 0, "x"), tick("A", 0, "y")], []),
            *[([heartbeat(second + HOUR_S, "y", log=second), heartbeat(second, "x")], [(0, FUTURE)])
              for second in range(1, 31)],
            ([heartbeat(30.5, "x")], [("A", 0, 1)]),
        ],
        "a goodbye's final watermark closes what it promises and no more": [
            ([clock(1), hello(), tick("A", 1), tick("A", 2.5)], []),
            ([goodbye(watermark_ns=at(2))], [("A", 1, 2)]), ([clock(32.999)], []), ([clock(33)], [("A", 2, 3)]),
        ],
        "after a goodbye its symbols follow the sources that are left": [
            ([clock(5), hello("x"), hello("y"), tick("A", 5, "x"), tick("A", 5, "y"), heartbeat(7, "y")], []),
            ([goodbye("x", watermark_ns=at(5.5))], [("A", 5, 6)]), ([tick("A", 8, "y"), heartbeat(9, "y")], [("A", 8, 9)]),
        ],
        "history beside a live source runs on its own times and holds up nobody": [
            ([clock(LIVE), hello("feed"), hello("tape", "historical", lateness_ns=0), tick("L", LIVE),
              tick("H", 5, "tape")], []),
            ([heartbeat(LIVE + 1)], [("L", LIVE, LIVE + 1)]),
            ([clock(LIVE + 86_400)], []), ([tick("H", 6, "tape")], [("H", 5, 6)]),
        ],
        "log time never goes back when a broker's clock does": [
            ([clock(100), hello(), tick("A", 100), clock(50)], []), ([clock(130)], []), ([clock(131)], [("A", 100, 101)]),
        ],
        "a live source that dies after history of its symbol closes by log time": [
            ([clock(100), hello("tape", "historical"), tick("A", 1, "tape"), goodbye("tape"), hello("feed")], []),
            ([tick("A", 100)], [("A", 1, 2)]), ([clock(200)], [("A", 100, 101)]),
        ],
        "a live source's goodbye from the future moves no watermark": [
            ([clock(100), hello(), tick("A", 100)], []),
            ([{**goodbye(watermark_ns=at(3_700)), "event_time_ns": at(3_700)}], [(0, FUTURE)]),
        ],
        "the first heartbeat of a partition from the future moves no watermark": [
            ([hello(), heartbeat(HOUR_S, log=0), tick("A", 1)], [(1, FUTURE)]),
        ],
        "a switch makes the new source alone hold up the symbol": [
            ([clock(1), tick("A", 1, "x"), tick("B", 1, "x"), heartbeat(5, "y")], []),
            # x has died: without a switch it holds up both for `source_timeout`
            ([switch("A", "y", 1.1), heartbeat(6, "y")], [("A", 1, 2)]),
        ],
        "what a former source still brings of its own time holds up nothing": [
            ([clock(1), tick("A", 1, "x"), heartbeat(1.5, "y"), switch("A", "y", 1.1)], []),
            ([tick("A", 1.05, "x"), tick("A", 2.5, "y")], []), ([heartbeat(6, "y")], [("A", 1, 2), ("A", 2, 3)]),
        ],
        "a switch back follows the first source again and time does not go back": [
            ([clock(1), tick("A", 1, "x"), switch("A", "y", 1.1), heartbeat(6, "y")], [("A", 1, 2)]),
            ([tick("A", 7, "y"), heartbeat(3, "x"), switch("A", "x", 8)], []),
            ([heartbeat(20, "y")], []), ([heartbeat(20, "x")], [("A", 7, 8)]),
        ],
        "a switch of a symbol that has not come changes nothing": [
            ([switch("Z", "y", 1), tick("A", 1), heartbeat(5)], [("A", 1, 2)]),
        ],
    }),
    (config_of(["1s"], window_ns=0), {
        "a returning source holds its symbols at their watermark until it has caught up": [
            ([clock(10), hello("x"), hello("y"), tick("A", 10, "x"), tick("A", 10, "y")], []),
            ([clock(30), heartbeat(45, "x")], [("A", 10, 11)]),  # y leaves: A follows x, to 45
            ([tick("A", 20, "y")], [(0, "too_late")]), ([tick("A", 46, "x")], []),
            ([heartbeat(50, "x")], []),  # y is live again, and stands at 18
            ([heartbeat(47, "y", log=50)], [("A", 46, 47)]),
        ],
        "a row's own trade comes after the closings that it causes": [
            ([hello("x", lateness_ns=0), hello("y", lateness_ns=0), tick("A", 0.5, "y"), tick("A", 1.5, "x")], []),
            ([heartbeat(2, "x"), heartbeat(1.9, "y")], [("A", 0, 1)]), ([goodbye("y", watermark_ns=None)], [("A", 1, 2)]),
            ([tick("A", 1.7, "x")], [(0, "too_late")]),
        ],
    }),
    (config_of(["1s", "1m"]), {
        "when all sources are dead, of which one never said hello, the pipeline's clock alone closes every bar": [
            ([clock(10), hello("x"), tick("A", 10, "x"), tick("B", 10.5, "y")], []), ([clock(40)], []),
            ([clock(40.999)], []), ([clock(41)], [("A", 10, 11), ("B", 10, 11)]),
            ([clock(89.999)], []), ([clock(90)], [("A", 0, 60), ("B", 0, 60)]),
        ],
    }),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "steps"),
    [pytest.param(config, steps, id=claim) for config, stories in STORIES for claim, steps in stories.items()],
)
def test_time_goes_on_as_its_sources_and_the_log_say(config: EngineConfig, steps: Steps) -> None:
    engine = Engine(config)
    assert [told(engine, rows) for rows, _ in steps] == [expected for _, expected in steps]


def test_an_idle_partition_gives_nothing_and_rows_of_a_new_source_before_its_switch_are_not_late() -> None:
    engine = Engine(config_of(["1s", "1d"], fill=True))
    beats = [heartbeat(quarter / 4) for quarter in range(400)]
    result = engine.step([hello(), clock(0), *beats, clock(86_400), goodbye(watermark_ns=None)])
    assert (len(result.closed), result.refused, result.late, result.out_of_session) == (0, [], 0, 0)
    engine = Engine(config_of(["1s"]))
    engine.feed(clock(1), tick("A", 1, "x"), heartbeat(9, "y"))
    bars = engine.feed(tick("A", 1.5, "y"), tick("A", 2.5, "y"), switch("A", "y", 1.1))
    found = [(span(bar), bar["trade_count"], bar["receipt"]["late_count"]) for bar in bars]
    assert found == [((1, 2), 2, 0), ((2, 3), 1, 0)]
