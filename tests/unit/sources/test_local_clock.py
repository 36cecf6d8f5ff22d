"""Local times -> UTC. Expected values come from Python's own zoneinfo."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.errors import SettingsError
from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.times import parse_times

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(moment: datetime) -> int:
    return round((moment - EPOCH) / timedelta(microseconds=1)) * 1_000


def utc_of(text: str, zone: str) -> int | None:
    utc, valid = LocalClock(zone).to_utc(parse_times(pl.Series([text])), np.zeros(1, np.int64), bars=False)
    return int(utc[0]) if valid[0] else None


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)))
def test_new_york_times_are_what_zoneinfo_says(moment: datetime) -> None:
    there = moment.replace(tzinfo=NEW_YORK)
    exists = there.astimezone(UTC).astimezone(NEW_YORK).replace(tzinfo=None) == moment
    expected = ns(there.astimezone(UTC)) if exists else None
    assert utc_of(moment.isoformat(sep=" "), "America/New_York") == expected


def fold(texts: list[str], bars: bool) -> list[int]:
    times = parse_times(pl.Series(texts))
    utc, valid = LocalClock("America/New_York").to_utc(times, np.zeros(len(texts), np.int64), bars)
    assert valid.all()
    return [int(t - ns(datetime(2020, 11, 1, 5, tzinfo=UTC))) // 60_000_000_000 for t in utc]  # minutes after 01:00 EDT


def test_the_hour_that_comes_twice_is_told_by_the_clock_stepping_back() -> None:
    trades = ["2020-11-01 01:10", "2020-11-01 01:50", "2020-11-01 01:05", "2020-11-01 01:40", "2020-11-01 02:00"]
    assert fold(trades, bars=False) == [10, 50, 65, 100, 120]


def test_bars_tell_the_second_hour_by_a_repeated_label() -> None:
    assert fold(["2020-11-01 01:00", "2020-11-01 01:00", "2020-11-01 02:00"], bars=True) == [0, 60, 120]


def test_a_file_that_runs_backwards_has_the_second_hour_first() -> None:
    trades = ["2020-11-01 02:00", "2020-11-01 01:40", "2020-11-01 01:05", "2020-11-01 01:50", "2020-11-01 01:10"]
    assert fold(trades, bars=False) == [120, 100, 65, 50, 10]


def test_trades_of_the_same_second_are_no_second_hour() -> None:
    assert fold(["2020-11-01 01:10"] * 3, bars=False) == [10, 10, 10]


def test_an_unknown_zone_or_format_names_itself() -> None:
    with pytest.raises(SettingsError, match="Atlantis"):
        LocalClock("Sea/Atlantis")
