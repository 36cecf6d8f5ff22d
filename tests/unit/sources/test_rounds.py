"""Later rounds of a loop keep days, weeks and local clocks in their places."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from marketpulse.model.market import LATEST_TIME_NS
from marketpulse.sources.rounds import rounds_of

NEW_YORK = ZoneInfo("America/New_York")
WEEK = timedelta(weeks=1)


def ns(*moments: datetime) -> np.ndarray:
    return np.array([int(m.timestamp()) for m in moments], np.int64) * 10**9


def test_sessions_move_by_whole_weeks_on_the_local_clock() -> None:
    tuesday = datetime(2020, 12, 15, 9, 30, tzinfo=NEW_YORK)
    times = ns(tuesday, tuesday + timedelta(days=3))
    rounds = rounds_of(times, "America/New_York", venues=True)
    for again in (1, 13, 14, 52):
        first, last = rounds.times(times, again)
        there = datetime.fromtimestamp(first / 1e9, NEW_YORK)
        assert (there.weekday(), there.hour, there.minute) == (1, 9, 30)  # Tuesday, winter and summer
        assert there.replace(tzinfo=None) == tuesday.replace(tzinfo=None) + again * WEEK
        assert datetime.fromtimestamp(last / 1e9, NEW_YORK).weekday() == 4


def test_dates_stay_midnight_utc_whatever_the_zone() -> None:
    days = ns(datetime(2020, 2, 3, tzinfo=UTC), datetime(2020, 2, 7, tzinfo=UTC))
    rounds = rounds_of(days, "America/New_York", venues=True)
    assert (rounds.times(days, 20) - days == 20 * 7 * 86_400 * 10**9).all()


def test_a_short_stretch_of_an_unknown_venue_follows_itself_to_the_minute() -> None:
    start = datetime(2020, 1, 1, 12, tzinfo=UTC)
    times = ns(start, start + timedelta(seconds=90))
    assert rounds_of(times, "UTC", venues=False).span_ns == 120 * 10**9


def test_a_market_that_never_sleeps_moves_in_utc() -> None:
    start = datetime(2020, 12, 15, tzinfo=UTC)
    times = ns(*(start + timedelta(hours=h) for h in range(30)))
    rounds = rounds_of(times, "America/New_York", venues=True)
    assert rounds.zone is None
    assert (np.diff(rounds.times(times, 14)) == 3_600 * 10**9).all()


def test_rounds_follow_one_another_without_overlap() -> None:
    times = ns(datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 1, 13, tzinfo=UTC))
    rounds = rounds_of(times, "UTC", venues=True)
    assert rounds.times(times, 1)[0] > times[-1]


def test_rounds_end_before_the_times_that_cannot_be() -> None:
    times = ns(datetime(2020, 1, 6, tzinfo=UTC))
    rounds = rounds_of(times, "UTC", venues=True)
    assert rounds.possible(times, 1)
    assert not rounds.possible(times, (LATEST_TIME_NS - int(times[0])) // rounds.span_ns + 1)
