"""A symbol's days, from its bars: the same figures in whatever pieces the bars come."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples

from board_rows import row
from marketpulse.sinks.sessions import SESSIONS_KEPT, Part, Session, SessionsOf, Sum, date_of

DAY = "2024-05-01"
numbers = floats(1e-9, 1e12)


def part(open_ns: int, close: float | None, volume: float = 1.0) -> Part:
    return Part(open_ns, close, close, close, close, volume, (close or 0.0) * volume, 1)


def day_of(parts: Sequence[Part]) -> dict[str, Any]:
    sessions = SessionsOf()
    sessions.take(DAY, parts, anew=True)
    return sessions.held[DAY].figures()


@given(values=lists(floats(-1e300, 1e300), max_size=40), cut=integers(0, 40))
def test_a_sum_is_exact_however_it_is_cut_and_stored(values: list[float], cut: int) -> None:
    total = Sum()
    for value in values[:cut]:
        total.add(value)
    total = Sum(total.parts)
    for value in values[cut:]:
        total.add(value)
    assert total.rounded == math.fsum(values)


@given(bars=lists(tuples(numbers, numbers), min_size=1, max_size=30), cut=integers(0, 30))
def test_a_day_is_the_same_in_one_piece_and_in_two(bars: list[tuple[float, float]], cut: int) -> None:
    parts = [part(n, close, volume) for n, (close, volume) in enumerate(bars)]
    sessions = SessionsOf()
    for some in (parts[:cut], parts[cut:]):
        known = {p.open_ns: (p, 0) for p in some}
        assert not sessions.needs_parts(DAY, known)
        sessions.take(DAY, some, anew=False)
        sessions = SessionsOf(
            {date: Session.of_stored(held.figures() | held.state()) for date, held in sessions.held.items()}
        )
    assert sessions.held[DAY].figures() == day_of(parts)
    assert sessions.held[DAY].volume.rounded == math.fsum(volume for _, volume in bars)


def test_only_bars_that_follow_the_others_are_added_to_them() -> None:
    sessions = SessionsOf()
    sessions.take(DAY, [part(60, 1.0)], anew=False)
    assert not sessions.needs_parts(DAY, {120: (part(120, 1.0), 0)})
    assert sessions.needs_parts(DAY, {30: (part(30, 1.0), 0)})
    assert sessions.needs_parts(DAY, {120: (part(120, None), 1)})
    assert not sessions.needs_parts("2024-05-02", {30: (part(30, 1.0), 1)})


def test_a_change_is_from_the_session_before_that_traded() -> None:
    sessions = SessionsOf()
    sessions.take_own_bar("2024-04-29", part(0, 50.0))
    sessions.take_own_bar("2024-04-30", part(1, None))
    sessions.take(DAY, [part(2, 60.0), part(3, 75.0)], anew=False)
    assert sessions.settle() == []
    figures = sessions.held[DAY].figures()
    assert (figures["reference"], figures["change"], figures["change_percent"]) == (50.0, 25.0, 50.0)
    assert sessions.held["2024-04-29"].figures()["previous_close"] is None
    assert sessions.newest is sessions.held[DAY]


def test_the_oldest_days_go_and_what_comes_for_them_changes_nothing() -> None:
    sessions = SessionsOf()
    dates = [f"2024-05-{n:02}" for n in range(1, SESSIONS_KEPT + 3)]
    for n, date in enumerate(dates):
        sessions.take_own_bar(date, part(n, float(n + 1)))
    assert sessions.settle() == dates[:2]
    assert sessions.held[dates[2]].previous_close == 2.0
    sessions.changed.clear()
    sessions.take_own_bar(dates[0], part(0, 99.0))
    sessions.take(dates[1], [part(0, 99.0)], anew=False)
    sessions.take_own_bar(dates[2], part(2, 7.0))  # the oldest that is held keeps what it is compared with
    assert sessions.settle() == []
    assert sessions.changed == {dates[2], dates[3]}
    assert sessions.held[dates[2]].previous_close == 2.0


def test_a_day_without_a_reference_has_no_change_and_a_bar_without_vwap_counts_by_its_close() -> None:
    assert Session(DAY).figures()["change_percent"] is None
    assert Part.of(row("A", "1d", 0, 4.0, vwap=None, volume=3.0)).value == 12.0
    assert Part.of({**row("A", "1d", 0, 4.0), "vwap": None, "volume": None, "close": None}).value == 0.0


@pytest.mark.parametrize(("given_date", "found"), [("2024-07-03", "2024-07-03"), (None, "2024-05-01")])
def test_a_bar_without_a_session_date_belongs_to_its_utc_day(given_date: str | None, found: str) -> None:
    assert date_of(row("A", "1m", 1_714_521_600 + 86_399, 1.0, session_date=given_date)) == found
