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


SIZES = [trade("A", i, 100, 100.0) for i in range(21)]
OF_ONE_ID = [trade("A", 0, 100, 1, trade_id="x"), trade("A", 1, 10_000, 1, trade_id="x")]
QUOTES = [quote("A", 0, 99, 101), quote("A", 1, 101, 99), quote("A", 2, 9_900, 10_100), trade("A", 3, 10_000, 1)]
IN_ANOTHER_UNIT = prints(100, 10_000, 101)


@pytest.mark.parametrize(
    ("rows", "findings"),
    [
        pytest.param(prints(100, 130), [(1, "price_band")], id="the market does not leap within a second"),
        pytest.param(prints(100, 130, apart=601), [], id="after a pause it may have gone further"),
        pytest.param(
            prints(100, *[150] * 10),
            [(i, "price_band") for i in range(1, 5)],
            id="a new level is believed with the fifth trade that agrees",
        ),
        pytest.param([*SIZES, trade("A", 22, 100, 1e9)], [(21, "size_outlier")], id="an absurd size"),
        pytest.param([SIZES[0], trade("A", 1, 100, 1e9)], [], id="no size is absurd before sizes are known"),
        pytest.param(
            [trade("A", i, 100, 100.0) for i in range(502)],
            [(500, "stale"), (501, "stale")],
            id="the same trade for very often is stale",
        ),
        pytest.param(QUOTES, [(1, "crossed_quote"), (2, "price_unit")], id="quotes have a level of their own"),
        pytest.param(OF_ONE_ID, [], id="a duplicate says nothing of the level"),
    ],
)
def test_what_no_market_does_is_found(rows: list[Row], findings: list[tuple[int, str]]) -> None:
    assert found(engine(), *rows) == findings


def test_a_print_in_another_unit_is_found_and_stays_in_its_bar() -> None:
    door = engine()
    assert found(door, *IN_ANOTHER_UNIT) == [(1, "price_unit")]
    assert [(b["high"], b["trade_count"]) for b in door.feed(trade("A", 61, 100, 1))] == [(10_000, 3)]


def test_a_dropped_print_is_a_dead_letter_and_in_no_bar() -> None:
    door = engine(price_unit="drop")
    result = door.step(IN_ANOTHER_UNIT)
    told = [(r.row, r.reason, r.detail) for r in result.refused]
    assert told == [(1, "price_unit", "10000 where 100 is about the level")]
    assert SEVERITIES[result.found[0]["severity"]] == "drop"
    assert [(b["high"], b["trade_count"]) for b in door.feed(trade("A", 61, 100, 1))] == [(101, 2)]


def test_the_first_twenty_trades_are_believed() -> None:
    rows = [*prints(*[10_000.0, 100.0] * 10), *prints(100, 1e9, 100)]
    assert found(Engine(config_of(["1m"])), hello(mode="historical", lateness_ns=0), *rows) == [(22, "price_band")]


def test_a_rule_that_is_off_finds_nothing() -> None:
    assert found(engine(**dict.fromkeys(RULES, "off")), *IN_ANOTHER_UNIT) == []


def test_a_dropped_quote_does_not_prevail() -> None:
    door = engine(crossed_quote="drop")
    result = door.step([quote("A", 0, 99, 101), quote("A", 1, 103, 99)])
    assert [(r.row, r.reason) for r in result.refused] == [(1, "crossed_quote")]
    assert door.state.tables.last_quotes["bid"][0] == 99


@pytest.mark.parametrize(
    ("given", "said"),
    [({"cheap": "mark"}, "no rule"), ({"split": "drop"}, "split can be off, count, mark"), ({"stale": "loud"}, "loud")],
)
def test_a_wrong_severity_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        config_of(["1m"], quality=given)
