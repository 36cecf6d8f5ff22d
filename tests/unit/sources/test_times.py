"""Times as people write them. Expected values come from Python's own datetime and zoneinfo."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.times import NAIVE, looks_day_first, parse_times

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(moment: datetime) -> int:
    return round((moment - EPOCH) / timedelta(microseconds=1)) * 1_000


def utc_of(text: str, zone: str = "UTC") -> int | None:
    times = parse_times(pl.Series([text]))
    utc, valid = LocalClock(zone).to_utc(times, np.zeros(1, np.int64), bars=False)
    return int(utc[0]) if valid[0] else None


MOMENT = datetime(2020, 1, 31, 21, 5, 6, tzinfo=UTC)
DAY = datetime(2020, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-01-31", DAY),
        ("2020/1/31", DAY),
        ("20200131", DAY),
        ("1/31/2020", DAY),
        ("31/1/2020", DAY),
        ("31.1.2020", DAY),
        ("1/31/20", DAY),
        ("31-Jan-2020", DAY),
        ("Jan 31, 2020", DAY),
        ("January 31, 2020", DAY),
        ("2020-01-31T21:05:06Z", MOMENT),
        ("2020-01-31 21:05:06", MOMENT),
        ("2020-01-31T21:05:06+00:00", MOMENT),
        ("2020-01-31T16:05:06-05:00", MOMENT),
        ("2020-02-01 02:35:06+0530", MOMENT),
        ("20200131210506", MOMENT),
        ("20200131 210506", MOMENT),
        ("1/31/2020 9:05:06 PM", MOMENT),
        ("31.01.2020 21:05:06", MOMENT),
        ("1580504706", MOMENT),
        ("1580504706000", MOMENT),
        ("1580504706000000", MOMENT),
        ("1580504706000000000", MOMENT),
        ("1.580504706e9", MOMENT),
        ("2020-01-31 21:05", MOMENT.replace(second=0)),
        ("1/31/2020 12:00 AM", DAY),
        ("1/31/2020 12:00 PM", DAY.replace(hour=12)),
    ],
)
def test_a_time_is_read_however_it_is_written(text: str, moment: datetime) -> None:
    assert utc_of(text) == ns(moment)


@pytest.mark.parametrize("text", ["", "soon", "2020-02-30", "2020-13-01", "31/4/2020", "2020-01-31 25:00", "-5", "99"])
def test_what_is_no_time_is_not_valid(text: str) -> None:
    assert utc_of(text) is None


def test_nanoseconds_survive() -> None:
    assert utc_of("2020-01-31T21:05:06.123456789Z") == ns(MOMENT) + 123_456_789
    assert utc_of("1580504706.123456789") == ns(MOMENT) + 123_456_789


def test_a_column_may_mix_spellings() -> None:
    texts = ["2020-01-31T21:05:06Z", "1580504706", None, "1/31/2020 9:05:06 PM", "no", "2020-01-31T21:05:06.500Z"]
    times = parse_times(pl.Series(texts))
    assert times.valid.tolist() == [True, True, False, True, False, True]
    assert [int(t) - ns(MOMENT) for t in times.local_ns[times.valid]] == [0, 0, 0, 500_000_000]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
def test_numbers_are_epoch_times_or_calendar_dates(dtype: type[pl.DataType]) -> None:
    times = parse_times(pl.Series([1580504706, 20200131], dtype=dtype))
    assert times.valid.all()
    assert times.local_ns.tolist() == [ns(MOMENT), ns(DAY)]
    assert times.clock.tolist() == [True, False]


def test_a_time_too_large_for_its_unit_does_not_wrap_round() -> None:
    assert not parse_times(pl.Series([99_000_000_000, 2**63 - 1])).valid.any()
    assert not parse_times(pl.Series([float("nan"), 1e300, -1.0])).valid.any()


def test_typed_columns_keep_their_zone() -> None:
    moment = datetime(2020, 7, 1, 9, 30)
    naive = parse_times(pl.Series([moment]))
    zoned = parse_times(pl.Series([moment]).dt.replace_time_zone("America/New_York"))
    assert naive.offset_ns[0] == NAIVE
    assert zoned.offset_ns[0] == 0
    assert zoned.local_ns[0] == ns(moment.replace(tzinfo=NEW_YORK))
    assert not parse_times(pl.Series([date(2020, 7, 1)])).clock[0]


def test_a_custom_format_wins() -> None:
    times = parse_times(pl.Series(["2020.31.01_2105"]), "%Y.%d.%m_%H%M")
    assert times.local_ns[0] == ns(MOMENT.replace(second=0))
    assert parse_times(pl.Series(["31|01|2020"]), "%d|%m|%Y").local_ns[0] == ns(DAY)


def test_a_first_number_above_12_settles_day_and_month_for_the_column() -> None:
    column = pl.Series(["1/2/2020", "13/2/2020"])
    assert looks_day_first(column) is True
    assert looks_day_first(pl.Series(["2/1/2020", "2/13/2020"])) is False
    assert looks_day_first(pl.Series(["1/2/2020"])) is None
    assert parse_times(column).local_ns[0] == ns(datetime(2020, 2, 1, tzinfo=UTC))
    assert parse_times(pl.Series(["1/2/2020"])).local_ns[0] == ns(datetime(2020, 1, 2, tzinfo=UTC))


@given(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["", "Z", "+05:30", "-08:00"]))
def test_every_iso_time_is_what_datetime_says(moment: datetime, zone: str) -> None:
    text = moment.isoformat(sep="T") + zone
    expected = datetime.fromisoformat(text)
    expected = expected if expected.tzinfo else expected.replace(tzinfo=UTC)
    assert utc_of(text) == ns(expected)


def test_zones_ahead_and_behind_are_subtracted() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert utc_of("2020-01-31 21:05:06+09:00") == ns(MOMENT.replace(tzinfo=tokyo))
