"""Looks at the processes from a thread of its own, often while somebody watches, else every few seconds."""

import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from marketpulse.app.observing.findings import find
from marketpulse.app.observing.picture import Look, last_of, picture
from marketpulse.app.observing.readings import Samples, read_processes
from marketpulse.clock import Clock
from marketpulse.ports import LogView
from marketpulse.telemetry import get_logger

_WATCHED_S = 10.0  # after the last question somebody still watches
_OFTEN_S, _SELDOM_S = 1.0, 4.0  # health is right within 10 s
_START_S = 30.0  # so long a start may take until the log is there
_STARTING: dict[str, Any] = {"status": "starting", "reasons": []}
_RATES_S, _WAVES_S, _FAULTS_S = (10.0, 60.0, 600.0)  # what rates are of, what comes in waves, what faults are told


class Observer:
    """A PipelineWatch over the processes that have their run files in `data_dir`, and the log as the page's server sees it."""

    def __init__(self, data_dir: Path, clock: Clock, log: Callable[[], LogView]) -> None:
        self._data_dir, self._clock, self._log = data_dir, clock, log
        self._looks: deque[Look] = deque()
        self._lock = (
            threading.Lock()
        )  # not held while the log is asked for: its owner asks for the health under its own
        self._asked_at = float("-inf")
        self._wake, self._over = threading.Event(), threading.Event()
        self._judged_at, self._judged = float("-inf"), _STARTING
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def picture(self) -> dict[str, Any] | None:
        """As ports.PipelineWatch."""
        now = self._clock.monotonic()
        if now - self._asked_at > _WATCHED_S:
            self._wake.set()
        self._asked_at = now
        looks = self._seen()
        if not looks:
            return None
        drawn = picture(last_of(looks, _RATES_S), last_of(looks, _WAVES_S))
        return {**drawn, "findings": [asdict(finding) for finding in find(looks, drawn)]}

    def health(self) -> dict[str, Any]:
        """As ports.PipelineWatch."""
        now = self._clock.monotonic()
        if now - self._judged_at >= _OFTEN_S:
            self._judged_at, self._judged = now, self._judge(self._seen())
        return self._judged

    def _judge(self, looks: list[Look]) -> dict[str, Any]:
        answered = any(look.log.stats is not None and look.log.stats.broker_reachable for look in looks)
        if not looks or (not answered and looks[-1].at_s - looks[0].at_s < _START_S):
            return _STARTING
        drawn = picture(last_of(looks, _RATES_S), last_of(looks, _WAVES_S))
        reasons = [finding for finding in find(looks, drawn) if finding.severity != "note"]
        return {"status": reasons[0].severity if reasons else "ok", "reasons": [asdict(reason) for reason in reasons]}

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
        log, readings = self._log(), read_processes(self._data_dir / "run")
        disk = shutil.disk_usage(self._data_dir) if self._data_dir.is_dir() else None
        free, size = (0, 0) if disk is None else (disk.free, disk.free + disk.used)
        look = Look(self._clock.monotonic(), self._clock.now_ns() // 1_000_000, readings, free, size, log)
        with self._lock:
            self._looks.append(look)
            while len(self._looks) > 2 and self._looks[1].at_s < look.at_s - _FAULTS_S:
                self._looks.popleft()

    def _seen(self) -> list[Look]:
        """The looks so far, the newest with the log as it is now."""
        log = self._log()
        with self._lock:
            looks = list(self._looks)
        return [*looks[:-1], replace(looks[-1], log=log)] if looks else []

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except OSError as error:
                get_logger().warning("pipeline_not_seen", error=str(error))
            watched = self._clock.monotonic() - self._asked_at <= _WATCHED_S
            self._wake.wait(_OFTEN_S if watched else _SELDOM_S)
            self._wake.clear()
