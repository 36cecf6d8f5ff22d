"""Where one symbol of a polled source stands: which bars are sent, which may still change, what can be promised."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from marketpulse.model.market import LATEST_TIME_NS, Ints
from marketpulse.sources.normalise import Rows
from marketpulse.sources.rest.bar_answer import Reading
from marketpulse.sources.times import Mask

_REMEMBERED = 1_000  # bars of a symbol whose values are known, to notice that the vendor changes one
_VALUES = ("open", "high", "low", "close", "volume")
_Values = tuple[float | None, ...]
_ROUNDED = 1e-6  # a price that was divided by a split's ratio and multiplied again


@dataclass(frozen=True, slots=True)
class Taken:
    """What of an answer goes into the log: `rows`, `changed` of which the vendor had told otherwise before; `ticks` by kind.

    `gap` is (from_ns, to_ns) when the answer does not reach back to what was sent before.
    """

    rows: Rows | None
    changed: int = 0
    gap: tuple[int, int] | None = None
    ticks: Mapping[str, Rows] = field(default_factory=dict)


@dataclass(slots=True)
class Standing:
    """One symbol. Times are nanoseconds UTC."""

    symbol: str
    until_ns: int | None = None  # the close of the newest bar, or the time of the newest tick, that was sent
    promise_ns: int | None = None  # no bar that closes before this will come for the first time
    waiting: int = 0  # rows of the newest answer that are left to the vendor
    _seen: "OrderedDict[int, _Values]" = field(default_factory=OrderedDict)  # by open time
    _seen_from_ns: int | None = None

    def take(
        self, reading: Reading, now_ns: int, *, settle_ns: int, delay_ns: int, truncated: bool,
        asked_to_ns: int = LATEST_TIME_NS,
    ) -> Taken | None:  # fmt: skip
        """The bars of an answer that have closed and are not sent. `truncated`: the answer holds the newest bars only.
        `asked_to_ns`: what is newer was not asked for.

        A bar has closed when it ended `settle_ns` ago and the vendor's data have come past it: a newer bar stands in
        the answer, or a later time. Without such a sign the newest one has when it ended `delay_ns` ago, for a vendor
        that runs behind shows one as its newest that is still forming.
        """
        rows, self.waiting = reading.rows, 0
        if reading.ticks:
            return self._take_ticks(reading, now_ns - settle_ns, min(now_ns - delay_ns, asked_to_ns), truncated)
        if rows is None or not len(rows):
            self._promise(min(now_ns - delay_ns, asked_to_ns))
            return None
        opens, closes = (rows.frame[name].to_numpy() for name in ("open_time_ns", "close_time_ns"))
        closed = closes + settle_ns <= now_ns
        closed[-1] &= int(closes[-1]) <= max(now_ns - delay_ns, reading.reached_ns or 0)
        gap = self._gap(int(opens[0])) if truncated and len(rows) > 1 else None  # one alone is the state of now
        wanted, changed = self._wanted(rows, opens, closes, closed)
        forming = np.flatnonzero(~closed)
        self.waiting = len(forming)
        self._promise(
            min(now_ns, int(closes[forming].min()) - 1)
            if forming.size
            else max(int(closes[-1]), min(now_ns - delay_ns, asked_to_ns))
        )
        if not wanted.any() and gap is None:
            return None
        taken = rows.take(wanted)
        if len(taken):
            self.until_ns = max(self.until_ns or 0, int(taken.frame["close_time_ns"].max()))  # type: ignore[arg-type]
        return Taken(taken, changed, gap)

    def _take_ticks(self, reading: Reading, settled_ns: int, promise_ns: int, truncated: bool) -> Taken | None:
        """Trades and quotes that are newer than what was sent, and so old that all of their time have come.

        Of an answer that is cut by its length, those of the newest time wait: others of that time may stand behind it.
        """
        times = np.sort(np.concatenate([rows.time_ns for rows in reading.ticks.values()]))
        if reading.is_full and times[0] < times[-1]:
            settled_ns = min(settled_ns, int(times[-1]) - 1)
        before = -1 if self.until_ns is None else self.until_ns
        gap = self._gap(int(times[0])) if truncated and len(times) > 1 else None
        self.waiting = int(np.count_nonzero(times > max(before, settled_ns)))
        wanted = times[(times > before) & (times <= settled_ns)]
        if wanted.size:
            self.until_ns = int(wanted[-1])
        self._promise(min(settled_ns, max(promise_ns, self.until_ns or 0)))
        if not wanted.size and gap is None:
            return None
        ticks = {
            kind: rows.take((rows.time_ns > before) & (rows.time_ns <= settled_ns))
            for kind, rows in reading.ticks.items()
        }
        return Taken(None, 0, gap, {kind: rows for kind, rows in ticks.items() if len(rows)})

    def _wanted(self, rows: Rows, opens: Ints, closes: Ints, closed: Mask) -> tuple[Mask, int]:
        """(which rows go into the log, how many of them are other than before)."""
        values = rows.frame.select(_VALUES).cast(pl.Float64).rows()
        wanted, changed = np.zeros(len(rows), np.bool_), 0
        for i in np.flatnonzero(closed).tolist():
            at = int(opens[i])
            known = self._seen.get(at)
            fresh = self.until_ns is None or int(closes[i]) > self.until_ns
            if fresh or (known is not None and _differ(known, values[i])):
                changed += not fresh
            elif known is not None or self._seen_from_ns is None or at < self._seen_from_ns:
                continue  # sent, in this run or in one before
            else:
                changed += 1  # one that was missing between bars of this run
            wanted[i] = True
            self._seen[at] = values[i]
        if self._seen:
            first = min(self._seen)
            self._seen_from_ns = first if self._seen_from_ns is None else max(first, self._seen_from_ns)
        while len(self._seen) > _REMEMBERED:
            at, _ = self._seen.popitem(last=False)
            self._seen_from_ns = max(self._seen_from_ns or at, at + 1)
        return wanted, changed

    def _gap(self, oldest_open_ns: int) -> tuple[int, int] | None:
        if self.until_ns is None or oldest_open_ns <= self.until_ns:
            return None
        return self.until_ns, oldest_open_ns

    def _promise(self, ns: int) -> None:
        self.promise_ns = ns if self.promise_ns is None else max(self.promise_ns, ns)


def _differ(known: _Values, told: _Values) -> bool:
    """Whether a vendor tells a bar otherwise, and does not only round it."""
    return any(
        a != b if a is None or b is None else abs(a - b) > _ROUNDED * max(abs(a), abs(b))
        for a, b in zip(known, told, strict=True)
    )
