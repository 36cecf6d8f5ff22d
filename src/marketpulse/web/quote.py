"""What the watch list says about one symbol: last price, change, the session so far."""

import math
from dataclasses import dataclass
from typing import NamedTuple

DAY_NS = 86_400 * 10**9


@dataclass(slots=True)
class Session:
    """One session as far as the page has seen it. Prices in quote currency."""

    date: int  # days since 1970-01-01
    open_time_ns: int
    open: float
    close_time_ns: int
    close: float
    high: float
    low: float
    volume: float = math.nan  # known from the `1d` row only; it then sets high and low as well


class Seen(NamedTuple):
    """One bar, closed or forming, of any timeframe, as the quote looks at it."""

    date: int
    open_time_ns: int
    time_ns: int  # of `close`: the newest trade's where it is known, else the bar's end
    open: float
    high: float
    low: float
    close: float
    volume: float
    covers_session: bool


class Quote:
    """The last price and what it is compared with.

    `reference` is the close of the session before the last price's own; where none is known (the
    first session ever seen), the open of its own session. `reference_kind` says which.
    """

    __slots__ = ("_before", "last", "last_time_ns", "session")

    def __init__(self) -> None:
        self.last = math.nan
        self.last_time_ns = -1
        self.session: Session | None = None
        self._before: Session | None = None

    def take(self, seen: Seen) -> None:
        """Bars may come in any order and in any timeframe: each session keeps its ends and extremes."""
        if seen.time_ns >= self.last_time_ns:
            self.last, self.last_time_ns = seen.close, seen.time_ns
        current = self.session
        if current is None or seen.date > current.date:
            self._before, self.session = current, _begin(seen)
        elif seen.date == current.date:
            _grow(current, seen)
        elif self._before is None or seen.date > self._before.date:
            self._before = _begin(seen)
        elif seen.date == self._before.date:
            _grow(self._before, seen)

    @property
    def before(self) -> Session | None:
        """The session before."""
        return self._before

    @property
    def reference(self) -> float:
        if self._before is not None:
            return self._before.close
        return self.session.open if self.session is not None else math.nan

    @property
    def reference_kind(self) -> str:
        return "previous_close" if self._before is not None else "session_open"


def _begin(seen: Seen) -> Session:
    volume = seen.volume if seen.covers_session else math.nan
    return Session(seen.date, seen.open_time_ns, seen.open, seen.time_ns, seen.close, seen.high, seen.low, volume)


def _grow(session: Session, seen: Seen) -> None:
    if seen.open_time_ns <= session.open_time_ns:
        session.open_time_ns, session.open = seen.open_time_ns, seen.open
    if seen.time_ns >= session.close_time_ns:
        session.close_time_ns, session.close = seen.time_ns, seen.close
    if seen.covers_session:
        session.high, session.low, session.volume = seen.high, seen.low, seen.volume
    else:
        session.high, session.low = max(session.high, seen.high), min(session.low, seen.low)
