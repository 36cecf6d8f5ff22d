"""A looping replay's later rounds: the same rows at later times, days and weeks kept in their places.

Rows of a venue with sessions (a venue or a zone is named), and anything a day or longer, move by
whole weeks, so a Tuesday's session stays a Tuesday's; shorter rows of an unknown venue follow one
another to the minute. Where the zone is known and nothing trades at night, the move is made on the
wall clock of that zone: 09:30 stays 09:30 when summer time comes or goes. Holidays are not known
here: a round that falls on one brings rows that the calendar calls out of session.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from marketpulse.model.market import LATEST_TIME_NS, Ints
from marketpulse.model.timeframe import DAY_NS, SECOND_NS

_WEEK_NS = 7 * DAY_NS
_MINUTE_NS = 60 * SECOND_NS
_NIGHT_END_NS = 4 * 3_600 * SECOND_NS  # clocks are changed between midnight and four


@dataclass(frozen=True, slots=True)
class Rounds:
    """Times of any round. `zone` is None where the move is made in UTC."""

    span_ns: int
    zone: str | None

    def times(self, times: Ints, again: int) -> Ints:
        """(n,) event times of round `again` (0: as recorded)."""
        if not again:
            return times
        shift = again * self.span_ns
        if self.zone is None:
            return times + shift
        local = pl.Series(_local(times, self.zone) + shift).cast(pl.Datetime("ns"))
        moved = local.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null").dt.epoch("ns")
        return moved.to_numpy().astype(np.int64)

    def possible(self, times: Ints, again: int) -> bool:
        """Whether that round still lies in times that can be."""
        return bool(len(times)) and int(times[-1]) + again * self.span_ns < LATEST_TIME_NS - DAY_NS


def rounds_of(times: Ints, zone: str, venues: bool) -> Rounds:
    """How far apart the rounds of these sorted event times lie."""
    if not len(times):
        return Rounds(_WEEK_NS, None)
    covered = int(times[-1] - times[0]) + 1
    sessions = venues or zone != "UTC"
    unit = _WEEK_NS if sessions or covered >= DAY_NS else _MINUTE_NS
    dates = bool(np.all(times % DAY_NS == 0))
    by_day = zone != "UTC" and not dates and bool(np.all(_local(times, zone) % DAY_NS >= _NIGHT_END_NS))
    return Rounds(-(-covered // unit) * unit, zone if by_day else None)


def _local(times: Ints, zone: str) -> Ints:
    wall = pl.Series(times).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return wall.dt.epoch("ns").to_numpy().astype(np.int64)
