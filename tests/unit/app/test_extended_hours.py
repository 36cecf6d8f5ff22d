"""Sessions by the venue's clock, regular and extended, as they are kept, published, and asked for by charts and feeds."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from marketpulse.app.calendars import SessionKind, regular_days, sessions_by, sessions_of
from marketpulse.app.charts.sessions import sessions
from marketpulse.app.extended_hours import EXTENDED_HOURS
from marketpulse.app.trading_hours import open_between
from marketpulse.errors import ParameterError
from marketpulse.model.session import DaySpan, SessionTable
from marketpulse.settings import EngineSettings
from refused import assert_raises


def as_numbers(table: SessionTable) -> list[list[int]]:
    return [table.open_ns.tolist(), table.close_ns.tolist(), table.date.tolist()]


def hours_on(table: SessionTable, date: str) -> tuple[str, str] | None:
    """The session of a date in UTC, as hh:mm, more than 24 hours on the day after; None without one."""
    day = int(np.datetime64(date, "D").astype(int))
    if day not in table.date.tolist():
        return None
    at = table.date.tolist().index(day)
    opens, closes = (int(t - day * 86_400 * 10**9) / (60 * 10**9) for t in (table.open_ns[at], table.close_ns[at]))
    return f"{opens // 60:02.0f}:{opens % 60:02g}", f"{closes // 60:02.0f}:{closes % 60:02g}"


def table_of(name: str, kind: SessionKind, **hours: tuple[str, str]) -> SessionTable:
    table = sessions_by(kind, {mic: DaySpan.parse(span) for mic, span in hours.items()})(name)
    assert table is not None
    return table


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def ms(text: str) -> int:
    return ns(text) // 10**6


@pytest.mark.parametrize(
    ("date", "regular", "extended"),
    [
        ("2026-03-06", ("14:30", "21:00"), ("09:00", "25:00")),  # the last day of winter time
        ("2026-03-09", ("13:30", "20:00"), ("08:00", "24:00")),  # the first of summer time
        ("2026-10-30", ("13:30", "20:00"), ("08:00", "24:00")), ("2026-11-02", ("14:30", "21:00"), ("09:00", "25:00")),
        ("2025-11-28", ("14:30", "18:00"), ("09:00", "22:00")),  # half-days: until 13:00 and 17:00
        ("2025-12-24", ("14:30", "18:00"), ("09:00", "22:00")),
        ("2025-11-27", None, None), ("2026-01-01", None, None),  # holidays
        ("2026-01-03", None, None),  # a Saturday
    ],
)  # fmt: skip
def test_new_york_by_regular_and_by_extended_hours(
    date: str, regular: tuple[str, str] | None, extended: tuple[str, str] | None
) -> None:
    """From the exchange's published calendar; 04:00 and 20:00 New York time are the tapes' hours."""
    assert hours_on(table_of("XNYS", "regular"), date) == regular
    assert hours_on(table_of("XNYS", "extended"), date) == extended


def test_extended_days_have_their_auctions_24x7_takes_every_known_venue_and_the_settings_only_lengthen() -> None:
    table = table_of("XHKG", "extended")
    assert hours_on(table, "2025-12-23") == ("01:00", "08:10")
    assert hours_on(table, "2025-12-24") == ("01:00", "04:10")  # a half-day
    assert as_numbers(table_of("XLON", "extended")) == as_numbers(table_of("XLON", "regular"))
    assert [name for name in EXTENDED_HOURS if sessions_of(name) is None] == [], "each names a calendar that exists"
    assert table_of("24x7", "extended").around_the_clock
    assert table_of("XNYS", "24x7").around_the_clock
    assert sessions_by("24x7", {})("ZZZZ") is sessions_by("extended", {})("ZZZZ") is None
    assert open_between("24x7")(ns("2026-12-25T12:00"), ns("2026-12-25T12:01"))
    assert_raises(ParameterError, "XXXX", open_between, "XXXX")
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


@pytest.mark.parametrize("span", ["20:00 04:00", "04:00 04:00", "4:00 20:00", "04:00 24:01", "04:00"])
def test_hours_that_are_no_span_of_a_day_are_refused(span: str) -> None:
    assert_raises(ParameterError, "two times of one day", DaySpan.parse, tuple(span.split()))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MARKETPULSE_CACHE_DIR", str(tmp_path / "cache"))
    regular_days.cache_clear()
    yield tmp_path / "cache"
    regular_days.cache_clear()


def kept_files(cache: Path) -> list[Path]:
    return sorted((cache / "calendars").iterdir())


def asked_again(name: str) -> SessionTable:
    regular_days.cache_clear()
    table = sessions_of(name)
    assert table is not None
    return table


def test_a_kept_table_is_the_one_worked_out_with_its_extended_hours_and_a_torn_one_is_made_anew(cache: Path) -> None:
    worked_out = asked_again("XNYS")
    assert len(kept_files(cache)) == 1
    kept = asked_again("XNYS")
    assert as_numbers(kept) == as_numbers(worked_out)
    assert [kept.open_ns.dtype, kept.date.dtype] == [np.int64, np.int32]
    assert hours_on(kept, "2024-07-03") == ("13:30", "17:00")  # a half-day
    for content in (b"", b"PK\x03\x04 torn", b"no archive at all"):
        kept_files(cache)[0].write_bytes(content)
        assert [as_numbers(asked_again("XNYS")) for _ in range(2)] == [as_numbers(worked_out)] * 2, content
    extended = as_numbers(table_of("XNYS", "extended"))
    for file in kept_files(cache):
        file.unlink()
    regular_days.cache_clear()
    assert as_numbers(table_of("XNYS", "extended")) == extended


def test_an_older_month_goes_when_the_newer_is_kept_which_is_read_without_the_library_that_made_it(cache: Path) -> None:
    (cache / "calendars").mkdir(parents=True)
    for name in ("XNYS", "XLON"):
        (cache / "calendars" / f"{name}-2001-01-1-1-1990.npz").write_bytes(b"old, of XLON another's")
    asked_again("XNYS")
    names = [path.name for path in kept_files(cache)]
    assert (len(names), "XNYS-2001-01-1-1-1990.npz" in names) == (2, False)
    script = (
        "import sys\nfrom marketpulse.app.calendars import sessions_of\n"
        "print(len(sessions_of('XNYS').date) > 8_000, 'pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"


def test_without_a_place_to_keep_it_the_table_is_there_all_the_same(cache: Path) -> None:
    cache.touch()
    assert len(asked_again("XNYS").date) > 8_000
    assert asked_again("24x7").around_the_clock


@pytest.mark.parametrize("name", ["ZZZZ", "24/7", "../x", "", "NOT A MIC"])
def test_an_unknown_venue_has_no_sessions_and_leaves_no_file(cache: Path, name: str) -> None:
    assert sessions_of(name) is None
    assert not cache.exists()


def test_christmas_week_has_a_half_day_and_a_holiday_summer_time_moves_the_open_and_calendars_are_lent() -> None:
    found = sessions(EngineSettings(), "XNYS", ms("2024-12-23T12:00"), ms("2024-12-27T00:00"))
    assert found["calendar"] == "XNYS"
    days = {str(np.datetime64(s["date"], "D")): s for s in found["sessions"]}
    assert sorted(days) == ["2024-12-23", "2024-12-24", "2024-12-26"]
    eve = [days["2024-12-24"][f"{name}_ms"] for name in ("pre", "open", "close", "post")]
    assert eve == [ms(f"2024-12-24T{time}") for time in ("09:00", "14:30", "18:00", "22:00")]
    assert (days["2024-12-24"]["half_day"], days["2024-12-26"]["half_day"]) == (True, False)
    found = sessions(EngineSettings(), "XNYS", ms("2024-03-08T06:00"), ms("2024-03-12T00:00"))
    assert [s["open_ms"] for s in found["sessions"]] == [ms("2024-03-08T14:30"), ms("2024-03-11T13:30")]
    mine = EngineSettings(venue_calendars={"MINE": "XNYS"})
    found = sessions(mine, "MINE", ms("2024-12-24T06:00"), ms("2024-12-25T00:00"))
    assert [s["half_day"] for s in found["sessions"]] == [True]


@pytest.mark.parametrize("venue", [None, "XSIM"])
def test_an_unknown_venue_has_the_default_calendar(venue: str | None) -> None:
    span = ms("2024-12-23T00:00"), ms("2024-12-25T00:00")
    assert sessions(EngineSettings(), venue, *span) == {"calendar": "24x7", "built": "24x7", "sessions": []}
    found = sessions(EngineSettings(calendar="XNYS"), venue, *span)
    assert (found["calendar"], len(found["sessions"])) == ("XNYS", 2)


@pytest.mark.parametrize(
    ("begin", "end", "trades"),
    [
        ("2026-03-04T15:00", "2026-03-04T15:00", True),  # 10:00 in New York
        ("2026-03-04T09:30", "2026-03-04T09:30", True),  # 04:30: the pre-market
        ("2026-03-05T02:00", "2026-03-05T08:00", False),  # the night
        ("2026-03-07T02:00", "2026-03-09T07:59", False),  # a weekend, until summer time's 04:00
        ("2026-03-07T02:00", "2026-03-09T08:00", True),
        ("2026-12-25T12:00", "2026-12-25T20:00", False),  # Christmas
    ],
)
def test_a_time_in_new_york(begin: str, end: str, trades: bool) -> None:
    assert open_between("XNYS")(ns(begin), ns(end)) is trades
