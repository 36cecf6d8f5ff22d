"""What columns mean: headers met in the wild, numbers and times as people write them, and prices adjusted for a split.

Expected times come from Python's own datetime and zoneinfo.
"""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpulse.errors import SettingsError
from marketpulse.sources.local_clock import LocalClock
from marketpulse.sources.numbers import to_floats
from marketpulse.sources.split_columns import LastCloses
from marketpulse.sources.times import NAIVE, looks_day_first, parse_times

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = datetime(2020, 1, 31, 21, 5, 6, tzinfo=UTC)
DAY = datetime(2020, 1, 31, tzinfo=UTC)


def ns(moment: datetime) -> int:
    return round((moment - EPOCH) / timedelta(microseconds=1)) * 1_000


def utc_of(text: str, zone: str = "UTC") -> int | None:
    times = parse_times(pl.Series([text]))
    utc, valid = LocalClock(zone).to_utc(times, np.zeros(1, np.int64), bars=False)
    return int(utc[0]) if valid[0] else None


@pytest.mark.parametrize(("moment", "texts"), [
    (DAY, ["2020-01-31", "2020/1/31", "20200131", "1/31/2020", "31/1/2020", "31.1.2020", "1/31/20", "31-Jan-2020", "Jan 31, 2020",
           "January 31, 2020", "1/31/2020 12:00 AM"]),
    (MOMENT, ["2020-01-31T21:05:06Z", "2020-01-31 21:05:06", "2020-01-31T21:05:06+00:00", "2020-01-31T16:05:06-05:00",
              "2020-02-01 02:35:06+0530", "20200131210506", "20200131 210506", "1/31/2020 9:05:06 PM", "31.01.2020 21:05:06",
              "1580504706", "1580504706000", "1580504706000000", "1580504706000000000", "1.580504706e9"]),
    (MOMENT.replace(second=0), ["2020-01-31 21:05"]), (DAY.replace(hour=12), ["1/31/2020 12:00 PM"]),
    (MOMENT.replace(tzinfo=timezone(timedelta(hours=9))), ["2020-01-31 21:05:06+09:00"]),
], ids=["a day", "a moment", "a minute", "noon", "in Tokyo"])  # fmt: skip
def test_a_time_is_read_however_it_is_written(moment: datetime, texts: list[str]) -> None:
    assert [(text, utc_of(text)) for text in texts] == [(text, ns(moment)) for text in texts]


def test_what_is_no_time_or_too_large_for_its_unit_is_not_valid_and_nanoseconds_survive() -> None:
    texts = ["", "soon", "2020-02-30", "2020-13-01", "31/4/2020", "2020-01-31 25:00", "-5", "99"]
    assert [text for text in texts if utc_of(text) is not None] == []
    for numbers in ([99_000_000_000, 2**63 - 1], [float("nan"), 1e300, -1.0]):
        assert not parse_times(pl.Series(numbers)).valid.any()
    times = ("2020-01-31T21:05:06.123456789Z", "1580504706.123456789")
    assert [utc_of(text) for text in times] == [ns(MOMENT) + 123_456_789] * 2


def test_a_column_may_mix_spellings_and_a_first_number_above_12_settles_day_and_month_for_it() -> None:
    texts = ["2020-01-31T21:05:06Z", "1580504706", None, "1/31/2020 9:05:06 PM", "no", "2020-01-31T21:05:06.500Z"]
    times = parse_times(pl.Series(texts))
    assert times.valid.tolist() == [True, True, False, True, False, True]
    assert [int(t) - ns(MOMENT) for t in times.local_ns[times.valid]] == [0, 0, 0, 500_000_000]
    texts_of = (["1/2/2020", "13/2/2020"], ["2/1/2020", "2/13/2020"], ["1/2/2020"])
    by_day, by_month, either = map(pl.Series, texts_of)
    assert [looks_day_first(column) for column in (by_day, by_month, either)] == [True, False, None]
    firsts = [parse_times(column).local_ns[0] for column in (by_day, either)]
    assert firsts == [ns(datetime(2020, month, day, tzinfo=UTC)) for month, day in ((2, 1), (1, 2))]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
def test_numbers_are_epoch_times_or_calendar_dates(dtype: type[pl.DataType]) -> None:
    times = parse_times(pl.Series([1580504706, 20200131], dtype=dtype))
    assert (times.valid.tolist(), times.clock.tolist()) == ([True, True], [True, False])
    assert times.local_ns.tolist() == [ns(MOMENT), ns(DAY)]


def test_typed_columns_keep_their_zone_a_custom_format_wins_and_an_unknown_zone_names_itself() -> None:
    moment = datetime(2020, 7, 1, 9, 30)
    naive = parse_times(pl.Series([moment]))
    zoned = parse_times(pl.Series([moment]).dt.replace_time_zone("America/New_York"))
    assert (naive.offset_ns[0], zoned.offset_ns[0]) == (NAIVE, -4 * 3_600 * 10**9)
    assert zoned.local_ns[0] == naive.local_ns[0] == ns(moment.replace(tzinfo=UTC))
    assert not parse_times(pl.Series([date(2020, 7, 1)])).clock[0]
    assert parse_times(pl.Series(["2020.31.01_2105"]), "%Y.%d.%m_%H%M").local_ns[0] == ns(MOMENT.replace(second=0))
    assert parse_times(pl.Series(["31|01|2020"]), "%d|%m|%Y").local_ns[0] == ns(DAY)
    with pytest.raises(SettingsError, match="Atlantis"):
        LocalClock("Sea/Atlantis")


@given(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)), st.sampled_from(["", "Z", "+05:30", "-08:00"]))
def test_every_iso_time_is_what_datetime_says(moment: datetime, zone: str) -> None:
    text = moment.isoformat(sep="T") + zone
    expected = datetime.fromisoformat(text)
    expected = expected if expected.tzinfo else expected.replace(tzinfo=UTC)
    assert utc_of(text) == ns(expected)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)))
def test_new_york_times_are_what_zoneinfo_says(moment: datetime) -> None:
    there = moment.replace(tzinfo=NEW_YORK)
    exists = there.astimezone(UTC).astimezone(NEW_YORK).replace(tzinfo=None) == moment
    expected = ns(there.astimezone(UTC)) if exists else None
    assert utc_of(moment.isoformat(sep=" "), "America/New_York") == expected


@pytest.mark.parametrize(("clock", "bars", "minutes"), [
    (["01:10", "01:50", "01:05", "01:40", "02:00"], False, [10, 50, 65, 100, 120]), (["01:00", "01:00", "02:00"], True, [0, 60, 120]),
    (["02:00", "01:40", "01:05", "01:50", "01:10"], False, [120, 100, 65, 50, 10]), (["01:10"] * 3, False, [10, 10, 10]),
], ids=["the clock steps back", "bars repeat a label", "a file that runs backwards", "trades of the same second are no second hour"])  # fmt: skip
def test_the_hour_that_comes_twice_is_told_by(clock: list[str], bars: bool, minutes: list[int]) -> None:
    """Minutes after 01:00 of daylight time, on the day on which New York leaves it."""
    times = parse_times(pl.Series([f"2020-11-01 {label}" for label in clock]))
    utc, valid = LocalClock("America/New_York").to_utc(times, np.zeros(len(clock), np.int64), bars)
    assert valid.all()
    assert [int(t - ns(datetime(2020, 11, 1, 5, tzinfo=UTC))) // 60_000_000_000 for t in utc] == minutes


NUMBERS = {
    "437.60": 437.6, " 12 ": 12.0, "1,234": 1234.0, "1,234,567.5": 1234567.5, "$12.30": 12.3, "1.2M": 1_200_000.0, "340K": 340_000.0,
    "2.5B": 2.5e9, "1e13": 1e13, "10000000000000": 1e13, "12,34,567": 1234567.0, "-5": -5.0, "1_000": 1000.0,
}  # fmt: skip


def number_of(text: str | None, decimal_comma: bool = False) -> tuple[float, bool, bool]:
    """(the number, whether there is one, whether it can be read)."""
    values, present, readable = to_floats(pl.Series([text], dtype=pl.String), decimal_comma=decimal_comma)
    return values[0], present[0], readable[0]


def test_numbers_are_read_however_they_are_written_and_typed_columns_pass_as_they_are() -> None:
    assert {text: number_of(text) for text in NUMBERS} == {text: (n, True, True) for text, n in NUMBERS.items()}
    for blank in ("", "  ", "null", "N/A", "NaN", "-", None):
        number, *state = number_of(blank)
        assert (math.isnan(number), state) == (True, [False, True])
    for text in ("abc", "1.2.3", "12 apples", "1,23"):
        assert number_of(text)[1:] == (True, False)
    commas = {"12,5": 12.5, "1.234,5": 1234.5, "7": 7.0, "1.25": 1.25}
    found = {text: number_of(text, decimal_comma=True) for text in commas}
    assert found == {text: (number, True, True) for text, number in commas.items()}
    values, present, _ = to_floats(pl.Series([1, None, 3]))
    assert (values[[0, 2]].tolist(), present.tolist()) == ([1.0, 3.0], [True, False, True])
    assert to_floats(pl.Series(["1.25"]).cast(pl.Decimal(10, 2)))[0][0] == 1.25


Row = tuple[str, int, float, float, float | None]


def bars(*rows: Row) -> tuple[pl.DataFrame, np.ndarray]:
    """Symbol, day, open, close, split."""
    frame = pl.DataFrame(rows, ["symbol", "day", "open", "close", "split"], orient="row")
    return frame.with_columns(pl.col("split").cast(pl.Float64)), frame["day"].to_numpy() * 86_400 * 10**9


RAW = [("A", 1, 400.0, 404.0, None), ("A", 2, 101.5, 99.0, 4.0), ("A", 3, 98.0, 97.0, None)]
ADJUSTED = [("A", 1, 100.0, 101.0, None), *RAW[1:]]
REVERSE = [("A", 1, 1.0, 1.1, None), ("A", 2, 10.5, 11.0, 0.1)]


@pytest.mark.parametrize(("rows", "expected"), [
    (RAW, [False, False, False]), (ADJUSTED, [False, True, False]), (REVERSE, [False, False]), ([RAW[1]], [False]),
    (ADJUSTED[::-1], [False, True, False]), (RAW[::-1], [False, False, False]),
], ids=["raw", "adjusted", "a reverse split", "nothing is said of the first row", "adjusted, newest first", "raw, newest first"])  # fmt: skip
def test_the_prices_say_whether_they_are_adjusted(rows: list[Row], expected: list[bool]) -> None:
    assert LastCloses().adjusted(*bars(*rows)).tolist() == expected


def test_the_bar_before_may_lie_in_another_block_and_be_of_another_symbol() -> None:
    closes = LastCloses()
    closes.adjusted(*bars(ADJUSTED[0], ("B", 1, 400.0, 404.0, None)))
    assert closes.adjusted(*bars(("B", 2, 101.5, 99.0, 4.0), ADJUSTED[1])).tolist() == [False, True]
