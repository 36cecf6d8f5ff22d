"""Odd trades, quotes, bars and dividends: daily bars of one symbol that trade on every day but for those of a calendar."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_rows import MIDNIGHT_NS, Engine, Row, bar, config_of, hello, quote, split, trade
from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.engine.step import StepResult
from marketpulse.engine.trade_ids import key_of
from marketpulse.errors import ParameterError
from marketpulse.model.quality import RULES, SEVERITIES
from marketpulse.model.session import SessionTable, around_the_clock
from marketpulse.model.timeframe import DAY_NS


def doubted(engine: Engine, *rows: Row) -> list[tuple[int, str]]:
    return [(int(f["row"]), RULE_NAMES[f["rule"]]) for f in engine.step(rows).found]


def engine(**quality: str) -> Engine:
    made = Engine(config_of(["1m"], quality=quality, quality_limits={"warm_trades": 1.0}))
    made.step([hello(mode="historical", lateness_ns=0)])
    return made


def prints(*prices: float) -> list[Row]:
    return [trade("A", i, price, 10.0 + i) for i, price in enumerate(prices)]


SAME = [trade("A", i, 100, 100.0) for i in range(502)]
SIZES, AGREEING = SAME[:21], [(i, "price_band") for i in range(1, 5)]
OF_ONE_ID = [trade("A", 0, 100, 1, trade_id="x"), trade("A", 1, 10_000, 1, trade_id="x")]
QUOTES = [quote("A", 0, 99, 101), quote("A", 1, 101, 99), quote("A", 2, 9_900, 10_100), trade("A", 3, 10_000, 1)]
IN_ANOTHER_UNIT = prints(100, 10_000, 101)


@pytest.mark.parametrize(("rows", "findings"), [
    pytest.param(prints(100, 130), [(1, "price_band")], id="the market does not leap within a second"),
    pytest.param(prints(100, *[150] * 10), AGREEING, id="a new level is believed with the fifth trade that agrees"),
    pytest.param([*SIZES, trade("A", 22, 100, 1e9)], [(21, "size_outlier")], id="an absurd size"),
    pytest.param(SAME, [(500, "stale"), (501, "stale")], id="the same trade for very often is stale"),
    pytest.param(QUOTES, [(1, "crossed_quote"), (2, "price_unit")], id="quotes have a level of their own"),
    pytest.param(OF_ONE_ID, [], id="a duplicate says nothing of the level"),
])  # fmt: skip
def test_what_no_market_does_is_found(rows: list[Row], findings: list[tuple[int, str]]) -> None:
    assert doubted(engine(), *rows) == findings


@pytest.mark.parametrize(("given", "high", "count"), [({}, 10_000, 3), ({"price_unit": "drop"}, 101, 2)])
def test_a_print_in_another_unit_stays_unless_it_is_dropped(given: dict[str, str], high: int, count: int) -> None:
    door = engine(**given)
    result = door.step(IN_ANOTHER_UNIT)
    found = [(f["row"], RULE_NAMES[f["rule"]], SEVERITIES[f["severity"]]) for f in result.found]
    assert found == [(1, "price_unit", given.get("price_unit", "mark"))]
    dead = [(1, "price_unit", "10000 where 100 is about the level")] if given else []
    assert [(r.row, r.reason, r.detail) for r in result.refused] == dead
    assert [(b["high"], b["trade_count"]) for b in door.feed(trade("A", 61, 100, 1))] == [(high, count)]


def test_the_first_twenty_trades_are_believed_and_rules_that_are_off_and_dropped_quotes_have_no_effect() -> None:
    rows = [*prints(*[10_000.0, 100.0] * 10), *prints(100, 1e9, 100)]
    assert doubted(Engine(config_of(["1m"])), hello(mode="historical", lateness_ns=0), *rows) == [(22, "price_band")]
    assert doubted(engine(**dict.fromkeys(RULES, "off")), *IN_ANOTHER_UNIT) == []
    door = engine(crossed_quote="drop")
    result = door.step([quote("A", 0, 99, 101), quote("A", 1, 103, 99)])
    assert [(r.row, r.reason) for r in result.refused] == [(1, "crossed_quote")]
    assert door.state.tables.last_quotes["bid"][0] == 99


@pytest.mark.parametrize(("given", "said"), [
    ({"cheap": "mark"}, "no rule"), ({"split": "drop"}, "split can be off, count, mark"), ({"stale": "loud"}, "loud"),
])  # fmt: skip
def test_a_wrong_severity_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        config_of(["1m"], quality=given)


DAY_S = 86_400
Bar = tuple[float, float, float, float, float]
WORKDAYS = [d for d in range(100) if (d + 3) % 7 < 5]  # 1 January 2026 is a Thursday


def quiet(n: int = 60) -> list[Bar]:
    """Bars that move by about one part in a hundred a day."""
    closes = [100 + math.sin(i) + 0.5 * math.sin(3.7 * i) for i in range(n)]
    return [(c - 0.3, c + 0.8, c - 0.9, c, 1_000.0 + 7 * (i % 13)) for i, c in enumerate(closes)]


def moved(begin: int, end: int, factor: float) -> list[Bar]:
    """Quiet bars, with prices of the days from `begin` to before `end` in other units."""
    bars = quiet()
    bars[begin:end] = [(o * factor, h * factor, low * factor, c * factor, v) for o, h, low, c, v in bars[begin:end]]
    return bars


def with_bars(changed: dict[int, Bar]) -> list[Bar]:
    return [changed.get(i, one) for i, one in enumerate(quiet())]


def rows_of(bars: list[Bar], days: list[int] | None = None) -> list[Row]:
    places = range(len(bars)) if days is None else days
    return [bar("A", "1d", d * DAY_S, (d + 1) * DAY_S, b) for d, b in zip(places, bars, strict=True)]


def judged(rows: list[Row], **more: Any) -> StepResult:
    return Engine(config_of(["1d"], **more)).step([hello(mode="historical", lateness_ns=0), *rows])


def found(rows: list[Row], **more: Any) -> list[tuple[int, str]]:
    return [(int(f["row"]) - 1, RULE_NAMES[f["rule"]]) for f in judged(rows, **more).found]


FLAT = (quiet()[39][3],) * 4 + (0.0,)
UNIT, RANGE = [(40, "price_unit")], [(40, "bar_range")]


@pytest.mark.parametrize(("bars", "findings"), [
    pytest.param(quiet(200), [], id="ordinary days are left alone"),
    *(pytest.param(moved(40, 41, factor), UNIT, id=f"a bar in another unit, {factor}") for factor in (100, 0.01, 1_000)),
    pytest.param(moved(40, 60, 100), [*UNIT, (41, "price_unit")], id="a level that stays is believed with the third bar"),
    pytest.param(moved(40, 41, 1.4), [(41, "price_spike")], id="a leap that the next bar takes back is found there"),
    pytest.param(moved(40, 60, 0.72), [], id="a fall that stays is no spike"),
    pytest.param(with_bars({40: (100, 170, 99, 100, 1_000)}), RANGE, id="a high far from the other prices"),
    pytest.param(with_bars({40: (100, 101, 60, 100, 1_000)}), RANGE, id="a low far from the other prices"),
    pytest.param(with_bars({40: (100, 10_000, 99, 100, 1_000)}), UNIT, id="a high in another unit"),
    pytest.param(with_bars({40: (200, 201, 99, 100, 1_000)}), RANGE, id="an open far from the other prices"),
    pytest.param(with_bars(dict.fromkeys((41, 42), quiet()[40])), [(42, "stale")], id="the third of the same values is stale"),
    pytest.param(with_bars(dict.fromkeys(range(40, 44), FLAT)), [], id="flat bars without volume are not stale"),
    pytest.param(with_bars({40: (*quiet()[40][:4], 1e9)}), [(40, "size_outlier")], id="an absurd volume"),
])  # fmt: skip
def test_what_no_bar_should_be_is_found(bars: list[Bar], findings: list[tuple[int, str]]) -> None:
    assert found(rows_of(bars)) == findings


@pytest.mark.parametrize("ratio", [2, 3, 10, 0.1, 1.5])
def test_prices_that_were_not_adjusted_for_a_split_are_found(ratio: float) -> None:
    assert found(rows_of(moved(0, 40, ratio)))[0] == (40, "split")


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("beyond", ["above", "below"])
def test_an_open_or_close_outside_of_high_and_low_is_found_and_the_bar_stays(place: int, beyond: str) -> None:
    one = list(quiet()[40])
    one[place] = one[1] + 0.1 if beyond == "above" else one[2] - 0.1
    rows = rows_of(with_bars({40: (one[0], one[1], one[2], one[3], one[4])}))
    assert found(rows) == [(40, "ohlc")]
    assert [refusal.reason for refusal in judged(rows, quality={"ohlc": "drop"}).refused] == ["ohlc"]


def with_splits(bars: list[Bar], *splits: tuple[int, int, float], **more: Any) -> list[Row]:
    """The bars' rows, and before row `place` of all a split by `ratio` from `day` on, for each (place, day, ratio)."""
    rows = rows_of(bars)
    for place, day, ratio in splits:
        rows.insert(place, split("A", day * DAY_S, ratio, day * DAY_S, **more))
    return rows


def test_a_split_is_found_by_its_prices_a_hole_by_saturdays_and_all_long_and_short_ids_differ() -> None:
    assert found(with_splits(quiet(), (40, 40, 1.2), adjusted=True)) == []
    assert found(with_splits(moved(0, 40, 1.2), (40, 40, 1.2), adjusted=True)) == [(41, "split")]
    findings = found(with_splits(moved(40, 60, 0.25), (50, 40, 4)))
    assert {rule for _, rule in findings} == {"split"}, "before it was told"
    assert max(row for row, _ in findings) < 50
    assert found(rows_of(quiet(), [*range(40), *range(42, 62)])) == [(40, "missing_bars")]
    assert found(rows_of(quiet(len(WORKDAYS)), WORKDAYS)) == []
    assert len({key(b"a"), key(b"a\0"), key(b"a\0\0")}) == 3
    names = [f"3f2504e0-4f89-11d3-9a0c-{number:012x}".encode() for number in range(100_000)]
    assert len({key(name) for name in names} | {key(name[:15]) for name in names[:1]}) == 100_001


@pytest.mark.parametrize("ratio", [4.0, 1.5, 0.1])
def test_raw_prices_leap_with_their_splits_and_those_that_do_not_are_found(ratio: float) -> None:
    raw = moved(40, 60, 1 / ratio)
    assert found(with_splits(raw, (20, 40, ratio))) == []
    assert found(with_splits([*moved(0, 20, 2)[:20], *raw[20:]], (10, 20, 2), (31, 40, ratio))) == []
    assert found(with_splits(quiet(), (20, 40, ratio))) != []


def test_a_calendar_says_which_bars_should_be_and_a_dropped_one_is_a_dead_letter_and_builds_nothing() -> None:
    workdays = np.array(WORKDAYS, np.int32)
    opens = MIDNIGHT_NS + workdays.astype(np.int64) * DAY_NS + 10 * 3_600 * 10**9
    table = SessionTable("WORK", opens, opens + 6 * 3_600 * 10**9, (MIDNIGHT_NS // DAY_NS + workdays).astype(np.int32))
    at_work: dict[str, Any] = {"calendar": "WORK", "sessions_of": {"WORK": table, "24x7": around_the_clock()}.get}
    days = [d for d in WORKDAYS if d != WORKDAYS[40]]
    bars = rows_of(quiet(len(days)), days)
    rows = [row | {"session_date": MIDNIGHT_NS // DAY_NS + d} for d, row in zip(days, bars, strict=True)]
    assert found(rows, **at_work) == [(40, "missing_bars")]
    saturday = next(d for d in range(50, 60) if (d + 3) % 7 == 5)
    odd = [row for row, d in zip(rows, days, strict=True) if d < saturday]
    odd += rows_of(quiet(1), [saturday])
    assert (len(odd) - 1, "out_of_session") in found(odd, **at_work)
    rows, quality = rows_of(moved(40, 41, 100)), {"price_unit": "drop"}
    result = judged(rows, quality=quality)
    assert [(r.row - 1, r.reason, r.timeframes) for r in result.refused] == [(40, "price_unit", ("1d",))]
    assert (len(result.closed), result.closed["high"].max() < 200) == (59, True)
    engine = Engine(config_of(["1d"], quality=quality))
    forming = {**rows[40], "final": False}
    result = engine.step([hello(mode="historical", lateness_ns=0), *rows[:40], forming, *rows[40:]])
    assert (len(result.closed), int(np.count_nonzero(engine.state.tables.heads >= 0))) == (59, 0)
    said = describe(judged(rows).found[0])
    assert (said.endswith("is about the level"), said.split()[0].startswith("10")) == (True, True)


def dividend(day: int, amount: float) -> Row:
    at = MIDNIGHT_NS + day * DAY_NS
    head = {"type": "dividend", "symbol": "A", "source": "feed", "event_time_ns": at}
    return head | {"amount": amount, "ex_time_ns": at}


def days(first: int, last: int, price: float = 100.0) -> list[Row]:
    bars = [(price, price + 1 + d % 3, price - 1, price + (d % 3) / 2, 100.0 + d) for d in range(first, last)]
    return rows_of(bars, list(range(first, last)))


MONTH = days(0, 30)


@pytest.mark.parametrize(("rows", "place"), [
    pytest.param([*MONTH, dividend(30, 0.5), *days(30, 60), dividend(60, 0.6), *days(60, 70)], None,
                 id="ordinary ones are left alone"),
    pytest.param([*MONTH, dividend(30, 150), *days(30, 33)], 30, id="one of more than the price is found at once"),
    pytest.param([*MONTH, dividend(30, 50), *days(30, 33)], 31, id="one of half the price that does not fall by it"),
    pytest.param([*MONTH, dividend(30, 50), *days(30, 33, 51.0)], None, id="one of half the price that falls by it"),
    pytest.param([*MONTH, dividend(30, 0.755), *days(30, 60), dividend(60, 0.006), *days(60, 90), dividend(90, 4.3),
                  *days(90, 95)], None, id="companies pay other amounts than before"),
    pytest.param([*MONTH, dividend(30, 0.5), *days(30, 60), dividend(60, 0.005), *days(60, 62)], 61,
                 id="a hundredth of the one before"),
    pytest.param([*MONTH, dividend(30, 0.5), *days(30, 31), dividend(31, 0.53), *days(31, 33)], 32,
                 id="nearly the same one on the next day"),
    pytest.param([*MONTH, dividend(30, 0.5), *days(30, 33), dividend(33, 0.5), *days(33, 35)], 34,
                 id="the same one within days"),
    pytest.param([*MONTH, dividend(30, 12), *days(30, 33)], 31, id="a large one must show in the price"),
    pytest.param([*MONTH, dividend(30, 12), *days(30, 33, 88.0)], None, id="a large one that shows in the price"),
    pytest.param([dividend(0, 50), *days(0, 3)], None, id="one of a symbol that nothing is known of says nothing"),
])  # fmt: skip
def test_a_dividend_that_nobody_would_pay_is_found(rows: list[Row], place: int | None) -> None:
    result = judged(rows)
    assert all(describe(f).startswith("dividend") for f in result.found)
    assert [int(f["row"]) - 1 for f in result.found] == ([] if place is None else [place])
    assert {RULE_NAMES[f["rule"]] for f in result.found} <= {"dividend"}


def key(name: bytes, before: bytes = b"") -> tuple[int, int]:
    high, low = key_of(np.frombuffer(before + name, np.uint8), len(before), len(name))
    return int(high), int(low)


@given(st.binary(min_size=1, max_size=15), st.binary(min_size=1, max_size=15))
def test_short_ids_have_the_same_key_only_when_they_are_the_same(left: bytes, right: bytes) -> None:
    assert (key(left) == key(right)) == (left == right)


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=9))
def test_a_key_hangs_on_the_id_and_not_on_where_it_lies(name: bytes, before: bytes) -> None:
    assert key(name, before) == key(name)
