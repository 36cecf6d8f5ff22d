"""Requests that wait for the log: bounded in bytes, each answered once its rows are in it.

a handler's thread: offer -> wait -> answer          the source's thread: take -> (the log) -> stored
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

AWAY_S = 5.0
"""The log has been busy with the same rows for this long: it is away, not slow."""


@dataclass(slots=True)
class Push:
    """One request. `key` names it over repeats (None: it has no name). `outcome` is set before `done`."""

    body: bytes
    received_ns: int
    key: str | None = None
    done: threading.Event = field(default_factory=threading.Event)
    outcome: dict[str, object] = field(default_factory=dict)
    status: int = 0


class Waiting:
    """Requests on their way into the log."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Condition()
        self._queue: list[Push] = []
        self._named: OrderedDict[str, Push] = OrderedDict()  # waiting or in the log's hands
        self._bytes = 0  # of bodies that are held or announced
        self._taken_at: float | None = None

    def reserve(self, size: int) -> bool:
        """Room for a body of this size before it is read; False: too much waits."""
        with self._lock:
            if self._bytes + size > self._bytes_max and self._bytes:
                return False
            self._bytes += size
            return True

    def release(self, size: int) -> None:
        """The room of a body that came to nothing, or was answered."""
        with self._lock:
            self._bytes -= size

    def offer(self, push: Push) -> Push:
        """Queue it; a repeat of one that is still on its way waits for that one."""
        with self._lock:
            if push.key is not None:
                if (same := self._named.get(push.key)) is not None:
                    return same
                self._named[push.key] = push
            self._queue.append(push)
            self._lock.notify()
            return push

    def take(self, timeout_s: float, now_s: float) -> Sequence[Push]:
        """Everything that waits, after at most `timeout_s`; they are in the log's hands until `stored`."""
        with self._lock:
            if not self._queue:
                self._lock.wait(timeout_s)
            found, self._queue = self._queue, []
            self._taken_at = now_s if found else None
            return found

    def stored(self, pushes: Sequence[Push]) -> None:
        """Their outcomes stand: let the handlers answer."""
        with self._lock:
            self._taken_at = None
            for push in pushes:
                if push.key is not None:
                    self._named.pop(push.key, None)
                push.done.set()

    def empty(self) -> bool:
        with self._lock:
            return not self._queue and self._taken_at is None

    def log_is_away(self, now_s: float) -> bool:
        """Whether the log has held the same rows for long."""
        with self._lock:
            return self._taken_at is not None and now_s - self._taken_at > AWAY_S
