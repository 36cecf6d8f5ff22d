"""A worker of the log, turn by turn, for as long as its process lives."""

import random
from collections.abc import Callable
from typing import Protocol

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.watchdog import Watchdog
from marketpulse.errors import Retryable
from marketpulse.telemetry import get_logger

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_STUCK_S = 300.0  # every call to the broker gives up long before


class LogWorker(Protocol):
    """Each method raises Retryable where the log is away, or nothing of the open transaction counts."""

    def start(self) -> None: ...
    def turn(self) -> int:
        """Returns the records taken."""
        ...

    def stop(self) -> None:
        """Commit what is done, and leave."""
        ...

    def close(self) -> None:
        """Leave without committing."""
        ...


def work(life: Lifecycle, slot: int, begin: Callable[[], LogWorker]) -> int:
    """Work until `life.stop`; returns the exit code. A broker that is away is waited for.

    After a fault of the log a worker begins anew from the last commit, so nothing is lost or doubled.
    """
    wait = _FIRST_WAIT_S
    with Watchdog(_STUCK_S) as watchdog:
        while not life.stop.is_set():
            worker = None
            try:
                worker = begin()
                worker.start()
                life.announce(slot=slot)
                while not life.stop.is_set():
                    if worker.turn():
                        wait = _FIRST_WAIT_S
                    life.health.beat()
                    watchdog.turned()
                worker.stop()
                return 0
            except Retryable as error:
                life.health.set_not_ready(str(error))
                get_logger().warning("log_away", error=str(error), retry_in_s=round(wait, 1))
                if worker is not None:
                    _abandon(worker)
            watchdog.turned()
            life.stop.wait(wait * random.uniform(0.5, 1.5))
            wait = min(2 * wait, _LONGEST_WAIT_S)
    return 0


def _abandon(worker: LogWorker) -> None:
    """Leave a worker behind whose log is away; what it did not commit will be done again."""
    try:
        worker.close()
    except Retryable as error:
        get_logger().debug("abandoned", error=str(error))
