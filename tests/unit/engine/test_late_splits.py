from pathlib import Path

import numpy as np
import pytest

from market_rows import Engine, Row, config_of, heartbeat, hello, logged, trade
from marketpulse.alerts.rule import Rule
from marketpulse.engine.config import EngineConfig
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.indicators.own import own_indicators
from marketpulse.kafka.rebuild_record import beginning_value, rebuild_values
from marketpulse.model.history import PAST_TRADE, History
from marketpulse.model.timeframe import parse_timeframes
from split_rows import split

CONFIG = config_of(["1s", "10s"], "sma(2)", window_ns=5_000_000_000)
FELL = Rule("fell", "change_pct(close, 1) < -20", timeframe="1s")
OWN = """
from marketpulse import indicator

@indicator(window="period")
def middle(high, low, period=2):
    "The middle of the window's range."
    return (high.max() + low.min()) / 2

@indicator(window="period", price_degrees=(1,))
def span(high, low, period=2):
    "How wide the window's range is."
    return high.max() - low.min()
"""


def seconds(*prices: float, first: int = 0) -> list[Row]:
    return [trade("A", first + i + 0.5, price, 10) for i, price in enumerate(prices)]


def values_of(engine: Engine, *rows: Row) -> list[tuple[int, float | None]]:
    """(second, sma_2) of the rows of 1s that these told."""
    told = [row for row in engine.values(*rows) if row["timeframe"] == "1s"]
    return [(round(row["open_time_ns"] / 1e9) % 60, row["sma_2"]) for row in told]


LONG = [hello(lateness_ns=0), *seconds(400, 404, *[100] * 8), heartbeat(10)]


def test_a_record_within_the_window_revises_what_it_changes() -> None:
    engine = Engine(CONFIG)
    first = values_of(engine, hello(lateness_ns=0), *seconds(400, 404, 100), heartbeat(3))
    assert first == [(0, None), (1, 402), (2, 252)]
    assert values_of(engine, split("A", 2, 4.0, 3), heartbeat(3.5)) == [(2, 100.5)]
    assert values_of(engine, split("A", 2, 2.0, 4), heartbeat(4)) == [(2, 151)]
    assert values_of(engine, split("A", 2, 1.0, 4), heartbeat(4.5)) == [(2, 252)]


def test_a_record_behind_the_window_is_a_dead_letter_and_changes_nothing() -> None:
    engine = Engine(CONFIG)
    engine.step(LONG)
    late = engine.step([split("A", 2, 4.0, 10), heartbeat(10.1)])
    assert [(r.reason, r.timeframes) for r in late.refused] == [("too_late", ("1s",))]
    assert not len(late.indicated)
    after = engine.step([*seconds(100, 102, first=10), heartbeat(20)])
    by_frame = {(int(b["frame"]), int(b["open_ns"] // 10**9 % 60)): b["factor"] for b in after.indicated}
    assert by_frame == {(0, 10): 1, (0, 11): 1, (1, 10): 4}  # the bar of ten seconds opens behind the ex time
    assert after.values[-1, 0] == (100 / 4 + 102) / 2


def test_where_the_anchor_stands_does_not_decide_what_is_late() -> None:
    for ex in (1, 2, 4, 5, 6):
        told = []
        for trims in (False, True):
            engine = Engine(CONFIG)
            engine.step(LONG)
            if trims:
                engine.state = engine.stepper.trim(engine.state)
                engine = engine.restarted()
            result = engine.step([split("A", ex, 4.0, 10), heartbeat(10.5)])
            told.append(([r.timeframes for r in result.refused], result.values.tobytes()))
        assert told[0] == told[1]


@pytest.mark.parametrize("known", [False, True])
def test_prices_that_are_adjusted_already_stay_as_they_are(known: bool) -> None:
    engine = Engine(CONFIG)
    before = [split("A", 2, 4.0)] if known else []
    rows = [hello(lateness_ns=0), *before, split("A", 2, 4.0, adjusted=True), *seconds(100, 101, 100, 102)]
    assert values_of(engine, *rows, heartbeat(10)) == [(0, None), (1, 100.5), (2, 100.5), (3, 101)]


def test_several_may_wait_for_a_symbol_that_nothing_is_known_of() -> None:
    engine = Engine(CONFIG)
    engine.step([hello(lateness_ns=0), split("A", 3, 0.5), split("A", 2, 4.0), split("A", -60, 9.0)])
    engine = engine.restarted()
    found = values_of(engine, *seconds(400, 400, 100, 200), heartbeat(10))
    assert found == [(0, None), (1, 400), (2, 100), (3, 200)]


def test_one_of_before_the_first_bar_is_not_late() -> None:
    engine = Engine(CONFIG)
    engine.step([hello(lateness_ns=0), *seconds(*[100] * 12), heartbeat(30)])
    assert not engine.step([split("A", -60, 4.0, 30), heartbeat(31)]).refused


def test_an_own_indicator_starts_anew_unless_it_names_its_degrees(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    own = own_indicators([path])
    config = EngineConfig(parse_timeframes(["1s"]), parse_indicators("middle(2),span(2)", own))
    engine = Engine(config)
    result = engine.step([hello(lateness_ns=0), split("A", 2, 4.0), *seconds(400, 404, 100, 102), heartbeat(9)])
    middle, span = result.values.T
    np.testing.assert_array_equal(middle, [np.nan, 402, np.nan, 101])
    np.testing.assert_array_equal(span, [np.nan, 4, 1, 2])


def test_rules_see_earlier_bars_in_the_units_of_now() -> None:
    rules = (
        Rule("fell", "change_pct(close, 1) < -20"),
        Rule("crossed", "close crosses_below 0.9 * sma_2"),
        Rule("jumped", "volume > 2 * prev(volume)"),
        Rule("beside", "close < 0.8 * close@10s"),
    )
    config = config_of(["1s", "10s"], "sma(2)", alerts=rules)
    calm = [*seconds(*[400.0] * 10), *[trade("A", 10.5 + i, 100.0, 40) for i in range(14)]]
    engine = Engine(config)
    assert engine.alerts(hello(lateness_ns=0), split("A", 10, 4.0), *calm, heartbeat(24)) == []
    falls = engine.alerts(trade("A", 24.5, 70.0, 40), heartbeat(26))
    assert sorted(row["rule"] for row in falls) == ["beside", "crossed", "fell"]
    blind = Engine(config).alerts(hello(lateness_ns=0), *calm, heartbeat(24))
    assert {row["rule"] for row in blind} == {"fell", "crossed", "jumped", "beside"}


def test_a_rebuild_brings_in_what_was_missed() -> None:
    config = config_of(["1s", "10s"], "sma(2)", window_ns=5_000_000_000, max_skew_ns=10**13, alerts=(FELL,))
    prices = [400.0, 404, *[100.0] * 8]
    rows = [hello(lateness_ns=0), *seconds(*prices), heartbeat(10)]
    healed = Engine(config)
    healed.step([*rows, split("A", 2, 4.0, 10), heartbeat(11), *seconds(101, 102, first=20), heartbeat(30)])
    trades = [*seconds(*prices), *seconds(101, 102, first=20)]
    past = np.zeros(len(trades), PAST_TRADE)
    past["event_time_ns"] = [row["event_time_ns"] for row in trades]
    past["price"], past["size"] = [row["price"] for row in trades], 10
    past["offset"] = [*range(1, 11), 14, 15]  # between them heartbeats, and the split at 12
    past["venue"] = past["changed_offset"] = -1
    names = {"timeframes": ("1s", "10s"), "sources": ("feed",), "venues": (), "rules": ("fell",)}
    healed.step([logged(beginning_value("A", "x"))])
    history = History("A", healed.offset, names, {"trades": past})
    healed.step([logged(value) for value in rebuild_values(history, "x")])
    told = healed.step([heartbeat(31)])
    assert not told.refused
    seconds_told = told.indicated["open_ns"][told.indicated["frame"] == 0] // 10**9 % 60
    assert seconds_told.tolist() == [2]  # of the others no value changes
    assert told.values[told.indicated["frame"] == 0].tolist() == [[100.5]]
    assert [row["state"] for row in healed.alert_rows(told)] == ["withdrawn"] * 2  # it was raised, and cleared
    healed = healed.restarted()
    again = healed.step([*seconds(51, 52, first=40), heartbeat(60)])
    ahead = Engine(config)
    whole = [rows[0], split("A", 2, 4.0), *rows[1:], heartbeat(11), *seconds(101, 102, first=20), heartbeat(31)]
    ahead.step(whole)
    assert again.values.tobytes() == ahead.step([*seconds(51, 52, first=40), heartbeat(60)]).values.tobytes()
