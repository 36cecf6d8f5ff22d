"""Wall clock times of one zone -> UTC, the hour that comes twice included."""

import numpy as np
import polars as pl

from marketpulse.errors import SettingsError
from marketpulse.model.market import EARLIEST_TIME_NS, LATEST_TIME_NS, Ints
from marketpulse.model.timeframe import DAY_NS, SECOND_NS
from marketpulse.sources.times import NAIVE, Mask, Times

HALF_HOUR_NS = 1_800 * SECOND_NS


class LocalClock:
    """Wall clock times of one zone -> UTC, in the order of the file.

    An hour that a zone runs through twice (the end of summer time) is taken as the first until the
    clock is seen to step back: by half an hour or more for trades and quotes, by any repeat of a
    label for bars; then it is the second. An hour that the zone skips does not exist: not valid.
    It remembers where it was between calls, so a long file may come in pieces.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._newest: dict[tuple[int, int], int] = {}
        self._second: set[tuple[int, int]] = set()
        try:
            pl.Series([0]).cast(pl.Datetime("ns")).dt.replace_time_zone(zone)
        except pl.exceptions.PolarsError:
            raise SettingsError(
                f"mapping.timezone {zone!r} is not a known zone: write one such as America/New_York or UTC"
            ) from None

    def to_utc(self, times: Times, group: Ints, bars: bool) -> tuple[Ints, Mask]:
        """(utc_ns, valid). `group` (n,) tells series of one symbol apart; `bars`: times are bars' labels."""
        utc, valid = times.local_ns.copy(), times.valid.copy()
        zoned = times.offset_ns != NAIVE
        utc[zoned] -= times.offset_ns[zoned]
        naive = np.flatnonzero(~zoned & valid)
        if naive.size and self.zone != "UTC":
            utc[naive], exists = self._naive_to_utc(times.local_ns[naive], group[naive], bars)
            valid[naive] &= exists
        valid &= (utc >= EARLIEST_TIME_NS) & (utc < LATEST_TIME_NS)
        return utc, valid

    def _naive_to_utc(self, local: Ints, group: Ints, bars: bool) -> tuple[Ints, Mask]:
        wall = pl.Series(local).cast(pl.Datetime("ns"))
        first, second = (
            wall.dt.replace_time_zone(self.zone, ambiguous=which, non_existent="null").dt.epoch("ns")
            for which in ("earliest", "latest")
        )
        exists = first.is_not_null().to_numpy()
        early, late = (s.fill_null(0).to_numpy().astype(np.int64) for s in (first, second))
        twice = np.flatnonzero(early != late)
        if twice.size:
            descending = local[-1] < local[0]
            order = twice[::-1] if descending else twice
            again = self._second_time(local[order], group[order], bars)
            early[order[again]] = late[order[again]]
        return early, exists

    def _second_time(self, local: Ints, group: Ints, bars: bool) -> Mask:
        # One row at a time: these are the rows of one hour of the year.
        again = np.zeros(len(local), np.bool_)
        for i, (series, at) in enumerate(zip(group.tolist(), local.tolist(), strict=True)):
            key = (series, at // DAY_NS)
            newest = self._newest.get(key)
            if newest is not None and (newest - at >= HALF_HOUR_NS or (bars and at <= newest)):
                self._second.add(key)
            self._newest[key] = at if newest is None else max(newest, at)
            again[i] = key in self._second
        return again
