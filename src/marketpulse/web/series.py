"""One symbol in one timeframe: its last bars, closed and forming, with their indicator values."""

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

BAR_COLUMNS = (
    "open_time_ms", "close_time_ms", "open", "high", "low", "close", "volume", "vwap", "trade_count", "revision",
)  # fmt: skip
CLOSE_TIME, OPEN, HIGH, LOW, CLOSE, REVISION = (
    BAR_COLUMNS.index(name) for name in ("close_time_ms", "open", "high", "low", "close", "revision")
)
FORMING = -1.0  # the revision of a row that may still change
_TIE_STEP_NS = 1_000  # tick bars that open at the same time are shown a microsecond apart
_UNKNOWN = (-1, array("d"))  # no values of a closed bar: three topics are read, in no order between them
_FORMING_MAX = 64  # open bars of one series at once: a lateness of 2 s and 1s bars make three


@dataclass(frozen=True, slots=True)
class Held:
    """What a series has, by open time in ms: its rows, oldest first, and the revisions of bars that were withdrawn.
    `forgotten_ms` is the newest bar that had to leave for want of room, None when none had."""

    rows: dict[float, list[float]] = field(default_factory=dict)
    gone: dict[float, float] = field(default_factory=dict)
    forgotten_ms: float | None = None


class Series:
    """The last bars by open time, each replaced by its own higher revisions, and gone when one withdraws it.

    A revision that is known already, or a lower one, changes nothing: a log may hand its rows out twice.
    A row's key is its open time in nanoseconds. Every change carries a sequence number of the
    caller, which only grows, so that a reader can ask for what changed since the last one it saw.
    """

    __slots__ = (
        "_changed",
        "_forming",
        "_key_of_tie",
        "_keys",
        "_last_closed",
        "_rows",
        "_trimmed",
        "_values",
        "_withdrawn",
        "ticks",
        "whole_seq",
    )

    def __init__(self, *, ticks: bool = False) -> None:
        self.ticks = ticks
        self.whole_seq = 0  # a reader that is behind this one must read everything again
        self._keys: list[int] = []
        self._rows: dict[int, array[float]] = {}
        self._values: dict[int, tuple[int, array[float]]] = {}
        self._changed: dict[int, int] = {}  # in order of change
        self._forming: set[int] = set()
        self._withdrawn: dict[int, float] = {}  # the revisions of bars that are gone
        self._last_closed = -1
        self._trimmed = -1  # the newest bar that was forgotten for want of room
        self._key_of_tie: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def take_bar(self, open_time_ns: int, row: "array[float]", tie: int, seq: int, history: int) -> bool:
        """A closed bar; a row without a close withdraws it. False when this revision of it is known already."""
        key = self._key(open_time_ns, tie)
        known = self._rows.get(key)
        if row[REVISION] <= (known[REVISION] if known is not None else self._withdrawn.get(key, FORMING)):
            return False
        if known is None and len(self._keys) >= history and key < self._keys[0]:
            return False
        self._last_closed = max(self._last_closed, key)
        if math.isnan(row[CLOSE]):
            self._withdraw(key, row[REVISION], seq, history)
        else:
            if known is None:
                insort(self._keys, key)
            self._rows[key] = row
            self._forming.discard(key)
            self._withdrawn.pop(key, None)
            self._touch(key, seq)
        self._drop_overtaken(seq)
        self.trim(history)
        return True

    def take_values(
        self, open_time_ns: int, revision: int, values: "array[float]", tie: int, seq: int, history: int
    ) -> bool:
        """The indicator values of a closed bar; they may come before the bar or after it."""
        key = self._key(open_time_ns, tie)
        known = self._values.get(key)
        if known is not None and known[0] >= revision:
            return False
        if len(self._keys) >= history and key < self._keys[0]:
            return False
        self._values[key] = (revision, values)
        if len(self._values) > 2 * history:
            self._forget_values_without_bars(history)
        if key in self._rows:
            self._touch(key, seq)
        return True

    def take_forming(
        self, open_time_ns: int, row: "array[float]", values: "array[float]", seq: int, history: int
    ) -> bool:
        """What a bar would be if it closed now. False when it has closed, or has no trade any more."""
        if open_time_ns <= self._last_closed or self._values.get(open_time_ns, _UNKNOWN)[0] >= 0:
            return False
        if math.isnan(row[CLOSE]):
            if open_time_ns in self._forming:
                self._remove(open_time_ns, seq)  # every trade of it was cancelled
            return False
        row[REVISION] = FORMING
        if open_time_ns not in self._rows:
            insort(self._keys, open_time_ns)
        self._rows[open_time_ns] = row
        self._values[open_time_ns] = (-1, values)
        self._touch(open_time_ns, seq)
        self._forming.add(open_time_ns)
        if len(self._forming) > _FORMING_MAX:
            self._remove(min(self._forming), seq)
        if len(self._keys) > history:
            self.trim(history)
        return True

    def trim(self, history: int) -> None:
        """Forget the oldest bars beyond `history`."""
        for key in self._keys[: max(0, len(self._keys) - history)]:
            self._trimmed = max(self._trimmed, key)
            self._remove(key, self._changed[key])  # only who has not seen it yet must read all again

    def rows(self, width: int, limit: int | None = None) -> list[list[float]]:
        """The newest `limit` rows, oldest first: BAR_COLUMNS, then `width` indicator values."""
        keys = self._keys if limit is None else self._keys[-limit:]
        return [self._row(key, width) for key in keys]

    def rows_since(self, seq: int, width: int) -> list[list[float]]:
        """The rows that changed after `seq`, oldest first."""
        keys: list[int] = []
        for key in reversed(self._changed):
            if self._changed[key] <= seq:
                break
            keys.append(key)
        return [self._row(key, width) for key in sorted(keys)]

    def held(self, width: int) -> Held:
        gone = {key / 1e6: revision for key, revision in self._withdrawn.items()}
        rows = {key / 1e6: self._row(key, width) for key in self._keys}
        return Held(rows, gone, None if self._trimmed < 0 else self._trimmed / 1e6)

    def bars_from(self, open_time_ns: int) -> "Iterator[tuple[int, array[float]]]":
        """The bars that open at this time or later, closed and forming, oldest first: (open time, row)."""
        for key in self._keys[bisect_left(self._keys, open_time_ns) :]:
            yield key, self._rows[key]

    def newest_before(self, open_time_ns: int) -> "array[float] | None":
        """The last closed bar that opens before this time."""
        for key in reversed(self._keys[: bisect_left(self._keys, open_time_ns)]):
            if key not in self._forming:
                return self._rows[key]
        return None

    @property
    def begins_ns(self) -> int | None:
        return self._keys[0] if self._keys else None

    def closes(self, limit: int) -> list[float]:
        """The newest `limit` closes of closed bars, oldest first."""
        keys = [key for key in self._keys[-limit - len(self._forming) :] if key not in self._forming]
        return [self._rows[key][CLOSE] for key in keys[-limit:]]

    def _row(self, key: int, width: int) -> list[float]:
        known = self._values.get(key)
        values = known[1].tolist() if known is not None else []
        missing = [float("nan")] * (width - len(values))
        return [key / 1e6, *self._rows[key].tolist()[1:], *values, *missing]

    def _key(self, open_time_ns: int, tie: int) -> int:
        """Tick bars may share their open time: `tie` tells them apart, and the same one comes back."""
        if not self.ticks:
            return open_time_ns
        found = self._key_of_tie.get(tie)
        if found is None:
            found, taken = open_time_ns, set(self._key_of_tie.values())
            while found in taken:
                found += _TIE_STEP_NS
            self._key_of_tie[tie] = found
        return found

    def _forget_values_without_bars(self, history: int) -> None:
        for key in sorted(self._values)[:-history]:
            if key not in self._rows:
                del self._values[key]
        self._key_of_tie = {
            tie: key for tie, key in self._key_of_tie.items() if key in self._rows or key in self._values
        }

    def _touch(self, key: int, seq: int) -> None:
        self._changed.pop(key, None)
        self._changed[key] = seq

    def _drop_overtaken(self, seq: int) -> None:
        """Bars close in order, so a forming bar before the newest closed one will never close."""
        for key in [k for k in self._forming if k < self._last_closed]:
            self._remove(key, seq)

    def _withdraw(self, key: int, revision: float, seq: int, history: int) -> None:
        """The bar goes; its revision and its values' stay known, so that no older row brings it back."""
        values = self._values.get(key)
        if key in self._rows:
            self._remove(key, seq)
        if values is not None:
            self._values[key] = values
        self._withdrawn[key] = revision
        if len(self._withdrawn) > history:
            del self._withdrawn[min(self._withdrawn)]

    def _remove(self, key: int, seq: int) -> None:
        self._keys.remove(key)
        del self._rows[key]
        self._values.pop(key, None)
        self._changed.pop(key, None)
        self._forming.discard(key)
        if self.ticks:
            self._key_of_tie = {t: k for t, k in self._key_of_tie.items() if k != key}
        self.whole_seq = max(self.whole_seq, seq)
