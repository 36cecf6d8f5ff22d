"""Sessions by the venue's clock: half-days, holidays, both clock changes, with and without extended hours."""

import numpy as np
import pytest

from marketpulse.app.calendars import SessionKind, sessions_by, sessions_of
from marketpulse.app.extended_hours import EXTENDED_HOURS
from marketpulse.errors import ParameterError
from marketpulse.model.session import DaySpan, SessionTable


def as_numbers(table: SessionTable) -> list[list[int]]:
    return [table.open_ns.tolist(), table.close_ns.tolist(), table.date.tolist()]


def hours_on(table: SessionTable, date: str) -> tuple[str, str] | None:
    """The session of a date in UTC, as hh:mm, more than 24 hours on the day after; None without one."""
    day = int(np.datetime64(date, "D").astype(int))
    if day not in table.date.tolist():
        return None
    at = table.date.tolist().index(day)
    minutes = [int(t - day * 86_400_000_000_000) // 60_000_000_000 for t in (table.open_ns[at], table.close_ns[at])]
    return f"{minutes[0] // 60:02d}:{minutes[0] % 60:02d}", f"{minutes[1] // 60:02d}:{minutes[1] % 60:02d}"


def table_of(name: str, kind: SessionKind, **hours: tuple[str, str]) -> SessionTable:
    table = sessions_by(kind, {mic: DaySpan.parse(span) for mic, span in hours.items()})(name)
    assert table is not None
    return table


@pytest.mark.parametrize(
    ("date", "regular", "extended"),
    [
        ("2026-03-06", ("14:30", "21:00"), ("09:00", "25:00")),  # the last day of winter time
        ("2026-03-09", ("13:30", "20:00"), ("08:00", "24:00")),  # the first of summer time
        ("2026-10-30", ("13:30", "20:00"), ("08:00", "24:00")),
        ("2026-11-02", ("14:30", "21:00"), ("09:00", "25:00")),
        ("2025-11-28", ("14:30", "18:00"), ("09:00", "22:00")),  # half-days: until 13:00 and 17:00
        ("2025-12-24", ("14:30", "18:00"), ("09:00", "22:00")),
        ("2025-11-27", None, None),  # holidays
        ("2026-01-01", None, None),
        ("2026-01-03", None, None),  # a Saturday
    ],
)
def test_new_york_by_regular_and_by_extended_hours(
    date: str, regular: tuple[str, str] | None, extended: tuple[str, str] | None
) -> None:
    """From the exchange's published calendar; 04:00 and 20:00 New York time are the tapes' hours."""
    assert hours_on(table_of("XNYS", "regular"), date) == regular
    assert hours_on(table_of("XNYS", "extended"), date) == extended


def test_hong_kongs_auctions_belong_to_its_extended_day_and_a_venue_without_any_keeps_its_regular_ones() -> None:
    table = table_of("XHKG", "extended")
    assert hours_on(table, "2025-12-23") == ("01:00", "08:10")
    assert hours_on(table, "2025-12-24") == ("01:00", "04:10")  # a half-day
    assert as_numbers(table_of("XLON", "extended")) == as_numbers(table_of("XLON", "regular"))


def test_24x7_sessions_take_every_known_venue_around_the_clock_and_an_unknown_one_has_none() -> None:
    assert table_of("24x7", "extended").around_the_clock
    assert table_of("XNYS", "24x7").around_the_clock
    assert sessions_by("24x7", {})("ZZZZ") is sessions_by("extended", {})("ZZZZ") is None


def test_the_configurations_hours_have_the_last_word_but_shorten_no_regular_day() -> None:
    assert hours_on(table_of("XNYS", "extended", XNYS=("07:00", "18:00")), "2026-01-05") == ("12:00", "23:00")
    # Tokyo closed at 15:00, from 2024-11-05 at 15:30: neither is a half-day.
    later = table_of("XTKS", "extended", XTKS=("08:00", "16:00"))
    assert hours_on(later, "2024-11-01") == hours_on(later, "2024-11-05") == ("-1:00", "07:00")
    narrow = table_of("XNYS", "extended", XNYS=("10:00", "15:00"))
    assert as_numbers(narrow) == as_numbers(table_of("XNYS", "regular"))


@pytest.mark.parametrize("name", ["XNYS", "XTKS", "XASX", "CMES"])
def test_extended_days_follow_each_other_without_overlap(name: str) -> None:
    table = table_of(name, "extended", **{name: ("00:00", "24:00")})
    assert (table.open_ns < table.close_ns).all()
    assert (table.close_ns[:-1] <= table.open_ns[1:]).all()


def test_the_table_of_extended_hours_names_calendars_that_exist() -> None:
    assert [name for name in EXTENDED_HOURS if sessions_of(name) is None] == []


@pytest.mark.parametrize(
    "span", [("20:00", "04:00"), ("04:00", "04:00"), ("4:00", "20:00"), ("04:00", "24:01"), ("04:00",)]
)
def test_hours_that_are_no_span_of_a_day_are_refused(span: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError, match="two times of one day"):
        DaySpan.parse(span)
