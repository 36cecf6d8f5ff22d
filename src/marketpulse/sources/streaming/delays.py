"""How late a feed's trades come: the longest typical delay of the last minute."""

from collections import deque
from statistics import median

_MEMORY_S = 60.0


class Delays:
    """Medians by the time when they were measured; a vendor that falls behind is believed for a minute."""

    def __init__(self) -> None:
        self._found: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, delays_ns: list[int]) -> None:
        """Take what was measured since the last call, and empty the list."""
        if delays_ns:
            self._found.append((now_s, int(median(delays_ns))))
            delays_ns.clear()
        while self._found and now_s - self._found[0][0] > _MEMORY_S:
            self._found.popleft()

    def longest_ns(self) -> int:
        return max(0, max((delay for _, delay in self._found), default=0))
