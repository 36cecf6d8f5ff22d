"""How long to wait after a fault: exponential with full jitter, and a cap; or what the vendor says."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 86_400.0


class Backoff:
    """Waits of one far end. The n-th fault in a row waits a random time in [0, min(cap_s, first_s * 2**n)].

    Full jitter spreads callers that met the same fault best, and a cap keeps a long outage from becoming longer.
    """

    def __init__(self, first_s: float = 1.0, cap_s: float = 300.0, rng: random.Random | None = None) -> None:
        self._first_s, self._cap_s = first_s, cap_s
        self._rng = rng or random.Random()
        self._faults = 0

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Note a fault; seconds to wait. What the vendor asked for is waited for in full, and a little more."""
        bound = min(self._cap_s, self._first_s * 2.0 ** min(self._faults, 60))
        self._faults += 1
        return at_least_s + self._rng.uniform(0.0, bound)

    def reset(self) -> None:
        """It has answered."""
        self._faults = 0


def retry_after_s(value: str | None, now_ns: int, server_date: str | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or an HTTP date; None: it says nothing usable.

    A date is held against the server's own `Date`, so neither clock needs to be right. At most a day.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        until = _epoch_s(text)
        if until is None:
            return None
        now = _epoch_s(server_date) if server_date else None
        seconds = until - (now_ns / 1e9 if now is None else now)
    if seconds != seconds:  # NaN
        return None
    return min(max(0.0, seconds), RETRY_AFTER_MAX_S)


def _epoch_s(text: str) -> float | None:
    try:
        found: datetime = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
