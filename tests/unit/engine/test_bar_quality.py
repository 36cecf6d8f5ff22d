"""Daily bars of one symbol that trade on every day of the week, but for those of a calendar."""

import math
from typing import Any

import numpy as np
import pytest

from market_rows import MIDNIGHT_NS, Engine, Row, bar, config_of, hello
from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.model.session import SessionTable, around_the_clock
from marketpulse.model.timeframe import DAY_NS

DAY_S = 86_400
Bar = tuple[float, float, float, float, float]


def quiet(n: int) -> list[Bar]:
    """Bars that move by about one part in a hundred a day."""
    found = []
    for i in range(n):
        close = 100 + math.sin(i) + 0.5 * math.sin(3.7 * i)
        found.append((close - 0.3, close + 0.8, close - 0.9, close, 1_000.0 + 7 * (i % 13)))
    return found


def scaled(one: Bar, factor: float) -> Bar:
    opened, high, low, close, volume = one
    return opened * factor, high * factor, low * factor, close * factor, volume


def rows_of(bars: list[Bar], days: list[int] | None = None) -> list[Row]:
    places = range(len(bars)) if days is None else days
    return [bar("A", "1d", d * DAY_S, (d + 1) * DAY_S, b) for d, b in zip(places, bars, strict=True)]


def found(rows: list[Row], **more: Any) -> list[tuple[int, str]]:
    engine = Engine(config_of(["1d"], **more))
    result = engine.step([hello(mode="historical", lateness_ns=0), *rows])
    return [(int(f["row"]) - 1, RULE_NAMES[f["rule"]]) for f in result.found]


def with_bar(at: int, one: Bar, n: int = 60) -> list[Row]:
    bars = quiet(n)
    bars[at] = one
    return rows_of(bars)


def test_ordinary_days_are_left_alone() -> None:
    assert found(rows_of(quiet(200))) == []


@pytest.mark.parametrize("factor", [100, 0.01, 1_000])
def test_a_bar_in_another_unit_is_found(factor: float) -> None:
    assert found(with_bar(40, scaled(quiet(60)[40], factor))) == [(40, "price_unit")]


def test_a_level_that_stays_is_believed_with_the_third_bar() -> None:
    bars = quiet(60)
    bars[40:] = [scaled(one, 100) for one in bars[40:]]
    assert found(rows_of(bars)) == [(40, "price_unit"), (41, "price_unit")]


def test_a_leap_that_the_next_bar_takes_back_is_found_there() -> None:
    assert found(with_bar(40, scaled(quiet(60)[40], 1.4))) == [(41, "price_spike")]


def test_a_fall_that_stays_is_no_spike() -> None:
    bars = quiet(60)
    bars[40:] = [scaled(one, 0.72) for one in bars[40:]]
    assert found(rows_of(bars)) == []


@pytest.mark.parametrize(
    ("opened", "high", "low", "rule"),
    [
        (100, 170, 99, "bar_range"),
        (100, 101, 60, "bar_range"),
        (100, 10_000, 99, "price_unit"),
        (200, 201, 99, "bar_range"),
    ],
)
def test_one_price_of_a_bar_that_is_far_from_the_others_is_found(
    opened: float, high: float, low: float, rule: str
) -> None:
    assert found(with_bar(40, (opened, high, low, 100.0, 1_000.0))) == [(40, rule)]


@pytest.mark.parametrize(("ratio", "rule"), [(2, "split"), (3, "split"), (10, "split"), (0.1, "split"), (1.5, "split")])
def test_prices_that_were_not_adjusted_for_a_split_are_found(ratio: float, rule: str) -> None:
    bars = quiet(60)
    bars[:40] = [scaled(one, ratio) for one in bars[:40]]
    assert found(rows_of(bars))[0] == (40, rule)


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("beyond", ["above", "below"])
def test_an_open_or_close_outside_of_high_and_low_is_found_and_the_bar_stays(place: int, beyond: str) -> None:
    bars = quiet(60)
    one = list(bars[40])
    one[place] = one[1] + 0.1 if beyond == "above" else one[2] - 0.1
    bars[40] = (one[0], one[1], one[2], one[3], one[4])
    assert found(rows_of(bars)) == [(40, "ohlc")]
    engine = Engine(config_of(["1d"], quality={"ohlc": "drop"}))
    result = engine.step([hello(mode="historical", lateness_ns=0), *rows_of(bars)])
    assert [refusal.reason for refusal in result.refused] == ["ohlc"]


def split_on(day: int, ratio: float, **more: Any) -> Row:
    at = MIDNIGHT_NS + day * DAY_NS
    return {"type": "split", "symbol": "A", "source": "feed", "event_time_ns": at, "ratio": ratio, "ex_time_ns": at, **more}  # fmt: skip


def test_a_split_that_prices_should_be_adjusted_for_is_found_where_they_show_it() -> None:
    event = split_on(40, 1.2, adjusted=True)
    adjusted = rows_of(quiet(60))
    adjusted.insert(40, event)
    assert found(adjusted) == []
    bars = quiet(60)
    bars[:40] = [scaled(one, 1.2) for one in bars[:40]]
    raw = rows_of(bars)
    raw.insert(40, event)
    assert found(raw) == [(41, "split")]


@pytest.mark.parametrize("ratio", [4.0, 1.5, 0.1])
def test_raw_prices_leap_with_their_splits_and_those_that_do_not_are_found(ratio: float) -> None:
    bars = quiet(60)
    told_ahead = [*bars[:40], *[scaled(one, 1 / ratio) for one in bars[40:]]]
    raw = rows_of(told_ahead)
    raw.insert(20, split_on(40, ratio))
    assert found(raw) == []
    twice = rows_of(
        [scaled(one, 2) if i < 20 else scaled(one, 1 / ratio) if i >= 40 else one for i, one in enumerate(bars)]
    )
    twice.insert(10, split_on(20, 2))
    twice.insert(31, split_on(40, ratio))
    assert found(twice) == []
    unmoved = rows_of(bars)
    unmoved.insert(20, split_on(40, ratio))
    assert found(unmoved) != []


def test_a_split_that_is_told_late_does_not_move_a_level_that_is_believed() -> None:
    bars = [scaled(one, 0.25) if i >= 40 else one for i, one in enumerate(quiet(60))]
    raw = rows_of(bars)
    raw.insert(50, split_on(40, 4))
    assert {rule for _, rule in found(raw)} == {"split"}, "before it was told"
    assert max(row for row, _ in found(raw)) < 50


def test_the_third_bar_of_the_same_values_is_stale_but_not_a_flat_one_without_volume() -> None:
    bars = quiet(60)
    bars[41] = bars[42] = bars[40]
    assert found(rows_of(bars)) == [(42, "stale")]
    flat = (bars[39][3],) * 4 + (0.0,)
    bars[40] = bars[41] = bars[42] = bars[43] = flat
    assert found(rows_of(bars)) == []


def test_an_absurd_volume_is_found() -> None:
    opened, high, low, close, _ = quiet(60)[40]
    assert found(with_bar(40, (opened, high, low, close, 1e9))) == [(40, "size_outlier")]


def test_a_hole_is_found_in_a_series_that_trades_on_saturdays_and_in_no_other_without_a_calendar() -> None:
    days = [*range(40), *range(42, 62)]
    assert found(rows_of(quiet(60), days)) == [(40, "missing_bars")]
    workdays = [d for d in range(100) if (d + 3) % 7 < 5]  # 1 January 2026 is a Thursday
    assert found(rows_of(quiet(len(workdays)), workdays)) == []


def test_a_calendar_says_which_bars_are_missing_and_which_should_not_be() -> None:
    workdays = np.array([d for d in range(100) if (d + 3) % 7 < 5], np.int32)
    opens = MIDNIGHT_NS + workdays.astype(np.int64) * DAY_NS + 10 * 3_600 * 10**9
    table = SessionTable("WORK", opens, opens + 6 * 3_600 * 10**9, (MIDNIGHT_NS // DAY_NS + workdays).astype(np.int32))
    calendars = {"WORK": table, "24x7": around_the_clock()}
    days = [int(d) for d in workdays if d != workdays[40]]
    rows = [
        {**row, "session_date": MIDNIGHT_NS // DAY_NS + d}
        for row, d in zip(rows_of(quiet(len(days)), days), days, strict=True)
    ]
    assert found(rows, calendar="WORK", sessions_of=calendars.get) == [(40, "missing_bars")]
    saturday = next(d for d in range(50, 60) if (d + 3) % 7 == 5)
    odd = [r for r, d in zip(rows, days, strict=True) if d < saturday]
    odd.append({**bar("A", "1d", saturday * DAY_S, (saturday + 1) * DAY_S, quiet(1)[0])})
    assert (len(odd) - 1, "out_of_session") in found(odd, calendar="WORK", sessions_of=calendars.get)


def test_a_dropped_bar_is_a_dead_letter_and_builds_nothing() -> None:
    engine = Engine(config_of(["1d"], quality={"price_unit": "drop"}))
    result = engine.step([hello(mode="historical", lateness_ns=0), *with_bar(40, scaled(quiet(60)[40], 100))])
    assert [(r.row - 1, r.reason, r.timeframes) for r in result.refused] == [(40, "price_unit", ("1d",))]
    assert len(result.closed) == 59
    assert result.closed["high"].max() < 200


def test_what_a_dropped_bar_had_told_while_it_formed_goes_with_it() -> None:
    engine = Engine(config_of(["1d"], quality={"price_unit": "drop"}))
    rows = with_bar(40, scaled(quiet(60)[40], 100))
    forming = {**rows[40], "final": False}
    result = engine.step([hello(mode="historical", lateness_ns=0), *rows[:40], forming, *rows[40:]])
    assert len(result.closed) == 59
    assert np.count_nonzero(engine.state.tables.heads >= 0) == 0


def test_a_finding_is_a_sentence() -> None:
    engine = Engine(config_of(["1d"]))
    result = engine.step([hello(mode="historical", lateness_ns=0), *with_bar(40, scaled(quiet(60)[40], 100))])
    said = describe(result.found[0])
    assert said.endswith("is about the level")
    assert said.split()[0].startswith("10")
