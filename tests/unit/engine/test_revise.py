"""The worked example, and late, corrected, cancelled and doubled trades, and the rows that are told again (docs/semantics.md, 10 to 12)."""

from typing import Any

import numpy as np
import pytest

from market_rows import Engine, Row, at, cancel, clock, config_of, correction, heartbeat, logged, span, trade
from marketpulse.kafka.rebuild_record import ROWS_MOST, beginning_value, rebuild_values
from marketpulse.model.history import HEALED, PAST_TRADE, History

EXAMPLE = [trade("AAA", 10.2, 5, 1), trade("AAA", 10.9, 7, 3), trade("AAA", 12.5, 6, 2), trade("AAA", 10.4, 4, 1)]
EXAMPLES_LATE = [trade("AAA", 11.5, 9, 1), trade("AAA", 10.95, 8, 5)]


def columns(bar: dict[str, Any]) -> tuple[Any, ...]:
    """Its span, then the columns of the page's table."""
    names = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "revision")
    return span(bar), *(bar[name] for name in names)


def test_the_worked_example_gives_exactly_its_rows() -> None:
    engine = Engine(config_of(["1s"]))
    assert [engine.feed(row) for row in EXAMPLE] == [[]] * 4
    first, second = engine.feed(heartbeat(13.0))
    assert columns(first) == ((10, 11), 5, 7, 4, 7, 5, 6.0, 3, 0)
    assert (first["receipt"]["first_offset"], first["receipt"]["last_offset"]) == (0, 3)
    assert columns(second) == ((12, 13), 6, 6, 6, 6, 2, 6.0, 1, 0)
    assert (second["receipt"]["first_offset"], second["receipt"]["last_offset"]) == (2, 2)
    assert [engine.feed(row) for row in EXAMPLES_LATE] == [[]] * 2
    revised, late = engine.feed(heartbeat(13.5))
    assert columns(revised) == ((10, 11), 5, 8, 4, 8, 10, 7.0, 4, 1)
    assert (revised["receipt"]["first_offset"], revised["receipt"]["last_offset"]) == (0, 6)
    assert columns(late) == ((11, 12), 9, 9, 9, 9, 1, 9.0, 1, 0)
    assert (revised["receipt"]["late_count"], late["receipt"]["late_count"]) == (1, 1)


def test_the_indicator_rows_of_the_worked_example_are_revised_where_their_bits_change() -> None:
    engine = Engine(config_of(["1s"], "sma(2)"))
    rows = engine.values(*EXAMPLE, heartbeat(13.0))
    assert [(r["close"], r["sma_2"], r["revision"]) for r in rows] == [(7, None, 0), (6, 6.5, 0)]
    rows = engine.values(*EXAMPLES_LATE, heartbeat(13.5))
    assert [(r["close"], r["sma_2"], r["revision"]) for r in rows] == [(8, None, 1), (9, 8.5, 0), (6, 7.5, 1)]
    assert engine.values(heartbeat(14.0)) == []


def numbers(bars: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """(timeframe, opening second, these columns, how many of its records came late) of each."""
    names = ("open", "high", "low", "close", "volume", "trade_count", "revision")
    return [(b["timeframe"], span(b)[0], *(b[name] for name in names), b["receipt"]["late_count"]) for b in bars]


MINUTE = [
    trade("A", 1, 10, 2, trade_id="a"), trade("A", 12, 14, 2, trade_id="b"), trade("A", 34, 12, 2, trade_id="c"),
    heartbeat(60),
]  # fmt: skip
CLOSED = (MINUTE, [
    ("10s", 0, 10, 10, 10, 10, 2, 1, 0, 0), ("10s", 10, 14, 14, 14, 14, 2, 1, 0, 0),
    ("10s", 30, 12, 12, 12, 12, 2, 1, 0, 0), ("1m", 0, 10, 14, 10, 12, 6, 3, 0, 0),
])  # fmt: skip
FIRST = ("10s", 0, 10, 10, 10, 10, 2, 1, 0, 0)
STORIES: dict[str, list[tuple[list[Row], list[Any]]]] = {
    "a late trade revises its bar and every larger one": [
        CLOSED, ([trade("A", 15, 20, 1, trade_id="d")], []),
        ([clock(61)], [("10s", 10, 14, 20, 14, 20, 3, 2, 1, 1), ("1m", 0, 10, 20, 10, 12, 7, 4, 1, 1)]),
        ([clock(62), heartbeat(62)], []),
    ],
    "a late trade where nothing had traded makes a bar that is not a revision": [
        CLOSED, ([trade("A", 25, 9, 1)], []),
        ([heartbeat(61)], [("10s", 20, 9, 9, 9, 9, 1, 1, 0, 1), ("1m", 0, 10, 14, 9, 12, 7, 4, 1, 1)]),
    ],
    "a larger bar that is still open takes the late trade without a revision, and for it the trade is not late": [
        ([trade("A", 1, 10, 2), trade("A", 12, 14, 2), heartbeat(30)], [FIRST, CLOSED[1][1]]),
        ([trade("A", 5, 3, 1), heartbeat(31)], [("10s", 0, 10, 10, 3, 3, 3, 2, 1, 1)]),
        ([heartbeat(60)], [("1m", 0, 10, 14, 3, 14, 5, 3, 0, 0)]),
    ],
    "a bar that a trade closes holds what came late before": [
        ([trade("A", 1, 10, 2), heartbeat(30, log=60), trade("A", 5, 3, 1)], [FIRST]),
        ([trade("A", 63, 14, 2)], [("1m", 0, 10, 10, 3, 3, 3, 2, 0, 0)]),
        ([heartbeat(64)], [("10s", 0, 10, 10, 3, 3, 3, 2, 1, 1)]),
    ],
    "a correction replaces price and size and keeps the trade's place": [
        CLOSED, ([correction("A", "b", 5.0, 1.0, 12)], []),
        ([heartbeat(61)], [("10s", 10, 5, 5, 5, 5, 1, 1, 1, 1), ("1m", 0, 10, 12, 5, 12, 5, 3, 1, 1)]),
    ],
    "a change of an open bar is in it when it closes, and is not late": [
        ([trade("A", 1, 10, 2, trade_id="x"), trade("A", 2, 11, 2, trade_id="y"), cancel("A", "x", 1)], []),
        ([heartbeat(10)], [("10s", 0, 11, 11, 11, 11, 2, 1, 0, 0)]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("portions", [pytest.param(portions, id=claim) for claim, portions in STORIES.items()])
def test_what_comes_late_is_told_once_with_its_revision(portions: list[Any]) -> None:
    engine = Engine(config_of(["10s", "1m"]))
    assert [numbers(engine.feed(*rows)) for rows, _ in portions] == [bars for _, bars in portions]


def closed_minute(**more: Any) -> Engine:
    engine = Engine(config_of(["10s", "1m"], **more))
    engine.feed(*MINUTE)
    return engine


def test_a_cancelled_high_is_undone_and_every_later_value_told_again_but_not_the_bars() -> None:
    engine = Engine(config_of(["10s"]))
    engine.feed(trade("A", 1, 10, 2), trade("A", 2, 99, 1, trade_id="x"), trade("A", 3, 11, 2), heartbeat(10))
    (bar,) = engine.feed(cancel("A", "x", 2), heartbeat(11))
    assert numbers([bar]) == [("10s", 0, 10, 11, 10, 11, 4, 2, 1, 1)]
    assert (bar["receipt"]["first_offset"], bar["receipt"]["last_offset"]) == (0, 4)
    engine = Engine(config_of(["1s"], "ema(2)"))
    engine.feed(*(trade("A", second, 10 + second, 1) for second in range(6)), heartbeat(10))
    result = engine.step([trade("A", 2.5, 50, 1), heartbeat(11)])
    assert [int(b["open_ns"]) for b in result.closed] == [int(result.indicated["open_ns"][0])]
    assert result.indicated["revision"].tolist() == [1, 1, 1, 1]
    assert result.indicated["close"].tolist() == [50, 13, 14, 15]


def test_a_bar_without_trades_is_withdrawn_and_may_come_back_and_only_a_sources_same_id_is_a_duplicate() -> None:
    engine = closed_minute()
    changes = [cancel("A", "b", 12), cancel("A", "b", 12), trade("A", 13, 7, 1)]
    told = [numbers(engine.feed(row, heartbeat(61 + i))) for i, row in enumerate(changes)]
    assert [[bar[:-1] for bar in bars] for bars in told] == [
        [("10s", 10, None, None, None, None, 0, 0, 1), ("1m", 0, 10, 12, 10, 12, 4, 2, 1)], [],
        [("10s", 10, 7, 7, 7, 7, 1, 1, 2), ("1m", 0, 10, 12, 7, 12, 5, 3, 2)],
    ]  # fmt: skip
    engine = Engine(config_of(["1s", "2t"]))
    doubled = [trade("A", 1, 10, 1, trade_id="x")] * 2
    others = [trade("A", 1, 10, 1, source="other", trade_id="x"), trade("B", 1, 10, 1, trade_id="x")]
    result = engine.step([*doubled, *others])
    assert (result.duplicates, result.refused) == (1, [])
    bars = engine.feed(heartbeat(5), heartbeat(5, source="other"))
    assert sorted((b["symbol"], b["trade_count"]) for b in bars) == [("A", 2), ("B", 1)]
    engine = Engine(config_of(["1s"]))
    assert engine.step([trade("A", 1, 10, 1)] * 3).duplicates == 0
    assert [b["trade_count"] for b in engine.feed(heartbeat(5))] == [3]


@pytest.mark.parametrize("change", [correction("A", "?", 1, 1, 70), cancel("A", "?", 70), cancel("Z", "a", 70)])
def test_a_change_of_a_trade_that_is_not_there_is_refused(change: Row) -> None:
    engine = closed_minute()
    assert (engine.refusals(change), engine.feed(heartbeat(90))) == (["unknown_trade"], [])


def test_the_window_ends_by_time_or_number_wherever_it_is_cut_and_what_is_behind_it_is_refused() -> None:
    engine = closed_minute(window_ns=30 * 10**9)
    assert [engine.refusals(row) for row in (trade("A", 29.9, 1, 1), trade("A", 30, 1, 1))] == [["too_late"], []]
    engine = closed_minute(window_ns=30 * 10**9)
    assert [engine.refusals(row) for row in (cancel("A", "a", 1), cancel("A", "c", 34))] == [["too_late"], []]
    engine = Engine(config_of(["1s", "1m"], window_ns=0))
    engine.feed(trade("AAA", 10.2, 5, 1), trade("AAA", 12.5, 6, 2), heartbeat(13.0))
    for late in (11.5, 10.95):
        result = engine.step([trade("AAA", late, 9, 1)])
        assert len(result.closed) == 0
        assert [(r.row, r.reason, r.timeframes) for r in result.refused] == [(0, "too_late", ("1s", "1m"))]
    assert result.late == 1
    rows = [trade("A", second + 0.5, 1, 1) for second in range(1, 29)]
    outcomes = []
    for trims in (False, True):
        engine = Engine(config_of(["1s"], window_trades=10))
        for second in range(1, 30):
            engine.feed(trade("A", second, 1, 1))
            if trims:
                engine.state = engine.stepper.trim(engine.state)
        outcomes.append([r.row for r in engine.step([*rows, heartbeat(30)]).refused])
    assert outcomes[0] == outcomes[1]
    assert 10 <= len(outcomes[0]) <= 25


def test_late_trades_revise_at_once_if_asked_filled_bars_too_none_cut_by_count_and_what_hangs_on_healed_ones() -> None:
    engine = closed_minute(revise_each=True)
    assert [b["timeframe"] for b in engine.feed(trade("A", 15, 20, 1))] == ["10s", "1m"]
    assert [b["revision"] for b in engine.feed(cancel("A", "b", 12))] == [2, 2]
    engine = Engine(config_of(["1s"], fill=True))
    engine.feed(trade("A", 1, 10, 1), heartbeat(4))
    bars = engine.feed(trade("A", 1.5, 20, 1), heartbeat(4))
    told = [(span(b)[0], b["close"], b["volume"], b["revision"]) for b in bars]
    assert told == [(1, 20, 2, 1), (2, 20, 0, 1), (3, 20, 0, 1)]
    engine = Engine(config_of(["2t", "1s"]))
    engine.feed(trade("AAA", 10.2, 5, 1), heartbeat(13.0))
    closed = engine.feed(trade("AAA", 10.5, 9, 1))
    assert [(b["timeframe"], b["open"], b["close"], b["trade_count"]) for b in closed] == [("2t", 5, 9, 2)]
    engine = Engine(config_of(["2t", "1s"]))
    rows = [trade("A", 1, 10, 1, trade_id="a"), trade("A", 2, 11, 1, trade_id="b"), heartbeat(9)]
    assert [b["timeframe"] for b in engine.feed(*rows)] == ["2t", "1s", "1s"]
    bars = engine.feed(cancel("A", "a", 1), trade("A", 1.5, 12, 1), heartbeat(10))
    assert {b["timeframe"] for b in bars} == {"1s"}
    engine = Engine(CONFIG)
    engine.feed(trade("A", 10.5, 4, 1), trade("A", 70.5, 6, 1), heartbeat(200))
    assert (engine.refusals(trade("A", 10.7, 5, 1)), engine.feed(begins())) == (["too_late"], [])
    assert engine.feed(*parts(4, (10.5, 4, 0, 0), (70.5, 6, 1, 0), (10.7, 5, 3, HEALED))) == []
    bars = engine.feed(heartbeat(201))
    shown = [(b["timeframe"], b["open_time_ns"], b["close"], b["volume"], b["revision"]) for b in bars]
    assert shown == [("1s", at(10), 5, 2, 1), ("1m", at(0), 5, 2, 1)]
    receipt = bars[0]["receipt"]
    assert (receipt["first_offset"], receipt["last_offset"], receipt["late_count"]) == (0, 5, 1)


CONFIG = config_of(["1s", "1m"], "ema(3)", max_skew_ns=10**13, window_ns=20 * 10**9)
NAMES = {"timeframes": ("1s", "1m"), "sources": ("feed",), "venues": (), "rules": ()}


def begins(symbol: str = "A", identity: str = "x") -> Row:
    return logged(beginning_value(symbol, identity))


def parts(covers: int, *trades: tuple[float, float, int, int], identity: str = "x", times: int = 1) -> list[Row]:
    """`trades` are (seconds, price, offset, side), of size 1; each so often."""
    rows = np.zeros(len(trades) * times, PAST_TRADE)
    for place, (seconds, price, offset, side) in enumerate(trades * times):
        rows[place]["event_time_ns"], rows[place]["price"], rows[place]["size"] = at(seconds), price, 1
        rows[place]["offset"], rows[place]["side"], rows[place]["venue"] = offset, side, -1
    rows["changed_offset"] = -1
    return [logged(value) for value in rebuild_values(History("A", covers, NAMES, {"trades": rows}), identity)]


def told(engine: Engine, rows: list[Row]) -> list[tuple[Any, ...]]:
    """What each row told of bars, the state saved and read again after each."""
    names = ("symbol", "timeframe", "open_time_ns", "close", "volume", "trade_count", "revision")
    found = []
    for row in rows:
        found += [tuple(bar[name] for name in names) for bar in engine.feed(row)]
        engine.state = engine.stepper.trim(engine.state)
        engine = engine.restarted()
    return found


STREAM = [
    trade("A", 12, 5.25, 1), clock(27), trade("A", 42.4, 11, 1), heartbeat(42.4), trade("A", 50, 9.75, 1),
    trade("A", 92, 12.25, 1, trade_id="a"), clock(92), cancel("A", "a", 92), heartbeat(152), trade("A", 150, 3, 1),
    heartbeat(620), clock(680), trade("A", 660, 7, 1), heartbeat(700), clock(800), trade("A", 820, 8, 1), heartbeat(1400),
    trade("A", 1390, 9, 1), clock(1500), heartbeat(1500),
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed() -> list[tuple[Any, ...]]:
    """What the stream tells without a rebuild."""
    whole = told(Engine(CONFIG), STREAM)
    assert told(Engine(CONFIG), [trade("A", 1, 5, 1), *STREAM]) != whole, "a row more is seen"
    return whole


@pytest.mark.parametrize("place", range(1, len(STREAM)))  # before the first there is no symbol to begin with
def test_one_that_is_never_finished_changes_nothing(place: int, undisturbed: list[tuple[Any, ...]]) -> None:
    assert told(Engine(CONFIG), [*STREAM[:place], begins(), *STREAM[place:]]) == undisturbed


def test_what_does_not_fit_is_refused_and_gives_the_rebuild_up() -> None:
    engine = Engine(CONFIG)
    engine.feed(trade("A", 10.5, 4, 1), trade("A", 70.5, 6, 1), heartbeat(200), trade("A", 199, 1, 1))

    whole = parts(100, (10.5, 4, 0, 0), (70.5, 6, 1, 0))
    assert engine.refusals(begins("B")) == ["bad_rebuild"], "no such symbol"
    assert engine.refusals(*whole) == ["bad_rebuild"], "it has not begun"
    assert engine.refusals(begins(), *parts(100, (10.5, 4, 0, 0), identity="y")) == ["bad_rebuild"], "another's part"
    assert engine.refusals(*whole) == ["bad_rebuild"], "and it is given up"
    assert engine.refusals(begins(), *parts(3, (10.5, 4, 0, 0))) == ["stale_rebuild"], "it ends before its beginning"
    assert engine.refusals(begins(), *parts(100, (199.5, 4, 9, HEALED))) == ["bad_rebuild"], "it lies in the window"
    long = parts(100, (10.5, 4, 0, 0), times=ROWS_MOST + 1)
    assert len(long) == 2
    assert engine.refusals(begins(), long[1]) == ["bad_rebuild"], "its first part is missing"
    assert engine.refusals(begins(), clock(900), *whole) == ["stale_rebuild"], "it took more than ten minutes"
    assert engine.refusals(begins(), *whole) == []
    assert engine.feed(clock(901)) == [], "nothing differs"
    engine = Engine(CONFIG)
    engine.step([trade("A", 200, 5, 1), trade("A", 90, 7, 1), begins(), clock(820)])
    finished = engine.refusals(*parts(2, (200, 5, 0, 0), (90, 7, 1, 0)))
    assert finished == [], "one that began before the log had a time is finished"
