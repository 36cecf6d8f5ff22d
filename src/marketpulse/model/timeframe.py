"""Timeframes: `1s 1m 5m 1h 1d` cut bars by time, `1t 100t` by the number of trades."""

import re
from dataclasses import dataclass
from enum import IntEnum

from marketpulse.errors import ParameterError

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
_UNIT_NS = {"s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3_600 * SECOND_NS}
SECONDS_SQL = """CAST(substr(timeframe, 1, length(timeframe) - 1) AS bigint) * CASE substr(timeframe, length(timeframe))
    WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd' THEN 86400 ELSE 1000000 END"""
"""The length of a column `timeframe`, in the words that DuckDB, PostgreSQL and Athena share. Bars by a number of trades are
longer than all others: whoever looks for the smallest bars wants bars of time."""

_PATTERN = re.compile(r"([1-9][0-9]{0,5})([smhdt])")


class Cut(IntEnum):
    """What ends a bar."""

    TIME = 0  # a length of time, anchored at the session's open
    SESSION = 1  # the session's close (`1d`)
    TICKS = 2  # a number of trades


@dataclass(frozen=True, slots=True)
class Timeframe:
    """One way to cut trades into bars.

    `length` is nanoseconds for TIME and SESSION, a count of trades for TICKS.
    """

    name: str
    cut: Cut
    length: int

    @classmethod
    def parse(cls, text: str) -> "Timeframe":
        """`"5m"` -> five minutes. Raises ParameterError for anything that is not a timeframe."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ParameterError(f"timeframe {text!r}: write a number and a unit, such as 1s, 5m, 1h, 1d or 100t")
        count, unit = int(match[1]), match[2]
        name = f"{count}{unit}"
        if unit == "t":
            return cls(name, Cut.TICKS, count)
        if unit == "d":
            if count != 1:
                raise ParameterError(f"timeframe {name}: of days only 1d, the session, is known")
            return cls(name, Cut.SESSION, DAY_NS)
        length = count * _UNIT_NS[unit]
        if length >= DAY_NS:
            raise ParameterError(f"timeframe {name}: from a day on, write 1d (the session)")
        return cls(name, Cut.TIME, length)


def is_by_count(name: str) -> bool:
    """Whether the timeframe of this name cuts bars by a number of trades."""
    return name.endswith("t")


def parse_timeframes(texts: list[str] | tuple[str, ...]) -> tuple[Timeframe, ...]:
    """Timeframes in the order in which bars are built: tick bars, then by length, `1d` last.

    Larger bars are built from smaller ones, so each length must be a multiple of the smallest.
    Raises ParameterError when one is not, or when none is given.
    """
    frames = sorted({Timeframe.parse(t) for t in texts}, key=lambda f: (f.cut != Cut.TICKS, f.length))
    timed = [f for f in frames if f.cut == Cut.TIME]
    for frame in timed:
        if frame.length % timed[0].length:
            raise ParameterError(
                f"timeframe {frame.name} cannot be built from {timed[0].name}: add a smaller one that divides both"
            )
    if not frames:
        raise ParameterError("timeframes: name at least one, such as 1m")
    return tuple(frames)
