"""How often a vendor lets one key ask: a token bucket that all symbols of the key share."""

import threading
from dataclasses import dataclass

from marketpulse.clock import Clock
from marketpulse.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `per_s` seconds, `burst` of them at once."""

    requests: int
    per_s: float
    burst: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.burst <= self.requests and self.per_s > 0):
            raise ParameterError(
                f"a rate needs 1 <= burst <= requests and a time above 0, found burst {self.burst}, "
                f"requests {self.requests}, per_s {self.per_s}"
            )

    @property
    def interval_s(self) -> float:
        """Seconds in which one token comes back.

        A full bucket may be emptied at once, so what comes back within `per_s` must be less by that burst.
        """
        return self.per_s / (self.requests - self.burst + 1)


class Bucket:
    """Tokens of one rate, in the form that knows when the next one is there. For several threads."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._full_at = -1e18  # seconds, monotonic: when the bucket is full if nobody takes any more
        self._lock = threading.Lock()

    def wait_s(self, cost: int = 1) -> float:
        """Seconds until `cost` tokens are there; 0.0: now. A cost above the burst waits for a full bucket."""
        with self._lock:
            return self._wait_s(self._clock.monotonic(), cost)

    def take(self, cost: int = 1) -> bool:
        """Take them if they are there."""
        with self._lock:
            now = self._clock.monotonic()
            if self._wait_s(now, cost) > 0:
                return False
            self._full_at = max(self._full_at, now) + cost * self._rate.interval_s
            return True

    def _wait_s(self, now: float, cost: int) -> float:
        slack = max(0, self._rate.burst - cost) * self._rate.interval_s
        wait = self._full_at - now - slack
        return wait if wait > 1e-9 else 0.0  # what is less is the rounding of the clock
