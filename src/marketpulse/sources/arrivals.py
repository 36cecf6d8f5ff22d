"""How late rows come in, and what may be promised of those that are still to come."""

from collections import deque

import numpy as np

from marketpulse.model.market import Ints

_MEMORY_S = 300.0


class Arrivals:
    """Delays of the last minutes: from a row's event time to when we held it."""

    def __init__(self) -> None:
        self._delays: deque[tuple[float, int]] = deque()

    def note(self, delays_ns: Ints, now_s: float) -> None:
        """Rows have come, so late; `now_s` on a monotonic clock."""
        if delays_ns.size:
            self._delays.append((now_s, int(np.percentile(delays_ns, 99))))
        while len(self._delays) > 1 and now_s - self._delays[0][0] > _MEMORY_S:
            self._delays.popleft()

    def promise_ns(self, now_ns: int, lateness_ns: int) -> int | None:
        """The event time before which no row is expected any more; None before the first row."""
        if not self._delays:
            return None
        return now_ns - lateness_ns - max(0, *(delay for _, delay in self._delays))
