"""Sessions of one calendar: when a venue trades, as three sorted arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


def around_the_clock() -> SessionTable:
    """The calendar of a venue that never closes."""
    none = np.empty(0, np.int64)
    return SessionTable("24x7", none, none, np.empty(0, np.int32))
