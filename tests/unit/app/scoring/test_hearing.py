"""Calendars are found as the engine finds them."""

import pytest

from marketpulse.app.scoring.hearing import calendar_finder, hours_of
from marketpulse.settings import EngineSettings, Settings


@pytest.mark.parametrize(
    ("venue", "of_source", "name"),
    [
        ("XNYS", "24x7", "XNYS"), ("COINBASE", None, "XLON"), ("COINBASE", "24x7", "24x7"), (None, "XNYS", "XNYS"),
        ("HOUSE", None, "XNYS"), (None, "NOWHERE", "XLON"), (None, None, "XLON"),
    ],
)  # fmt: skip
def test_a_venues_calendar_goes_before_its_sources_and_that_before_the_configured_one(
    venue: str | None, of_source: str | None, name: str
) -> None:
    engine = EngineSettings(calendar="XLON", venue_calendars={"HOUSE": "XNYS"})
    assert calendar_finder(engine)(venue, of_source) == name


def test_the_topic_of_the_feeds_has_the_prefix_of_all() -> None:
    hours = hours_of(Settings(kafka={"topic_prefix": "mine."}))
    assert hours.feeds_topic == "mine.feeds"
    table = hours.sessions_of("24x7")
    assert table is not None
    assert table.around_the_clock
