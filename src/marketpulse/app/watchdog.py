"""The last resort against a process that hangs in a library: it ends, and is started again."""

import faulthandler
import sys
import time
from types import TracebackType

_AGAIN_S = 1.0  # setting the alarm anew costs some 50 µs


class Watchdog:
    """Inside, the process ends with exit code 1 when `turned` was not called for `within_s` seconds; what
    each of its threads did then stands in its log.

    For work that survives a kill at any moment. The alarm is a thread of C code: it goes off even when
    a library keeps the interpreter's lock.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._set_at = 0.0

    def turned(self) -> None:
        """The process works: set the alarm anew."""
        now = time.monotonic()
        if now - self._set_at >= min(_AGAIN_S, self._within_s / 10):
            self._set_at = now
            faulthandler.dump_traceback_later(self._within_s, exit=True, file=sys.__stderr__ or sys.stderr)

    def __enter__(self) -> "Watchdog":
        self.turned()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
