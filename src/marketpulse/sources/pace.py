"""How fast a replay runs: as recorded, N times faster, N rows a second, or as fast as possible."""

import re
from dataclasses import dataclass

import numpy as np

from marketpulse.clock import Clock
from marketpulse.errors import SettingsError
from marketpulse.model.market import Ints

ROWS_MAX = 20_000  # rows of one poll; more would make one transaction long
LONGEST_WAIT_S = 10.0  # at `20x`: closed hours between two rows are cut to this
NAP_S = 0.02  # rows due within this are taken together
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(x|/s)")


@dataclass(frozen=True, slots=True)
class Speed:
    """`factor` times the recorded pace, or `rate` rows a second; neither: as fast as possible."""

    factor: float | None = None
    rate: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Speed":
        """Raises SettingsError for anything but `recorded`, `20x`, `500/s` and `max`."""
        plain = text.strip().lower()
        if plain == "recorded":
            return cls(factor=1.0)
        if plain == "max":
            return cls()
        match = _PATTERN.fullmatch(plain)
        if match is None or float(match[1]) <= 0:
            raise SettingsError(f"speed {text!r}: write recorded, 20x (times faster), 500/s (rows a second) or max")
        return cls(factor=float(match[1])) if match[2] == "x" else cls(rate=float(match[1]))


class Pacer:
    """Says which rows of a sorted tape are due.

    At `recorded` a pause of the file is a pause of the replay, closed hours included; at `20x` a
    pause lasts ten seconds at most.
    """

    def __init__(self, speed: Speed, clock: Clock) -> None:
        self._speed = speed
        self._clock = clock
        self._began_s = 0.0
        self._base = 0

    def begin(self, times: Ints, row: int) -> None:
        """Row `row` is due now, and the others as the speed says."""
        self._began_s = self._clock.monotonic()
        self._base = row if self._speed.rate is not None else int(times[row]) if row < len(times) else 0

    def virtual_ns(self) -> int | None:
        """The event time that the replay has come to; None where the speed knows no such thing."""
        if self._speed.factor is None:
            return None
        return self._base + int((self._clock.monotonic() - self._began_s) * self._speed.factor * 1e9)

    def due(self, times: Ints, row: int) -> int:
        """The rows `[row, due)` may leave now."""
        last = min(len(times), row + ROWS_MAX)
        if self._speed.rate is not None:
            spent = self._clock.monotonic() - self._began_s
            return min(last, max(row, self._base + 1 + int(spent * self._speed.rate)))
        virtual = self.virtual_ns()
        if virtual is None:
            return last
        return min(last, max(row, int(np.searchsorted(times, virtual, side="right"))))

    def wait_s(self, times: Ints, row: int) -> float:
        """Seconds until row `row` is due; 0 when it is."""
        if row >= len(times) or self.due(times, row) > row:
            return 0.0
        if self._speed.rate is not None:
            return max(NAP_S, (row - self._base) / self._speed.rate - (self._clock.monotonic() - self._began_s))
        assert self._speed.factor is not None  # noqa: S101  else every row is due
        ahead_s = (int(times[row]) - (self.virtual_ns() or 0)) / 1e9 / self._speed.factor
        if self._speed.factor != 1.0 and ahead_s > LONGEST_WAIT_S:
            self._base += int((ahead_s - LONGEST_WAIT_S) * self._speed.factor * 1e9)
            ahead_s = LONGEST_WAIT_S
        return max(NAP_S, ahead_s)
