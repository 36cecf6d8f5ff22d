"""A rebuild's records one by one: what is refused, and that one which is never finished changes nothing."""

from typing import Any

import numpy as np
import pytest

from market_rows import Engine, Row, at, cancel, clock, config_of, heartbeat, logged, trade
from marketpulse.kafka.rebuild_record import ROWS_MOST, beginning_value, rebuild_values
from marketpulse.model.history import HEALED, PAST_TRADE, History

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
    history = History("A", covers, NAMES, {"trades": rows})
    return [logged(value) for value in rebuild_values(history, identity)]


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


def test_a_healed_trade_is_told_with_all_that_hangs_on_it() -> None:
    engine = Engine(CONFIG)
    engine.feed(trade("A", 10.5, 4, 1), trade("A", 70.5, 6, 1), heartbeat(200))
    assert (engine.refusals(trade("A", 10.7, 5, 1)), engine.feed(begins())) == (["too_late"], [])
    assert engine.feed(*parts(4, (10.5, 4, 0, 0), (70.5, 6, 1, 0), (10.7, 5, 3, HEALED))) == []
    bars = engine.feed(heartbeat(201))
    shown = [(b["timeframe"], b["open_time_ns"], b["close"], b["volume"], b["revision"]) for b in bars]
    assert shown == [("1s", at(10), 5, 2, 1), ("1m", at(0), 5, 2, 1)]
    receipt = bars[0]["receipt"]
    assert (receipt["first_offset"], receipt["last_offset"], receipt["late_count"]) == (0, 5, 1)


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
