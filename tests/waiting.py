"""Wait for what is awaited: a condition with a deadline that only a fault reaches."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str = "", within_s: float = 120) -> T:
    """Return the first true value of `condition`, which is asked every 20 ms, or for a third of the time where asking takes longer:
    what is awaited needs the processor more.

    Raises AssertionError with `what` (else the condition's name) after `within_s`: long enough for a busy machine,
    so that no test depends on how fast something is.
    """
    deadline = time.monotonic() + within_s
    while True:
        asked = time.monotonic()
        if value := condition():
            return value
        now = time.monotonic()
        assert now < deadline, f"not within {within_s} s: {what or condition.__name__}"
        time.sleep(min(max(0.02, 2 * (now - asked)), 1.0))
