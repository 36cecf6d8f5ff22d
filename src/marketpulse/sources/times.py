"""Times as people write them -> int64 nanoseconds UTC, a column at a time.

Taken: ISO dates and times with or without a zone; `m/d/yyyy` and `d/m/yyyy` (told apart by a first
number above 12, else month first); `d.m.yyyy`; `03-Jan-2012`, `Jan 3, 2012`; `yyyymmdd` and
`yyyymmddHHMM[SS]`; epoch seconds, milliseconds, microseconds and nanoseconds, told apart by their
magnitude; AM and PM; a strptime format where all that is not enough.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketpulse.errors import SettingsError
from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS, Floats, Ints
from marketpulse.model.timeframe import DAY_NS, SECOND_NS
from marketpulse.sources.iso_times import days_of, read_iso

Mask = NDArray[np.bool_]

NAIVE = np.iinfo(np.int64).min  # the offset of a time that was written without a zone

_CLOCK = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?"
)
_ZONE = r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
_YEAR_FIRST = r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _CLOCK + _ZONE
_YEAR_LAST = r"^(?P<first>\d{1,2})(?P<mark>[-/.])(?P<other>\d{1,2})[-/.](?P<year>\d{4}|\d{2})" + _CLOCK + _ZONE
_DAY_NAME = r"^(?P<day>\d{1,2})[- ](?P<name>[A-Za-z]{3})[a-z]*[- ,]+(?P<year>\d{4}|\d{2})" + _CLOCK + _ZONE
_NAME_DAY = r"^(?P<name>[A-Za-z]{3})[a-z]*[- ]+(?P<day>\d{1,2}),?[- ]+(?P<year>\d{4})" + _CLOCK + _ZONE
_COMPACT = (
    r"^(?P<year>(?:19|20|21)\d{2})(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:[T ]?(?P<hour>\d{2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,]?(?P<fraction>\d{1,9}))?)?)?" + _ZONE
)
_EPOCH = r"^\d+(?:\.\d*)?(?:[eE]\+?\d+)?$"
_CALENDAR_NUMBERS = ((19000101, 21991231), (190001010000, 219912312359), (19000101000000, 21991231235959))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Times:
    """n times as they were written; every column (n,).

    `local_ns` is the clock on the wall as written, counted as if it were UTC; `offset_ns` what its
    zone is ahead of UTC, NAIVE without one; `clock` whether a time of day was written.
    """

    local_ns: Ints
    offset_ns: Ints
    clock: Mask
    valid: Mask


def parse_times(column: pl.Series, time_format: str | None = None, day_first: bool | None = None) -> Times:
    """Read a column of texts, numbers, dates or datetimes. What cannot be read is not `valid`.

    `day_first` settles `1/2/2020` for a caller who has seen more of the column than these rows.
    Raises SettingsError when `time_format` is no strptime format.
    """
    if column.dtype == pl.Date:
        return _from_datetimes(column.cast(pl.Datetime("ns")), np.zeros(len(column), np.bool_))
    if isinstance(column.dtype, pl.Datetime):
        return _from_datetimes(column, np.ones(len(column), np.bool_))
    if time_format is not None:
        return _from_format(column.cast(pl.String).str.strip_chars(), time_format)
    if column.dtype.is_integer():
        return _from_integers(column.cast(pl.Int64, strict=False))
    if column.dtype.is_numeric():
        return _from_epoch_floats(column.cast(pl.Float64).to_numpy())
    texts = column.cast(pl.String).str.strip_chars()
    numbers = texts.cast(pl.Int64, strict=False)
    if not numbers.null_count():
        return _from_integers(numbers)
    return _from_texts(texts, day_first)


def looks_day_first(column: pl.Series) -> bool | None:
    """Whether `1/2/2020` in this column is the first of February: None when nothing in it tells."""
    if column.dtype != pl.String:
        return None
    parts = column.str.strip_chars().str.extract_groups(_YEAR_LAST).struct
    first, other = (parts.field(n).cast(pl.Int64, strict=False).max() for n in ("first", "other"))
    if isinstance(first, int) and first > 12:
        return True
    return False if isinstance(other, int) and other > 12 else None


def _from_datetimes(column: pl.Series, clock: Mask) -> Times:
    zoned = getattr(column.dtype, "time_zone", None) is not None
    wall = column.dt.replace_time_zone(None).dt.epoch("ns").fill_null(0).to_numpy().astype(np.int64)
    utc = column.dt.epoch("ns").fill_null(0).to_numpy().astype(np.int64)
    offset = wall - utc if zoned else np.full(len(utc), NAIVE, np.int64)
    return _checked(wall, offset, clock, ~column.is_null().to_numpy())


def _from_format(texts: pl.Series, time_format: str) -> Times:
    zoned = "%z" in time_format or "%:z" in time_format or "%#z" in time_format
    try:
        read = texts.str.strptime(pl.Datetime("ns", "UTC") if zoned else pl.Datetime("ns"), time_format, strict=False)
        if read.null_count() == len(read):  # polars wants a date for a format without a time of day
            read = texts.str.strptime(pl.Date, time_format, strict=False).cast(read.dtype)
    except pl.exceptions.PolarsError as error:
        raise SettingsError(f"mapping.time_format {time_format!r} is not a strptime format: {error}") from None
    clock = np.full(len(texts), any(mark in time_format for mark in ("%H", "%I", "%T", "%R", "%k")), np.bool_)
    return _from_datetimes(read, clock)


def _from_integers(column: pl.Series) -> Times:
    """Whole numbers: epoch times, or dates such as 20200131."""
    present = column.is_not_null().to_numpy()
    values = column.fill_null(0).to_numpy()
    if _is_calendar_number(values.astype(np.float64)).any():
        return _from_texts(column.cast(pl.String), None)
    unit = _unit_ns(np.abs(values).astype(np.float64))
    fits = (values >= 0) & (values <= LATEST_TIME_NS // unit)
    n = len(values)
    return _checked(np.where(fits, values, 0) * unit, np.zeros(n, np.int64), np.ones(n, np.bool_), present & fits)


def ns_of_epoch(values: Ints) -> Ints | None:
    """Nanoseconds of epoch times of one unit, when the least and the greatest of them tell that all are such; else None."""
    ends = np.array([values.min(), values.max()], np.float64)
    units = _unit_ns(ends)
    if ends[0] < 0 or units[0] != units[1] or ends[1] > LATEST_TIME_NS // int(units[0]):
        return None
    if any(first <= ends[1] and ends[0] <= last for first, last in _CALENDAR_NUMBERS):
        return None
    return values if units[0] == 1 else values * units[0]


def _from_epoch_floats(values: Floats) -> Times:
    """Numbers with fractions: epoch seconds or milliseconds. A float holds microseconds, no more."""
    safe = np.where(np.isfinite(values) & (values >= 0), values, np.inf)
    unit = _unit_ns(safe)
    fits = safe * unit <= LATEST_TIME_NS
    safe = np.where(fits, safe, 0.0)
    whole = np.floor(safe)
    ns = whole.astype(np.int64) * unit + np.round((safe - whole) * 1e6).astype(np.int64) * unit // 1_000_000
    if _is_calendar_number(values).any():
        return _from_texts(pl.Series(values).cast(pl.Int64, strict=False).cast(pl.String), None)
    n = len(values)
    return _checked(ns, np.zeros(n, np.int64), np.ones(n, np.bool_), fits)


def _is_calendar_number(values: Floats) -> Mask:
    found = np.zeros(len(values), np.bool_)
    for first, last in _CALENDAR_NUMBERS:
        found |= (values >= first) & (values <= last)
    return found


def _unit_ns(values: Floats) -> Ints:
    """Nanoseconds of the unit that an epoch number of this size is written in."""
    units = np.array([1_000_000_000, 1_000_000, 1_000, 1], np.int64)
    return units[np.searchsorted([1e11, 1e14, 1e17], values, side="right")]


def _from_texts(texts: pl.Series, day_first: bool | None) -> Times:
    n = len(texts)
    found = Times(np.zeros(n, np.int64), np.full(n, NAIVE, np.int64), np.zeros(n, np.bool_), np.zeros(n, np.bool_))
    for read in (_iso, _year_first, _compact, _epoch, _year_last, _day_name, _name_day):
        left = np.flatnonzero(~found.valid & texts.is_not_null().to_numpy())
        if not left.size:
            break
        some = read(texts.gather(left) if left.size < n else texts, day_first)
        for target, values in (
            (found.local_ns, some.local_ns), (found.offset_ns, some.offset_ns),
            (found.clock, some.clock), (found.valid, some.valid),
        ):  # fmt: skip
            target[left] = values
    return found


def _iso(texts: pl.Series, day_first: bool | None) -> Times:  # noqa: ARG001
    local, offset, zoned, clock, found = read_iso(texts)
    return _checked(local, np.where(zoned, offset, NAIVE), clock, found)


def _year_first(texts: pl.Series, day_first: bool | None) -> Times:  # noqa: ARG001
    parts = texts.str.extract_groups(_YEAR_FIRST).struct
    return _from_parts(parts, parts.field("year"), parts.field("month"), parts.field("day"))


def _compact(texts: pl.Series, day_first: bool | None) -> Times:  # noqa: ARG001
    # Other lengths of digits are epoch numbers: 8 are a date, 12 or 14 a date and a time.
    calendar = texts.str.contains(r"^\d{8}(?:\d{4}(?:\d{2})?)?$|^\d{8}[T ]")
    parts = texts.set(~calendar, None).str.extract_groups(_COMPACT).struct
    return _from_parts(parts, parts.field("year"), parts.field("month"), parts.field("day"))


def _epoch(texts: pl.Series, day_first: bool | None) -> Times:  # noqa: ARG001
    plain = texts.set(~texts.str.contains(_EPOCH), None)
    values = plain.cast(pl.Float64, strict=False).fill_null(-1.0).to_numpy()
    unit = _unit_ns(values)
    scientific = plain.str.contains("[eE]").fill_null(False).to_numpy()
    whole = plain.str.extract(r"^(\d+)").cast(pl.Int64, strict=False)
    fraction = plain.str.extract(r"\.(\d{1,9})").fill_null("").str.pad_end(9, "0").cast(pl.Int64, strict=False)
    fits = (values >= 0) & (values * unit <= LATEST_TIME_NS)
    exact = (
        np.where(fits, whole.fill_null(0).to_numpy(), 0) * unit + fraction.fill_null(0).to_numpy() * unit // SECOND_NS
    )
    ns = np.where(scientific, np.where(fits, values, 0).astype(np.int64) * unit, exact)
    n = len(texts)
    valid = fits & whole.is_not_null().to_numpy()
    return _checked(ns, np.zeros(n, np.int64), np.ones(n, np.bool_), valid)


def _year_last(texts: pl.Series, day_first: bool | None) -> Times:
    parts = texts.str.extract_groups(_YEAR_LAST).struct
    first, other = parts.field("first"), parts.field("other")
    if day_first is None:
        day_first = bool(looks_day_first(texts))
    dotted = (parts.field("mark") == ".").fill_null(False)
    swap = dotted if not day_first else pl.Series([True] * len(texts), dtype=pl.Boolean)
    return _from_parts(parts, parts.field("year"), other.zip_with(swap, first), first.zip_with(swap, other))


def _day_name(texts: pl.Series, day_first: bool | None) -> Times:  # noqa: ARG001
    parts = texts.str.extract_groups(_DAY_NAME).struct
    return _from_parts(parts, parts.field("year"), _month_number(parts.field("name")), parts.field("day"))


def _name_day(texts: pl.Series, day_first: bool | None) -> Times:  # noqa: ARG001
    parts = texts.str.extract_groups(_NAME_DAY).struct
    return _from_parts(parts, parts.field("year"), _month_number(parts.field("name")), parts.field("day"))


def _month_number(names: pl.Series) -> pl.Series:
    return names.str.to_lowercase().replace_strict(
        list(_MONTHS), [str(i + 1) for i in range(12)], default=None, return_dtype=pl.String
    )


def _from_parts(parts: "pl.series.struct.StructNameSpace", year: pl.Series, month: pl.Series, day: pl.Series) -> Times:
    """Assemble columns of digits. A missing clock is midnight; the 31st of April is not valid."""

    def number(text: pl.Series) -> pl.Series:
        return text.cast(pl.Int64, strict=False)

    def clock(name: str) -> pl.Series:
        return number(parts.field(name)).fill_null(0)

    years = number(year)
    years = years.zip_with(
        (years >= 100).fill_null(True), years + pl.Series([1900]) + (years < 70).cast(pl.Int64) * 100
    )
    days, real = days_of(*(c.fill_null(0).to_numpy() for c in (years, number(month), number(day))))
    hour = clock("hour")
    half = parts.field("half").str.to_lowercase().str.slice(0, 1) if "half" in parts.fields else None
    if half is not None:
        twelve = hour % 12 + (half == "p").cast(pl.Int64) * 12
        hour = hour.zip_with(half.is_null(), twelve)
    minute, second = clock("minute"), clock("second")
    fraction = parts.field("fraction").fill_null("").str.pad_end(9, "0").cast(pl.Int64)
    real &= ((hour < 24) & (minute < 60) & (second < 61)).to_numpy()
    seconds = (hour * 3600 + minute * 60 + second).to_numpy()
    far = np.abs(days) > 100_000  # beyond int64 nanoseconds, and beyond any market
    ns = np.where(far, 0, days) * DAY_NS + seconds * SECOND_NS + fraction.to_numpy()
    has_clock = parts.field("hour").is_not_null().to_numpy()
    return _checked(ns, _offsets(parts.field("zone")), has_clock, real & ~far)


def _offsets(zone: pl.Series) -> Ints:
    digits = zone.str.extract(r"^[+-](\d{2})").cast(pl.Int64, strict=False).fill_null(0)
    minutes = zone.str.extract(r"^[+-]\d{2}:?(\d{2})").cast(pl.Int64, strict=False).fill_null(0)
    sign = zone.str.starts_with("-").fill_null(False).to_numpy()
    ahead = (digits * 3600 + minutes * 60).to_numpy() * SECOND_NS
    return np.where(zone.is_null().to_numpy(), NAIVE, np.where(sign, -ahead, ahead))


def _checked(local_ns: Ints, offset_ns: Ints, clock: Mask, valid: Mask) -> Times:
    """A time outside what the model takes cannot be (the model's limits, a day wider for zones)."""
    possible = (local_ns > EARLIEST_TIME_NS - DAY_NS) & (local_ns < LATEST_TIME_NS + DAY_NS)
    return Times(local_ns.astype(np.int64), offset_ns, np.asarray(clock, np.bool_), np.asarray(valid & possible))
