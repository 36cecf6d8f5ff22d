"""One source in one partition: its delays, its pace, its beginnings and ends, and what was found wrong with its rows."""

from collections import Counter

import numpy as np

from marketpulse.app.scoring.gaps import GapLedger
from marketpulse.app.scoring.ring import Ring
from marketpulse.model.market import Ints

SLOT_NS = 600 * 10**9  # what is counted by append time is forgotten in steps of ten minutes
PULSE_NS = 5 * 10**9
PULSES = 12  # a minute
KINDS = 3  # trades, quotes, bars
_RATIO = 1.1  # a percentile is right to 5 %
BUCKETS = 180  # from 1 ms up to 8 hours
_LOG_RATIO = float(np.log(_RATIO))


class Stream:
    """`slots`: how many stretches of SLOT_NS are kept."""

    def __init__(self, slots: int) -> None:
        self.lags, self.counts = Ring(slots, BUCKETS), Ring(slots, KINDS)
        self.pulse = Ring(PULSES + 4, 1)
        self.wrong = RareCounts(slots)
        self.gaps = GapLedger()
        self.newest_event_ns = self.newest_ns = 0  # of its rows; when the log had its newest record of any kind
        self.mode: str | None = None  # as the newest hello says; None: none was heard
        self.simulated = self.ended = False
        self.calendar: str | None = None
        self.starts = 0

    def take(self, kinds: Ints, known_ns: Ints, appended_ns: Ints) -> None:
        """n rows: 0, 1, 2 for a trade, quote, bar; when each could be known (a bar: when it closed); when the log had it."""
        slots = appended_ns // SLOT_NS
        lag_ms = np.maximum((appended_ns - known_ns) / 1e6, 1.0)
        buckets = np.minimum(np.log(lag_ms) / _LOG_RATIO, BUCKETS - 1).astype(np.int64)
        self.lags.add(slots, buckets)
        self.counts.add(slots, kinds)
        self.pulse.add(appended_ns // PULSE_NS, np.zeros(len(slots), np.int64))


class RareCounts:
    """Counts by name and slot, for what comes seldom."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._counts: dict[int, Counter[str]] = {}

    def add(self, name: str, at_ns: int) -> None:
        slot = at_ns // SLOT_NS
        self._counts.setdefault(slot, Counter())[name] += 1
        newest = max(self._counts)
        for old in [one for one in self._counts if one <= newest - self._slots]:
            del self._counts[old]

    def since(self, first_slot: int) -> Counter[str]:
        total: Counter[str] = Counter()
        for slot, counts in self._counts.items():
            if slot >= first_slot:
                total.update(counts)
        return total


def lag_at(buckets: Ints, share: float) -> float | None:
    """The delay in ms that this share of the rows stayed under; None without rows."""
    total = int(buckets.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(buckets), share * total))
    return float(_RATIO ** (place + 0.5))
