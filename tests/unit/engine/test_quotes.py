"""The quote at a bar's close, by hand: which one prevails, what is told again, what enters nothing (docs/semantics.md,
17); and alerts as the engine tells them: on closed bars, after a revision, over a restart, and by rules put while it
runs."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from log_of_rows import written
from market_rows import Engine, Row, at, bar, cancel, clock, config_of, control, heartbeat, quote, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.alerting import forget_events
from marketpulse.engine.layout import QUALITY
from marketpulse.engine.price_level import judge_price, relative_move
from marketpulse.engine.provisional import Looker, changed_symbols, mark_shown
from marketpulse.engine.record_rows import ResultRows
from marketpulse.engine.state import kept_quotes

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


HIGH = Rule("high", "close > 10", severity="critical", message="{symbol} {state} at {close}, {volume}")


def put(**changed: Any) -> Row:
    """`high` again, with other words."""
    rule = {"name": "high", "expression": "close > 10", "severity": "critical", "message": HIGH.message}
    return control("put_rule", rule=rule | changed)


def engine_of(*rules: Rule, **more: Any) -> Engine:
    return Engine(config_of(["1s", "5s"], "sma(2)", alerts=rules, **more))


def brief(row: dict[str, Any]) -> tuple[Any, ...]:
    """(rule, seconds at which its bar closed, state, what readers knew, late, revision, value)."""
    names = ("state", "was", "late", "revision", "value")
    return row["rule"], (row["event_time_ns"] - at(0)) / 1e9, *(row[name] for name in names)


def alerts_told(engine: Engine, *rows: Row) -> list[tuple[Any, ...]]:
    return [brief(row) for row in engine.alerts(*rows)]


def day(*prices: float) -> list[Row]:
    """One trade a second from 10 s on, and a heartbeat that closes them all."""
    rows = [trade("A", 10.5 + i, price, 2.0, trade_id=f"{i}") for i, price in enumerate(prices)]
    return [*rows, heartbeat(11.0 + len(prices))]


def test_a_raise_and_a_clear_carry_their_bar_and_receipt_and_what_is_taken_back_may_come_again() -> None:
    raised, cleared = engine_of(HIGH).alerts(*day(9, 11, 12, 8))
    receipt = raised.pop("receipt")
    assert [receipt[name] for name in ("topic", "partition", "first_offset", "last_offset")] == ["market", 0, 1, 1]
    assert raised == {
        "symbol": "A", "rule": "high", "severity": "critical", "timeframe": "1s", "open_time_ns": at(11),
        "event_time_ns": at(12), "state": "raised", "was": None, "late": False, "value": 11.0,
        "message": "A raised at 11, 2", "revision": 0,
    }  # fmt: skip
    assert brief(cleared) == ("high", 14.0, "cleared", None, False, 0, 8.0)
    engine = Engine(config_of(["1s"], "mid", alerts=(Rule("wide", "mid > 1"),)))
    (row,) = engine.alerts(quote("A", 10.1, 2.0, 4.0), heartbeat(10.2), trade("A", 10.5, 1.0, 1.0), heartbeat(11))
    assert (row["value"], row["receipt"]["first_offset"], row["receipt"]["last_offset"]) == (3.0, 0, 2)
    engine = engine_of(HIGH)
    alerts_told(engine, *day(9, 11))
    (gone,) = engine.alerts(cancel("A", "1", 11.5), clock(14))
    assert brief(gone) == ("high", 12.0, "withdrawn", "raised", False, 1, 11.0)
    assert gone["message"] == "A withdrawn at null, 0", "its bar has lost all its trades"
    assert gone["receipt"]["last_offset"] == 3, "the cancel's"
    assert alerts_told(engine, trade("A", 11.7, 13.0, 1.0), clock(15)) == [
        ("high", 12.0, "raised", None, True, 2, 13.0)
    ]


RAISED, CLEARED = ("high", 12.0, "raised", None, False, 0, 11.0), ("high", 13.0, "cleared", None, False, 0, 9.0)


@pytest.mark.parametrize(("rule", "portions"), [
    pytest.param(HIGH, [
        (day(9, 11, 9), [RAISED, CLEARED]),
        ([trade("A", 11.9, 7.0, 1.0), trade("A", 12.9, 15.0, 1.0), clock(15)],
         [("high", 12.0, "withdrawn", "raised", False, 1, 11.0), ("high", 13.0, "withdrawn", "cleared", False, 1, 9.0),
          ("high", 13.0, "raised", None, True, 2, 15.0)]),
    ], id="a late trade withdraws what is untrue and raises what is true late"),
    pytest.param(HIGH, [
        (day(9, 11), [RAISED]),
        ([trade("A", 11.9, 12.0, 1.0), clock(14)], [("high", 12.0, "raised", "raised", False, 1, 12.0)]),
        ([trade("A", 11.1, 3.0, 1.0), clock(15)], [("high", 12.0, "raised", "raised", False, 2, 12.0)]),  # its volume
        ([put(message="{close}"), trade("A", 11.2, 3.0, 1.0), clock(16)], []),
        ([trade("A", 11.3, 3.0, 1.0), clock(17)], []),  # the message cites it no more
    ], id="a value that alone changes, or a number of the message, is told as known"),
    pytest.param(Rule("high", "close > 10", cooldown_s=60), [
        (day(11, 9, 12), [("high", 11.0, "raised", None, False, 0, 11.0), ("high", 12.0, "cleared", None, False, 0, 9.0)]),
        ([cancel("A", "0", 10.5), clock(14)],
         [("high", 11.0, "withdrawn", "raised", False, 1, 11.0), ("high", 12.0, "withdrawn", "cleared", False, 1, 9.0),
          ("high", 13.0, "raised", None, True, 0, 12.0)]),
    ], id="the cooldown of a raise that is no more does not count"),
])  # fmt: skip
def test_what_readers_know_is_corrected(rule: Rule, portions: list[tuple[list[Row], list[Any]]]) -> None:
    engine = engine_of(rule)
    assert [alerts_told(engine, *rows) for rows, _ in portions] == [events for _, events in portions]


@pytest.mark.parametrize("restart", [False, True])
def test_the_anchor_takes_what_rules_remember_with_it(restart: bool) -> None:
    rare = Rule("rare", "close > 10", cooldown_s=3_600)
    rules = (Rule("steps", "close > prev(close, 3)"), Rule("hour", "close > close@5s"), HIGH, rare)
    engine = engine_of(*rules, window_ns=5 * 10**9)
    first = alerts_told(engine, *day(9, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1, 12))
    assert [row[:3] for row in first if row[0] == "steps"] == [("steps", 22.0, "raised")]
    engine.state = engine.stepper.trim(engine.state)
    assert len(engine.state.alerts.known_events()) < len(first), "what lies behind the window is let go"
    if restart:
        engine = engine.restarted()
    assert alerts_told(engine, trade("A", 20.9, 2.0, 1.0), clock(29)) == [], "the raise behind the window still counts"
    assert alerts_told(engine, trade("A", 21.9, 3.5, 1.0), clock(30)) == [
        ("steps", 22.0, "raised", "raised", False, 1, 3.5),
        ("hour", 22.0, "raised", "raised", False, 1, 3.5),
        ("high", 22.0, "withdrawn", "raised", False, 1, 12.0),
    ]


def test_of_rules_configured_anew_the_others_go_on_and_without_rules_nothing_is_remembered() -> None:
    low, some = Rule("low", "close < 5"), Rule("some", "volume > 0", for_s=1)
    engine = engine_of(HIGH, some)
    assert [row[:3] for row in alerts_told(engine, *day(9, 11))] == [("high", 12.0, "raised"), ("some", 12.0, "raised")]
    engine = engine.restarted(config_of(["1s", "5s"], "sma(2)", alerts=(low, HIGH)))
    assert [rule.name for rule in engine.state.alerts.rules.rules] == ["high", "low"]
    late = [trade("A", 11.9, 4.0, 1.0), clock(14), trade("A", 13.5, 3.0, 1.0), heartbeat(14)]
    assert alerts_told(engine, *late) == [
        ("high", 12.0, "withdrawn", "raised", False, 1, 11.0),
        ("low", 14.0, "raised", None, False, 0, 3.0),
    ], "the new rule sees what closes behind the newest bar"
    engine = engine_of()
    assert alerts_told(engine, *day(9, 11), trade("A", 10.9, 3.0, 1.0), clock(20)) == []
    assert engine.state.alerts.known_events().size == 0
    forget_events(engine.state.alerts, engine.state.tables.closed_until)
    assert engine.state.alerts.live.life.shape[1] == 0


PUT = {"name": "high", "expression": "close > 10"}
BARS = config_of(["2t", "1s", "5s"])
LOG = [
    trade("A", 10.5, 11.0, 1.0), heartbeat(12), control("put_rule", rule=PUT), trade("A", 12.5, 12.0, 1.0),
    trade("A", 13.5, 9.0, 1.0), trade("A", 14.5, 13.0, 1.0), heartbeat(15), control("put_rule", rule={**PUT, "severity": "critical"}),
    trade("A", 15.5, 9.0, 1.0), heartbeat(16), control("remove_rule", name="high"), trade("A", 16.5, 20.0, 1.0), heartbeat(17),
]  # fmt: skip
MUTED = control("put_rule", rule={**PUT, "muted": True})
LOG_OF_MUTED = [
    control("put_rule", rule=PUT), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED, trade("A", 13.5, 9.0, 1.0),
    trade("A", 14.5, 13.0, 1.0), heartbeat(15), control("put_rule", rule=PUT), trade("A", 15.5, 9.0, 1.0), heartbeat(16),
]  # fmt: skip


def alerts(engine: Engine, *rows: Row) -> list[tuple[str, str, str, float]]:
    return [(r["rule"], r["severity"], r["state"], r["value"]) for r in engine.alerts(*rows)]


@pytest.mark.parametrize("cuts", [[], [2], [3], [5], [7], [8], [1, 4, 9], list(range(1, 13))])
@pytest.mark.parametrize(("log", "severities"), [
    pytest.param(LOG, ["warning", "warning", "warning", "critical"], id="a rule works from its record to its removal's"),
    pytest.param(LOG_OF_MUTED, ["warning", "muted", "muted", "warning"], id="a muted rule goes on and tells that it is"),
])  # fmt: skip
def test_a_rule_is_what_its_records_say(cuts: list[int], log: list[Row], severities: list[str]) -> None:
    engine, found = Engine(BARS), []
    for begin, end in pairwise([0, *(cut for cut in cuts if cut < len(log)), len(log)]):
        found += alerts(engine, *log[begin:end])
        engine = engine.restarted()
    events = [("raised", 12.0), ("cleared", 9.0), ("raised", 13.0), ("cleared", 9.0)]
    assert found == [("high", severity, *event) for severity, event in zip(severities, events, strict=True)]


def test_what_closed_before_the_record_has_the_rules_before_it_and_a_muted_rule_stays_so_until_taken_out() -> None:
    engine = Engine(config_of(["1s"], alerts=(Rule("high", "close > 10"),)), closed_most=1)
    rows = [trade("A", 10.5, 11, 1), trade("B", 10.5, 12, 1), heartbeat(11), control("remove_rule", name="high")]
    found = [(row["symbol"], row["state"]) for step in engine.steps(rows) for row in engine.alert_rows(step)]
    assert sorted(found) == [("A", "raised"), ("B", "raised")]
    before, other = (config_of(["1s"], alerts=(Rule("high", text),)) for text in ("close > 10", "close > 11"))
    engine = Engine(before)
    engine.step([trade("A", 10.5, 11.0, 1.0), heartbeat(11), MUTED])
    again = [engine.restarted(config).state.alerts.rules.rules for config in (other, before, config_of(["1s"]))]
    assert again == [(Rule("high", text, muted=True),) for text in ("close > 11", "close > 10")] + [()]


@pytest.mark.parametrize(("change", "said"), [
    ({"action": "put_rule", "rule": {"name": "x", "expression": "clse > 1"}}, "unknown column 'clse'"),
    ({"action": "put_rule", "rule": {"name": "x"}}, "expression is missing"),
    ({"action": "remove_rule", "name": "x"}, "there is no rule 'x'"), ({"action": "mute"}, 'write {"action": "put_rule"'),
    (None, "expected a change of the alert rules"),
])  # fmt: skip
def test_a_change_that_cannot_be_made_is_refused_and_changes_nothing(change: object, said: str) -> None:
    engine = Engine(BARS)
    engine.step(LOG[:3])
    record = {"type": "control", "event_time_ns": 0, **({} if change is None else {"change": change})}
    (refused,) = engine.step([LOG[3], record]).refused
    assert (refused.row, refused.reason, said in refused.detail) == (1, "bad_control", True)
    assert engine.state.alerts.rules.rules == (Rule("high", "close > 10"),)


def test_a_source_is_heard_and_a_revision_tells_nothing_of_before_or_after_a_rule_and_what_is_muted() -> None:
    engine = Engine(BARS)
    engine.step([{**control("put_rule", rule=PUT), "source": "desk"}])
    assert (engine.state.sources.texts(), engine.state.tables.sources["live"][0]) == (["desk"], 1)
    late = [trade("A", 10.9, 15.0, 1.0), trade("A", 12.5, 12.0, 1.0), heartbeat(13), clock(20)]
    assert alerts(Engine(BARS), *LOG[:3], *late) == [("high", "warning", "raised", 12.0)]
    engine = Engine(BARS)
    alerts(engine, *LOG[:7])
    assert alerts(engine, control("remove_rule", name="high"), trade("A", 12.9, 1.0, 1.0), clock(30)) == []
    engine = Engine(BARS)
    alerts(engine, control("put_rule", rule=PUT), trade("A", 12.5, 12.0, 1.0), heartbeat(13), MUTED)
    (alerts_told,) = engine.alerts(trade("A", 12.9, 8.0, 1.0), clock(30))
    assert (alerts_told["state"], alerts_told["was"], alerts_told["severity"]) == ("withdrawn", "raised", "muted")
