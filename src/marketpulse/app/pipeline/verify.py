"""`verify --follow`: the continuous check of a running pipeline, at low priority.

It begins late, works a little and rests long: `parity.cpu_percent` of one core at most.
"""

import os
import random

from marketpulse.app.engine_config import engine_config
from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.receipts.report_text import difference_text
from marketpulse.app.receipts.watch import Found, Watch
from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import Retryable
from marketpulse.kafka.log_reader import LogReader
from marketpulse.settings import Settings
from marketpulse.telemetry import PARITY_DRIFT_ROWS, PARITY_ROWS_CHECKED, PARITY_SKIPPED_RECORDS, get_logger

_NICE = 19
_BEAT_S = 1.0
_SHORTEST_S = 0.001  # shorter rests are none


def run(settings: Settings, life: Lifecycle, clock: Clock | None = None) -> int:
    """Check until `life.stop`; returns the exit code. A broker or a lake that is away is waited for."""
    os.nice(_NICE)
    config = engine_config(settings.engine)
    pace = Pace(settings.parity.cpu_percent / 100, life, clock or SystemClock())
    every_s = settings.parity.every_s
    life.announce()
    while not life.stop.is_set():
        log = None
        try:
            pace.wait(every_s * random.uniform(0.9, 1.1))
            log = LogReader(settings)
            watch = Watch(settings, config, log)
            while not life.stop.is_set():
                pace.begin()
                tell(watch.look(pace.rest))
                life.health.set_ready()
                pace.wait(every_s)
        except Retryable as error:
            life.health.set_not_ready(str(error))
            get_logger().warning("parity_check_waits", error=str(error))
        finally:
            if log is not None:
                log.close()
    return 0


def tell(found: Found) -> None:
    """Count what a look has found; rows that differ go to the log with the first of them."""
    PARITY_ROWS_CHECKED.inc(found.checked)
    PARITY_DRIFT_ROWS.inc(found.drift_rows)
    PARITY_SKIPPED_RECORDS.inc(found.skipped_records)
    if found.drift_rows:
        first = min(found.drift, key=lambda d: (d.open_time_ns, d.symbol, d.timeframe, d.table))
        get_logger().error(
            "parity_drift", rows=found.drift_rows, first=difference_text(first), table=first.table,
            symbol=first.symbol, timeframe=first.timeframe, open_time_ns=first.open_time_ns,
            revision=first.revision, column=first.column,
        )  # fmt: skip


class Pace:
    """Rests after each piece of work, so that work takes no more than a share of the time."""

    def __init__(self, share: float, life: Lifecycle, clock: Clock) -> None:
        self._share, self._life, self._clock = share, life, clock
        self._since = clock.monotonic()

    def begin(self) -> None:
        """Work begins now."""
        self._since = self._clock.monotonic()

    def rest(self) -> bool:
        """A piece of work is done. Whether to go on after the rest that it costs."""
        worked = self._clock.monotonic() - self._since
        self.wait(worked * (1 / self._share - 1))
        self.begin()
        return not self._life.stop.is_set()

    def wait(self, seconds: float) -> None:
        """Wait, or until the process shall stop."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > _SHORTEST_S:
            if self._life.stop.wait(min(left, _BEAT_S)):
                return
            self._life.health.beat()
