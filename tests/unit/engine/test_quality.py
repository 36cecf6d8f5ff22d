from typing import Any

import pytest

from market_rows import Engine, Row, config_of, hello, quote, trade
from marketpulse.engine.findings import RULE_NAMES
from marketpulse.errors import ParameterError
from marketpulse.model.quality import RULES, SEVERITIES


def found(engine: Engine, *rows: Row) -> list[tuple[int, str]]:
    return [(int(f["row"]), RULE_NAMES[f["rule"]]) for f in engine.step(rows).found]


def engine(**quality: str) -> Engine:
    made = Engine(config_of(["1m"], quality=quality, quality_limits={"warm_trades": 1.0}))
    made.step([hello(mode="historical", lateness_ns=0)])
    return made


def prints(*prices: float, apart: float = 1.0) -> list[Row]:
    return [trade("A", i * apart, price, 10.0 + i) for i, price in enumerate(prices)]


def test_a_print_in_another_unit_is_found_and_stays_in_its_bar() -> None:
    door = engine()
    assert found(door, *prints(100, 10_000, 101)) == [(1, "price_unit")]
    (bar,) = door.feed(trade("A", 61, 100, 1))
    assert bar["high"] == 10_000
    assert bar["trade_count"] == 3


def test_a_dropped_print_is_a_dead_letter_and_in_no_bar() -> None:
    door = engine(price_unit="drop")
    result = door.step(prints(100, 10_000, 101))
    assert [(r.row, r.reason, r.detail) for r in result.refused] == [
        (1, "price_unit", "10000 where 100 is about the level")
    ]
    assert SEVERITIES[result.found[0]["severity"]] == "drop"
    (bar,) = door.feed(trade("A", 61, 100, 1))
    assert bar["high"] == 101
    assert bar["trade_count"] == 2


def test_the_first_twenty_trades_are_believed() -> None:
    door = Engine(config_of(["1m"]))
    rows = [*prints(*[10_000.0, 100.0] * 10), *prints(100, 1e9, 100)]
    assert found(door, hello(mode="historical", lateness_ns=0), *rows) == [(22, "price_band")]


def test_a_rule_that_is_off_finds_nothing() -> None:
    assert found(engine(**dict.fromkeys(RULES, "off")), *prints(100, 10_000, 101)) == []


def test_after_a_pause_the_market_may_have_gone_further() -> None:
    assert found(engine(), *prints(100, 130)) == [(1, "price_band")]
    assert found(engine(), *prints(100, 130, apart=601)) == []


def test_a_new_level_is_believed_with_the_fifth_trade_that_agrees() -> None:
    rows = prints(100, *[150] * 10)
    assert found(engine(), *rows) == [(i, "price_band") for i in range(1, 5)]


def test_an_absurd_size_is_found_once_sizes_are_known() -> None:
    rows = [trade("A", i, 100, 100.0) for i in range(21)]
    assert found(engine(), *rows, trade("A", 22, 100, 1e9)) == [(21, "size_outlier")]
    assert found(engine(), trade("A", 0, 100, 100.0), trade("A", 1, 100, 1e9)) == []


def test_the_same_trade_for_very_often_is_stale() -> None:
    rows = [trade("A", i, 100, 100.0) for i in range(502)]
    assert found(engine(), *rows) == [(500, "stale"), (501, "stale")]


def test_quotes_have_a_level_of_their_own_and_a_crossed_one_is_found() -> None:
    rows = [quote("A", 0, 99, 101), quote("A", 1, 101, 99), quote("A", 2, 9_900, 10_100), trade("A", 3, 10_000, 1)]
    assert found(engine(), *rows) == [(1, "crossed_quote"), (2, "price_unit")]


def test_a_dropped_quote_does_not_prevail() -> None:
    door = engine(crossed_quote="drop")
    result = door.step([quote("A", 0, 99, 101), quote("A", 1, 103, 99)])
    assert [(r.row, r.reason) for r in result.refused] == [(1, "crossed_quote")]
    assert door.state.tables.last_quotes["bid"][0] == 99


def test_a_duplicate_says_nothing_of_the_level() -> None:
    door = engine()
    rows = [trade("A", 0, 100, 1, trade_id="x"), trade("A", 1, 10_000, 1, trade_id="x")]
    assert found(door, *rows) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [({"cheap": "mark"}, "no rule"), ({"split": "drop"}, "split can be off, count, mark"), ({"stale": "loud"}, "loud")],
)
def test_a_wrong_severity_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        config_of(["1m"], quality=given)
