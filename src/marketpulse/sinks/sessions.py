"""The figures of a symbol's exchange days, from its closed bars: what changes and rankings are made of.

A day follows the bars of one small timeframe until its own bar (`1d`) has been told, and that bar alone from then on.
Sums are exact and rounded once, so they are the same in whatever order bars came or were revised.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date as calendar_date
from typing import Any

from marketpulse.model.timeframe import DAY_NS

SESSIONS_KEPT = 5
"""Of each symbol. A row of an older session changes nothing any more."""

_EPOCH_ORDINAL = 719_163  # of 1970-01-01


@dataclass(frozen=True, slots=True)
class Part:
    """One closed bar, as far as a day needs it; without a close it was withdrawn. `value` is what was traded in quote
    currency: vwap·volume, of a source's bar without a vwap close·volume. Both are None where a source gives no volume."""

    open_ns: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    value: float | None
    trade_count: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Part":
        """A row of the contract."""
        volume = row["volume"]
        price = row["close"] if row["vwap"] is None else row["vwap"]
        value = None if volume is None else (price or 0.0) * volume
        return cls(
            row["open_time_ns"], row["open"], row["high"], row["low"], row["close"], volume, value, row["trade_count"] or 0
        )  # fmt: skip

    def as_list(self) -> list[Any]:
        return [self.open_ns, self.open, self.high, self.low, self.close, self.volume, self.value, self.trade_count]  # fmt: skip


class Sum:
    """An exact sum of floats (Shewchuk's): parts that do not overlap, rounded once when it is read. With a number that
    is not known it is not known."""

    __slots__ = ("parts",)

    def __init__(self, parts: Iterable[float] | None = ()) -> None:
        self.parts = None if parts is None else list(parts)

    def add(self, x: float | None) -> None:
        if x is None or self.parts is None:
            self.parts = None
            return
        kept = []
        for y in self.parts:
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low:
                kept.append(low)
            x = high
        self.parts = [*kept, x]

    @property
    def rounded(self) -> float | None:
        return None if self.parts is None else math.fsum(self.parts)


@dataclass(slots=True)
class Session:
    """One day of one symbol. `own_bar`: its `1d` bar has been told; else the bars below it count."""

    date: str
    own_bar: bool = False
    bars: int = 0
    last_ns: int = 0
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: Sum = field(default_factory=Sum)
    value: Sum = field(default_factory=Sum)
    trade_count: int = 0
    previous_close: float | None = None

    @property
    def traded(self) -> bool:
        return self.close is not None

    @property
    def reference(self) -> float | None:
        """What the change is from: the close of the session before, or where none is known, the day's open."""
        return self.open if self.previous_close is None else self.previous_close

    def take(self, part: Part) -> None:
        """A bar that opens after all that were taken."""
        if part.close is None:
            return
        if self.bars == 0:
            self.open = part.open
        self.bars += 1
        self.last_ns, self.close = part.open_ns, part.close
        self.high, self.low = _extreme(max, self.high, part.high), _extreme(min, self.low, part.low)
        self.volume.add(part.volume)
        self.value.add(part.value)
        self.trade_count += part.trade_count

    def figures(self) -> dict[str, Any]:
        """For readers. `change` is close − reference, `change_percent` 100 times that by the reference."""
        reference = self.reference
        change = None if self.close is None or reference is None else self.close - reference
        return {
            "session_date": self.date, "open": self.open, "high": self.high, "low": self.low, "close": self.close,
            "volume": self.volume.rounded, "value": self.value.rounded, "trade_count": self.trade_count,
            "reference": reference, "previous_close": self.previous_close, "change": change,
            "change_percent": 100 * change / reference if change is not None and reference else None,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """What `of_stored` needs beside the figures."""
        return {
            "own_bar": self.own_bar, "bars": self.bars, "last_ns": self.last_ns, "volume_parts": self.volume.parts,
            "value_parts": self.value.parts,
        }  # fmt: skip

    @classmethod
    def of_stored(cls, row: Mapping[str, Any]) -> "Session":
        """Of its figures and its state."""
        return cls(
            row["session_date"], row["own_bar"], row["bars"], row["last_ns"], row["open"], row["high"], row["low"],
            row["close"], Sum(row["volume_parts"]), Sum(row["value_parts"]), row["trade_count"],
            row["previous_close"],
        )  # fmt: skip


def date_of(row: Mapping[str, Any]) -> str:
    """The exchange day of a bar, as YYYY-MM-DD: its session's; of a bar without one, the UTC day that it opens in."""
    given = row["session_date"]
    return str(given or calendar_date.fromordinal(_EPOCH_ORDINAL + row["open_time_ns"] // DAY_NS))


@dataclass(slots=True)
class SessionsOf:
    """The newest sessions of one symbol, and what a stretch of its bars makes of them."""

    held: dict[str, Session] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    def needs_parts(self, date: str, parts: Mapping[int, tuple[Part, int]]) -> bool:
        """Whether these bars (by open time, with their revisions) cannot just be added to what is held of the day."""
        held = self.held.get(date)
        if held is None or held.own_bar:
            return False
        return any(revision > 0 or (held.bars and open_ns <= held.last_ns) for open_ns, (_, revision) in parts.items())

    def take(self, date: str, parts: Iterable[Part], *, anew: bool) -> None:
        """Bars of the small timeframe. `anew`: these are all of the day's, else they follow those that were taken."""
        held = self.held.get(date)
        if self._is_past(date) or (held is not None and held.own_bar):
            return
        if held is None or anew:
            held = self._begin(date, own_bar=False)
        for part in sorted(parts, key=lambda part: part.open_ns):
            held.take(part)
        self.changed.add(date)

    def take_own_bar(self, date: str, part: Part) -> None:
        """The day's own bar, or its revision."""
        if not self._is_past(date):
            self._begin(date, own_bar=True).take(part)
            self.changed.add(date)

    def settle(self) -> list[str]:
        """Let each day follow the close of the one before, and let go of the oldest: the dates that went."""
        dates = sorted(self.held)
        before: float | None = None
        for i, date in enumerate(dates):
            session = self.held[date]
            if i > 0 and session.previous_close != before:  # what was before the first has gone
                session.previous_close = before
                self.changed.add(date)
            before = session.close if session.traded else before
        gone = dates[:-SESSIONS_KEPT]
        for date in gone:
            del self.held[date]
            self.changed.discard(date)
        return gone

    def _begin(self, date: str, *, own_bar: bool) -> Session:
        """A day without bars, in the place of what is held of it."""
        held = self.held.get(date)
        new = Session(date, own_bar, previous_close=None if held is None else held.previous_close)
        self.held[date] = new
        return new

    def _is_past(self, date: str) -> bool:
        return len(self.held) >= SESSIONS_KEPT and date < min(self.held)

    @property
    def newest(self) -> Session | None:
        return next((self.held[d] for d in sorted(self.held, reverse=True) if self.held[d].traded), None)


def _extreme(of: Callable[..., float], left: float | None, right: float | None) -> float | None:
    known = [x for x in (left, right) if x is not None]
    return of(known) if known else None
