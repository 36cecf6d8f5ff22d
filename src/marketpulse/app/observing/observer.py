"""Looks at the processes from a thread of its own, often while somebody watches, else now and then."""

import shutil
import threading
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marketpulse.app.observing.findings import find
from marketpulse.app.observing.picture import Look, Span, picture
from marketpulse.app.observing.readings import Samples, read_processes
from marketpulse.clock import Clock
from marketpulse.telemetry import get_logger

_WATCHED_S = 10.0  # after the last question somebody still watches
_OFTEN_S, _SELDOM_S = 1.0, 10.0
_RATES_S, _WAVES_S, _FAULTS_S = (10.0, 60.0, 600.0)  # what rates are of, what comes in waves, what faults are told


class Observer:
    """A PipelineWatch over the processes that have their run files in `data_dir`."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir, self._clock = data_dir, clock
        self._looks: deque[Look] = deque()
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def picture(self, *, broker_reachable: bool | None, engine_lag: int | None) -> dict[str, Any] | None:
        """As ports.PipelineWatch."""
        now = self._clock.monotonic()
        if now - self._asked_at > _WATCHED_S:
            self._wake.set()
        self._asked_at = now
        with self._lock:
            looks = list(self._looks)
        if not looks:
            return None
        newest = looks[-1]
        drawn = picture(Span(_since(looks, _RATES_S), newest), Span(_since(looks, _WAVES_S), newest))
        findings = find(Span(looks[0], looks[-1]), drawn, broker_reachable=broker_reachable, engine_lag=engine_lag)
        return {**drawn, "findings": [asdict(finding) for finding in findings]}

    def samples(self) -> Samples | None:
        """What all processes say of themselves now; None: they have not been asked yet."""
        with self._lock:
            return self._looks[-1].sums if self._looks else None

    def close(self) -> None:
        self._over.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_OFTEN_S)

    def look(self) -> None:
        """Look once, and forget what is too old."""
        free = shutil.disk_usage(self._data_dir).free if self._data_dir.is_dir() else 0
        readings = read_processes(self._data_dir / "run")
        look = Look(self._clock.monotonic(), self._clock.now_ns() // 1_000_000, readings, free)
        with self._lock:
            self._looks.append(look)
            while len(self._looks) > 2 and self._looks[1].at_s < look.at_s - _FAULTS_S:
                self._looks.popleft()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except OSError as error:
                get_logger().warning("pipeline_not_seen", error=str(error))
            watched = self._clock.monotonic() - self._asked_at <= _WATCHED_S
            self._wake.wait(_OFTEN_S if watched else _SELDOM_S)
            self._wake.clear()


def _since(looks: list[Look], seconds: float) -> Look:
    """The look of so long ago, or the oldest."""
    wanted = looks[-1].at_s - seconds
    return next(look for look in looks if look.at_s >= wanted or look is looks[-1])
