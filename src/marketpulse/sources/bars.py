"""What a bar's label means: its timeframe, where it opens and closes, which session it is.

An intraday label is the bar's open; it closes one timeframe later. A bar of a day stands for a
session: it covers `[midnight UTC of its date, +24 h)` and carries the date. A bar is known when it
has closed, so its event time is its close. Where a row gives its own `close_time_ns`, that holds.
"""

import re

import numpy as np
import polars as pl

from marketpulse.errors import Fatal, ParameterError
from marketpulse.model.market import Ints
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, Timeframe
from marketpulse.settings import Mapping
from marketpulse.sources.normalise import Rows
from marketpulse.sources.times import Mask

_SUMMER_TIME_NS = 3_600 * SECOND_NS
_WORDS = re.compile(r"(\d*)[ _-]?(s|sec|second|m|min|minute|h|hour|d|day|daily)s?", re.IGNORECASE)


_DAYS_OF_LONGER = ((6, 8), (28, 31), (89, 92), (365, 366))
"""How many days two labels are apart in bars of a week, a month, a quarter and a year."""
_USUAL_S = (43_200, 28_800, 21_600, 14_400, 7_200, 3_600, 1_800, 1_200, 900, 600, 300, 180, 120, 60, 30, 15, 10, 5, 1)
_FEW_STEPS = 3


def infer_timeframe(rows: Rows, *, sparse: bool = False) -> str | None:
    """Infer the bars' timeframe from the steps between two labels of a symbol.

    Labels at midnight, or all at one time of day, are days, however far apart: some may be missing. Within a day it is
    the step that most labels have; where none is that common, the longest usual length that divides all of them.
    Returns None when no symbol has two labels and they are no days. Raises ParameterError when the rows are a week, a
    month or more apart throughout (unless they are `sparse`: some of a series), or at no whole number of seconds.
    """
    steps = _steps(rows)
    if not _are_midnights(rows):
        if not steps.size:
            return None
        if not np.all(_is_days(steps)):
            return _name_within_a_day(steps)
    if not sparse:
        _refuse_longer_than_days(steps)
    return "1d"


def is_lone_midnight(rows: Rows) -> bool:
    """Whether all labels are one midnight with a time of day: a day, or the first of many bars within it."""
    return _are_midnights(rows) and bool(rows.frame["has_clock"].all()) and not np.ptp(rows.time_ns)


def contradict(rows: Rows, timeframe: str) -> bool:
    """Whether two steps or more are no multiple of this timeframe; one may be a label that is odd."""
    steps, length = _steps(rows), Timeframe.parse(timeframe).length
    fits = _is_days(steps) if length == DAY_NS else steps % length == 0
    return int(np.count_nonzero(~fits)) > 1


def _steps(rows: Rows) -> Ints:
    """From each label to the symbol's next one, in order of time; those that come twice count once."""
    symbols = rows.frame["symbol"].rank("dense").to_numpy()
    order = np.lexsort((rows.time_ns, symbols))
    steps = np.diff(rows.time_ns[order])[np.diff(symbols[order].astype(np.int64)) == 0]
    positive: Ints = steps[steps > 0]
    return positive


def _are_midnights(rows: Rows) -> bool:
    return len(rows) > 0 and bool(np.all(rows.local_ns % DAY_NS == 0))


def _is_days(steps: Ints) -> Mask:
    days = _round_days(steps)
    fits: Mask = (days > 0) & (np.abs(steps - days * DAY_NS) <= _SUMMER_TIME_NS)
    return fits


def _round_days(steps: Ints) -> Ints:
    return (steps + DAY_NS // 2) // DAY_NS


def _name_within_a_day(steps: Ints) -> str:
    lengths, counts = np.unique(steps, return_counts=True)
    length = int(lengths[counts.argmax()])
    usual = [seconds * SECOND_NS for seconds in _USUAL_S]
    if 2 * counts.max() <= steps.size or (steps.size < _FEW_STEPS and length not in usual):
        divisor = int(np.gcd.reduce(steps))
        length = next((some for some in usual if divisor % some == 0), divisor)
    if length > 20 * 3_600 * SECOND_NS:
        return "1d"
    for unit, size in (("h", 3_600), ("m", 60), ("s", 1)):
        if length % (size * SECOND_NS) == 0:
            return f"{length // (size * SECOND_NS)}{unit}"
    raise ParameterError(f"its bars are {length / SECOND_NS} s apart: set mapping.timeframe")


def _refuse_longer_than_days(steps: Ints) -> None:
    days = _round_days(steps)
    for least, most in _DAYS_OF_LONGER:
        if steps.size > 1 and np.mean((days >= least) & (days <= most)) >= 0.8:
            raise ParameterError(
                f"its bars are {int(np.median(days))} days apart, and of bars longer than an hour only days are known:"
                " set mapping.timeframe to 1d if each row is one session all the same"
            )


def timeframe_of_rows(rows: Rows, mapping: Mapping, known: str | None, where: str) -> tuple[list[Timeframe], Ints]:
    """(timeframes, index into them of each row): its own, else the configured, else `known`, else inferred.

    Raises Fatal when it is needed and cannot be told.
    """
    own = rows.frame["timeframe"]
    names = _own_names(own)
    usual = mapping.timeframe or known or usual_timeframe(rows, where)
    frames = [Timeframe.parse(name) for name in dict.fromkeys([*(n or usual for n in names.values()), usual]) if name]
    place = {frame.name: i for i, frame in enumerate(frames)}
    default = place[Timeframe.parse(usual).name] if usual else 0
    texts = {text: place[Timeframe.parse(name).name] if name else default for text, name in names.items()}
    index = (
        own.replace_strict(texts, default=default, return_dtype=pl.Int64)
        if texts
        else pl.repeat(default, len(own), eager=True, dtype=pl.Int64)
    )
    return frames, index.to_numpy()


def usual_timeframe(rows: Rows, where: str) -> str | None:
    """The timeframe of the rows that do not name theirs, inferred; None where every row does.

    Raises Fatal when it cannot be told.
    """
    own = rows.frame["timeframe"]
    if not own.null_count() and None not in _own_names(own).values():
        return None
    try:
        usual = infer_timeframe(rows)
    except ParameterError as error:
        raise Fatal(f"{where}: {error}") from None
    if usual is None:
        raise Fatal(
            f"{where}: cannot tell the length of its bars from one label per symbol: set mapping.timeframe (--timeframe)"
        )
    return usual


def _own_names(column: pl.Series) -> dict[str, str | None]:
    return {text: _own_name(text) for text in column.unique().drop_nulls().to_list()}


def _own_name(text: str) -> str | None:
    """A timeframe as a row writes it (`1m`, `1Min`, `day`), or None when it is none that we know."""
    match = _WORDS.fullmatch(text.strip())
    try:
        if match is not None:
            return Timeframe.parse(f"{match[1] or 1}{match[2][0].lower()}").name
        return Timeframe.parse(text).name
    except ParameterError:
        return None


def finish(rows: Rows, mapping: Mapping, where: str, known: str | None = None) -> Rows:
    """Rows with `timeframe`, `open_time_ns`, `close_time_ns`, `final`, `session_date`; `time_ns` is their close."""
    frames, index = timeframe_of_rows(rows, mapping, known, where)
    length = np.array([frame.length for frame in frames], np.int64)[index]
    given = rows.frame["close_time_ns"].fill_null(0).to_numpy()
    own_close = given > rows.time_ns
    dated: Mask = (length == DAY_NS) & ~own_close
    date = _local_date(rows, mapping.timezone)
    open_ns = np.where(dated, date * DAY_NS, rows.time_ns)
    close_ns = np.where(own_close, given, open_ns + length)
    names = pl.Series([frame.name for frame in frames])[index.astype(np.uint32)]
    frame = rows.frame.with_columns(
        timeframe=names,
        open_time_ns=pl.Series(open_ns),
        close_time_ns=pl.Series(close_ns),
        final=pl.lit(True),
        session_date=pl.Series(date.astype(np.int32)).set(pl.Series(~dated), None).cast(pl.Date),
    )
    return Rows(frame, close_ns, rows.local_ns, rows.raw)


def _local_date(rows: Rows, zone: str) -> Ints:
    """(n,) the date of each label: as written, or, for a time with a zone or a number, in the mapping's zone."""
    if zone == "UTC":
        return np.floor_divide(rows.local_ns, DAY_NS)
    utc = pl.Series(rows.time_ns).cast(pl.Datetime("ns", "UTC"))
    there = utc.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.epoch("ns").to_numpy()
    midnight = rows.local_ns % DAY_NS == 0
    return np.floor_divide(np.where(midnight, rows.local_ns, there), DAY_NS)
