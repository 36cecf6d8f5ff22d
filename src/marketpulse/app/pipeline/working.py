"""A worker of the log, turn by turn, for as long as its process lives."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Protocol

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.lock import lock_owner, open_slot
from marketpulse.app.pace import Pace
from marketpulse.app.watchdog import Watchdog
from marketpulse.errors import Retryable
from marketpulse.kafka.transaction import TransactionTimedOut
from marketpulse.telemetry import get_logger

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_LOOK_EVERY_S = 0.1
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


def work(life: Lifecycle, slot: int, begin: Callable[[Pace], LogWorker]) -> int:
    """Work until `life.stop`; returns the exit code. A broker that is away is waited for, and before anything so is another
    process on this data directory that works under this name: two would fence each other again and again.

    After a fault of the log a worker begins anew from the last commit, so nothing is lost or doubled.
    """
    wait, pace = _FIRST_WAIT_S, Pace()
    with _only_worker(life), Watchdog(_STUCK_S) as watchdog:
        while not life.stop.is_set():
            worker = None
            try:
                worker = begin(pace)
                worker.start()
                life.announce(slot=slot)
                while not life.stop.is_set():
                    if worker.turn():
                        wait, pace = _FIRST_WAIT_S, Pace()
                    life.health.beat()
                    watchdog.turned()
                worker.stop()
                return 0
            except Retryable as error:
                if isinstance(error, TransactionTimedOut):
                    pace.slow_down()
                life.health.set_not_ready(str(error))
                get_logger().warning("log_away", error=str(error), retry_in_s=round(wait, 1))
                if worker is not None:
                    _abandon(worker)
            watchdog.turned()
            life.health.beat()
            life.stop.wait(wait * random.uniform(0.5, 1.5))
            wait = min(2 * wait, _LONGEST_WAIT_S)
    return 0


@contextlib.contextmanager
def _only_worker(life: Lifecycle) -> Iterator[None]:
    """Prove the slot: the lock goes with the process, so a killed one leaves none."""
    with open_slot(life.run_file.parent, life.run_file.stem) as lock:
        waits_for = ""
        while not life.stop.is_set() and (owner := lock_owner(lock)):
            if owner != waits_for:
                waits_for = owner
                reason = f"process {owner} still works as {life.name}: stop it, or give this one another --slot"
                get_logger().warning("slot_taken", reason=reason)
                life.report_waiting(reason)
            life.health.beat()
            life.stop.wait(_LOOK_EVERY_S)
        yield


def _abandon(worker: LogWorker) -> None:
    """Leave a worker behind whose log is away; what it did not commit will be done again."""
    try:
        worker.close()
    except Retryable as error:
        get_logger().debug("abandoned", error=str(error))
