"""Sessions of one calendar: when a venue trades, as three sorted arrays; and a day's span by the venue's clock."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketpulse.errors import ParameterError

_MINUTE_NS = 60_000_000_000
_CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class SessionTable:
    """A calendar's sessions, in order: `[open_ns, close_ns)` and the session's date.

    An empty table means 24x7: every UTC day is a session.
    """

    name: str
    open_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    date: NDArray[np.int32]  # days since 1970-01-01

    @property
    def around_the_clock(self) -> bool:
        return self.open_ns.size == 0


@dataclass(frozen=True, slots=True)
class DaySpan:
    """From where to where a day goes by the venue's own clock, in nanoseconds after its midnight."""

    from_ns: int
    to_ns: int

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "DaySpan":
        """`("04:00", "20:00")` -> that span. Raises ParameterError for what is no span of one day."""
        wrong = ParameterError(
            f"hours {list(texts)}: write two times of one day, the earlier first, such as "
            '["04:00", "20:00"]; the last is 24:00'
        )
        found = [_CLOCK.fullmatch(text) for text in texts]
        minutes = [60 * int(match[1]) + int(match[2]) for match in found if match is not None]
        if len(texts) != 2 or len(minutes) != 2 or not minutes[0] < minutes[1] <= 24 * 60:
            raise wrong
        return cls(minutes[0] * _MINUTE_NS, minutes[1] * _MINUTE_NS)


def around_the_clock(name: str = "24x7") -> SessionTable:
    """The calendar of a venue that never closes."""
    none = np.empty(0, np.int64)
    return SessionTable(name, none, none, np.empty(0, np.int32))
