"""`select`: from `feeds`, where sources that can bring the same symbols write, into `market`."""

import random

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.selecting.groups import failover_config
from marketpulse.app.selecting.worker import SelectWorker
from marketpulse.app.watchdog import Watchdog
from marketpulse.clock import SystemClock
from marketpulse.errors import Retryable
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_STUCK_S = 300.0


def run(settings: Settings, life: Lifecycle, slot: int = 0) -> int:
    """Work until `life.stop`; returns the exit code. A broker that is away is waited for.

    After a fault of the log the worker begins anew from its last commit, so nothing is lost or doubled.
    """
    config, clock = failover_config(settings), SystemClock()
    wait = _FIRST_WAIT_S
    with Watchdog(_STUCK_S) as watchdog:
        while not life.stop.is_set():
            worker = None
            try:
                worker = SelectWorker(settings, config, slot, clock)
                worker.start()
                life.announce(slot=slot)
                while not life.stop.is_set():
                    if worker.turn():
                        wait = _FIRST_WAIT_S
                    life.health.beat()
                    watchdog.turned()
                worker.drain()
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


def _abandon(worker: SelectWorker) -> None:
    """Leave a worker behind whose log is away; what it did not commit will be done again."""
    try:
        worker.close()
    except Retryable as error:
        get_logger().debug("abandoned", error=str(error))
