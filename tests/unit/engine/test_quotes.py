"""The quote at a bar's close, by hand: which one prevails, what is told again, what enters nothing (docs/semantics.md, 17)."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from market_rows import Engine, at, bar, cancel, config_of, heartbeat, quote, trade
from marketpulse.engine.layout import QUALITY
from marketpulse.engine.price_level import judge_price, relative_move
from marketpulse.engine.provisional import Looker, changed_symbols, mark_shown
from marketpulse.engine.record_rows import ResultRows
from marketpulse.engine.state import kept_quotes
from written_rows import written

ALL = "mid,spread,microprice,imbalance"


def told(rows: list[dict[str, Any]]) -> list[tuple[str, float, float | None, int]]:
    return [(r["timeframe"], (r["open_time_ns"] - at(0)) / 1e9, r["spread"], r["revision"]) for r in rows]


def offsets(rows: list[dict[str, Any]]) -> list[tuple[int | None, int | None]]:
    return [(r["receipt"]["first_offset"], r["receipt"]["last_offset"]) for r in rows]


def test_every_timeframe_has_the_four_values_of_the_last_quote_before_its_close_of_that_day() -> None:
    rows = [quote("A", 1, 9, 10), trade("A", 2, 10, 1), quote("A", 9.9, 9, 11, (1, 3)), quote("A", 10, 1, 2)]
    (row,) = Engine(config_of(["10s"], ALL)).values(*rows, heartbeat(10))
    assert [row[name] for name in ALL.split(",")] == [10, 2, (9 * 3 + 11 * 1) / 4, -0.5]
    (row,) = Engine(config_of(["1s"], ALL)).values(trade("A", 1, 10, 1), quote("B", 1, 9, 12), heartbeat(9))
    assert [row[name] for name in ALL.split(",")] == [None] * 4
    engine = Engine(config_of(["1s"], "spread", max_skew_ns=10**15))
    times = (5.5, 9.5, 86_399.5, 86_400.5)
    rows = engine.values(quote("A", 5, 9, 12), *(trade("A", t, 10, 1) for t in times), heartbeat(86_402))
    assert [r["spread"] for r in rows] == [3, 3, 3, None]
    engine = Engine(config_of(["1s"], "spread"))
    rows = [quote("A", 1.5, 9, 10), quote("A", 1.7, 9, 11), quote("A", 1.7, 9, 12), quote("A", 1.6, 9, 13)]
    (row,) = engine.values(*rows, trade("A", 1.2, 10, 1), heartbeat(9))
    assert (row["spread"], row["receipt"]["first_offset"], row["receipt"]["last_offset"]) == (3, 2, 4)


def test_receipts_cover_quotes_that_are_read_flat_bars_have_theirs_and_crossed_and_locked_books_are_counted() -> None:
    engine = Engine(config_of(["1s"], "spread,sma(2)"))
    result = engine.step([quote("A", 1, 9, 10), trade("A", 1.1, 10, 1), trade("A", 1.2, 10, 1), heartbeat(9)])
    assert (result.closed["first_offset"][0], result.closed["last_offset"][0]) == (1, 2)
    later = engine.values(trade("A", 9.1, 10, 1), quote("A", 9.3, 9, 10), trade("A", 9.2, 10, 1), heartbeat(19))
    assert offsets(later) == [(4, 6)]
    bars = engine.feed(quote("A", 20, 9, 10), trade("A", 20, 1, 1), quote("A", 20.1, 9, 10), heartbeat(29))
    assert offsets(bars) == [(9, 9)]
    engine = Engine(config_of(["1s"], "sma(1)"))
    (row,) = engine.values(quote("A", 1, 9, 10), trade("A", 1.1, 10, 1), heartbeat(9))
    assert (row["receipt"]["first_offset"], kept_quotes(engine.state)) == (1, 0)
    engine = Engine(config_of(["1s"], "spread", fill=True))
    rows = engine.values(trade("A", 1.5, 10, 1), quote("A", 2.5, 9, 12), heartbeat(3))
    assert ([r["spread"] for r in rows], offsets(rows)) == ([None, 3], [(0, 0), (1, 1)])
    alone = Engine(config_of(["1t", "1s"], "spread", fill=True))
    assert alone.feed(quote("A", 1, 9, 10), quote("A", 5, 9, 10), heartbeat(60)) == []
    engine = Engine(config_of(["1s"], ALL))
    quotes = [quote("A", 1.5, 11, 9), quote("A", 2.5, 10, 10, (2, 6)), quote("A", 3.5, 9, 10, (0, 0))]
    rows = [row for i, each in enumerate(quotes) for row in (each, trade("A", i + 1.6, 10, 1))]
    result = engine.step([*rows, heartbeat(9)])
    assert (result.quotes.crossed, result.quotes.locked) == (1, 1)
    np.testing.assert_array_equal(result.values, [[10, -2, 10, 0], [10, 0, 10, -0.5], [9.5, 1, np.nan, np.nan]])


def test_a_late_quote_revises_the_indicator_rows_that_it_changes_unless_it_is_earlier_and_no_bar() -> None:
    engine = Engine(config_of(["1s", "5s"], "spread,ema(2)"))
    engine.feed(quote("A", 1, 9, 10), *(trade("A", second + 0.5, 10, 1) for second in range(6)), heartbeat(10))
    result = engine.step([quote("A", 3.2, 9, 12), heartbeat(11)])
    assert (len(result.closed), result.quotes.late) == (0, 1)
    opens = (result.indicated["open_ns"] - at(0)) // 10**9
    assert list(zip(opens, result.values[:, 0], result.indicated["revision"], strict=True)) == [
        (3, 3, 1), (4, 3, 1), (0, 3, 1), (5, 3, 1), (5, 3, 1),
    ]  # fmt: skip
    engine = Engine(config_of(["1s"], "spread"))
    engine.feed(trade("A", 1.5, 10, 1), quote("A", 1.6, 9, 10), heartbeat(10))
    assert engine.values(quote("A", 1.3, 9, 12), heartbeat(11)) == []
    assert told(engine.values(quote("A", 1.6, 9, 13), heartbeat(12))) == [("1s", 1, 4, 1)]
    (row,) = engine.values(quote("A", 1.9, 9, 14), heartbeat(13))
    assert (row["spread"], row["revision"], row["receipt"]["last_offset"]) == (5, 2, 7)
    at_once = Engine(config_of(["1s"], "spread", revise_each=True))
    at_once.feed(trade("A", 1.5, 10, 1), heartbeat(10))
    assert told(at_once.values(quote("A", 1.3, 9, 12))) == [("1s", 1, 3, 1)], "with revise_each, without waiting"


def test_late_trades_and_quotes_revise_together_withdrawn_bars_too_and_behind_the_window_nothing() -> None:
    engine = Engine(config_of(["1s"], "spread"))
    engine.feed(trade("A", 1.5, 10, 1, trade_id="x"), quote("A", 1.2, 9, 10), heartbeat(10))
    rows = engine.values(trade("A", 1.7, 20, 1), quote("A", 1.8, 9, 13), heartbeat(11))
    assert [(r["close"], r["spread"], r["revision"]) for r in rows] == [(20, 4, 1)]
    engine = Engine(config_of(["1s"], "spread"))
    engine.feed(quote("A", 1, 9, 10), trade("A", 1.5, 10, 1, trade_id="x"), heartbeat(10))
    assert told(engine.values(cancel("A", "x", 1.5), heartbeat(11))) == [("1s", 1, None, 1)]
    assert engine.values(quote("A", 1.2, 9, 11), heartbeat(12)) == []
    assert told(engine.values(trade("A", 1.6, 10, 1), heartbeat(13))) == [("1s", 1, 2, 2)]
    engine = Engine(config_of(["1s"], "spread", window_ns=5 * 10**9))
    engine.feed(trade("A", 3.5, 10, 1), trade("A", 7.5, 10, 1), heartbeat(10))
    result = engine.step([quote("A", 4.9, 9, 10), heartbeat(11)])
    assert (result.quotes.too_late, result.quotes.late, result.refused, len(result.indicated)) == (1, 0, [], 0)
    assert told(engine.values(quote("A", 6, 9, 10), heartbeat(12))) == [("1s", 7, 1, 1)]


def test_tick_and_source_bars_have_the_quote_of_their_close() -> None:
    engine = Engine(config_of(["2t"], "spread"))
    rows = engine.values(
        quote("A", 3, 9, 10), quote("A", 2, 9, 12), trade("A", 1, 10, 1), trade("A", 1, 10, 1), quote("A", 4, 9, 14),
        trade("A", 1, 10, 1), trade("A", 1, 10, 1), quote("A", 5, 9, 15),
    )  # fmt: skip
    assert ([r["spread"] for r in rows], offsets(rows)) == ([3, 5], [(1, 3), (4, 6)])
    engine = Engine(config_of(["1s", "2s"], "spread"))
    bars = [bar("A", "1s", second, second + 1, (1, 1, 1, 1, 1)) for second in (0, 1)]
    rows = engine.values(quote("A", 0.9, 9, 10), quote("A", 1.1, 9, 12), *bars, heartbeat(2))
    assert told(rows) == [("1s", 0, 1, 0), ("1s", 1, 3, 0), ("2s", 0, 3, 0)]
    assert engine.values(quote("A", 1.5, 9, 13), heartbeat(3)) == []


def test_live_rows_carry_the_newest_quote_and_its_values_and_a_quote_marks_its_symbol() -> None:
    engine = Engine(config_of(["1s", "1m"], "spread"))
    looker, results = Looker(engine.config), ResultRows(engine.config, "market")

    def live() -> list[dict[str, Any]]:
        symbols = changed_symbols(engine.state)
        forming, values = looker.forming_bars(engine.state, symbols)
        mark_shown(engine.state, symbols)
        rows, _ = results.live(engine.state, forming, values)
        return [json.loads(value) for _, value in written(results.live_fields, rows)]

    engine.feed(trade("A", 1.5, 10, 1, ingest_time_ns=7))
    names = ("bid", "bid_size", "ask", "ask_size", "spread", "ingest_time_ns")
    assert ([[row[n] for n in names] for row in live()], live()) == ([[None] * 5 + [7]] * 2, [])
    engine.feed(quote("A", 1.7, 9, 12, (2, 3), ingest_time_ns=8))
    rows = live()
    assert [[row[n] for n in names] for row in rows] == [[9, 2, 12, 3, 3, 8]] * 2
    assert [row["event_time_ns"] for row in rows] == [at(1.5)] * 2
    engine.feed(quote("A", 1.6, 9, 19))
    assert [row["spread"] for row in live()] == [3, 3]


def test_kept_quotes_are_one_a_slot_and_a_rise_and_its_fall_are_one_move() -> None:
    engine = Engine(config_of(["1s", "1m"], "spread", window_ns=30 * 10**9, max_skew_ns=10**15))
    for start in range(0, 5_000, 50):
        rows = [quote("A", start + i / 20, 9, 10 + i) for i in range(1_000)]
        engine.step([*rows, trade("A", start + 49.99, 10, 1), heartbeat(start + 50)])
    assert engine.state.tables.quotes.size == 1_024, "30 s have 30 slots"
    assert kept_quotes(engine.stepper.trim(engine.state)) == 31
    assert relative_move(125.0, 100.0) == relative_move(100.0, 125.0) == 0.25


@pytest.mark.parametrize("symbols", [1, 40])
def test_many_slots_find_room_and_survive_a_snapshot(symbols: int) -> None:
    engine = Engine(config_of(["1s"], "spread", max_skew_ns=10**15))
    for second in range(200):
        engine.step([quote(f"S{s}", second + 0.5, 9, 10 + s + second) for s in range(symbols)])
    assert kept_quotes(engine.state) == 200 * symbols
    values = engine.restarted().values(*(trade(f"S{s}", 100.2, 10, 1) for s in range(symbols)), heartbeat(300))
    assert ([r["spread"] for r in values], len(values)) == ([1 + int(r["symbol"][1:]) + 100 for r in values], symbols)


def judge(state: np.ndarray, *prices: float, scale: float = 0.001, most: float = 0.05) -> None:
    for price in prices:
        judge_price(state, 0, price, scale, most, 30.0, 3.0, 1.0)


def test_one_bad_print_hardly_moves_the_scale_which_comes_to_the_median_of_the_moves() -> None:
    state = np.zeros(1, QUALITY)
    judge(state, *(100.0 + 0.1 * (i % 2) for i in range(200)))
    before = float(state["scale"][0])
    for price, after in ((1e6, before), (103.0, before * 1.02)):
        judge(state, price)
        assert state["scale"][0] == after
    state, random = np.zeros(1, QUALITY), np.random.default_rng(3)
    prices = [float(price) for price in 100.0 * np.exp(np.cumsum(0.001 * random.standard_t(3, 5_000)))]
    judge(state, *prices, scale=0.02, most=0.5)
    moves = [float(relative_move(after, before)) for before, after in pairwise([100.0, *prices])]
    assert abs(float(state["scale"][0]) / np.median(moves) - 1) < 0.35
