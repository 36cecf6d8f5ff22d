"""Sessions against what New York's exchange published (nyse.com, holidays and trading hours)."""

from datetime import UTC, date, datetime

import pytest

from marketpulse.app.charts.sessions import sessions
from marketpulse.settings import EngineSettings

EPOCH = date(1970, 1, 1)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def test_christmas_week_2024_in_new_york_has_a_half_day_and_a_holiday() -> None:
    found = sessions(EngineSettings(), "XNYS", ms("2024-12-23T12:00"), ms("2024-12-27T00:00"))
    assert found["calendar"] == "XNYS"
    days = {(EPOCH.toordinal() + s["date"]): s for s in found["sessions"]}
    assert sorted(days) == [date(2024, 12, d).toordinal() for d in (23, 24, 26)]
    eve = days[date(2024, 12, 24).toordinal()]
    assert (eve["open_ms"], eve["close_ms"], eve["half_day"]) == (ms("2024-12-24T14:30"), ms("2024-12-24T18:00"), True)
    assert (eve["pre_ms"], eve["post_ms"]) == (ms("2024-12-24T09:00"), ms("2024-12-24T22:00"))
    assert not days[date(2024, 12, 26).toordinal()]["half_day"]


def test_daylight_saving_moves_the_open_by_an_hour() -> None:
    found = sessions(EngineSettings(), "XNYS", ms("2024-03-08T06:00"), ms("2024-03-12T00:00"))
    assert [s["open_ms"] for s in found["sessions"]] == [ms("2024-03-08T14:30"), ms("2024-03-11T13:30")]


@pytest.mark.parametrize("venue", [None, "XSIM"])
def test_an_unknown_venue_has_the_default_calendar(venue: str | None) -> None:
    span = ms("2024-12-23T00:00"), ms("2024-12-25T00:00")
    assert sessions(EngineSettings(), venue, *span) == {"calendar": "24x7", "built": "24x7", "sessions": []}
    found = sessions(EngineSettings(calendar="XNYS"), venue, *span)
    assert (found["calendar"], len(found["sessions"])) == ("XNYS", 2)


def test_a_venue_may_trade_by_anothers_calendar() -> None:
    found = sessions(
        EngineSettings(venue_calendars={"MINE": "XNYS"}), "MINE", ms("2024-12-24T06:00"), ms("2024-12-25T00:00")
    )
    assert [s["half_day"] for s in found["sessions"]] == [True]
