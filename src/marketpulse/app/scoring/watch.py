"""Keeps the scorecard beside the page: a thread that reads the log a little at a time, and answers what is asked.

It rests after each piece of work, so that it takes a share of a core at most while it catches up; afterwards it looks
twice a second, which costs 4.4 % of a core at 10,000 trades a second (`python bench/scorecard.py`).
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from marketpulse.app import warm
from marketpulse.app.feeds import configured_sources
from marketpulse.app.observing.readings import Samples
from marketpulse.app.scoring.hearing import Hearing
from marketpulse.app.scoring.processes import kinds_of, with_processes
from marketpulse.clock import Clock
from marketpulse.errors import MarketPulseError, Retryable
from marketpulse.settings import Settings
from marketpulse.telemetry import SCORECARD_BEHIND_SECONDS, SCORECARD_ERRORS, get_logger

_TURN_S = 0.5
_AWAY_S = 2.0
_FAILED_S = 30.0
_FRESH_S = 1.0
_CAUGHT_UP_NS = 5 * 10**9


class ScoreWatch:
    """A SourceWatch over the log. `samples`: what all processes say of themselves now (None: not asked yet)."""

    def __init__(self, settings: Settings, clock: Clock, samples: Callable[[], Samples | None]) -> None:
        self._settings, self._clock, self._samples = settings, clock, samples
        self._kinds = kinds_of(configured_sources(settings))
        self._hearing: Hearing | None = None
        self._lock = threading.Lock()  # the keeper hears, or is asked
        self._over = threading.Event()
        self._card: tuple[float, Mapping[str, Any]] | None = None
        self._thread = threading.Thread(target=self._run, name="scorecard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def sources(self) -> Mapping[str, Any] | None:
        """As ports.SourceWatch; at most a second old."""
        now = self._clock.monotonic()
        if self._card is not None and now - self._card[0] < _FRESH_S:
            return self._card[1]
        with self._lock:
            if self._hearing is None:
                return None
            keeper, card = self._hearing.keeper, self._hearing.card()
            told: dict[str, Any] = {
                "hours": keeper.hours,
                "log_time_ms": keeper.now_ns // 1_000_000 or None,
                "catching_up": self._behind_ns() > _CAUGHT_UP_NS,
                "left_out_rows": keeper.series.left_out_rows,
                "sources": card.sources(),
                "dead_letters_of_nobody": card.unplaced_letters(),
            }
        told["sources"] = with_processes(told["sources"], self._samples(), self._kinds)
        self._card = now, told
        return told

    def symbols(self, source: str, limit: int) -> Mapping[str, Any] | None:
        """As ports.SourceWatch."""
        with self._lock:
            return None if self._hearing is None else self._hearing.card().symbols(source, limit)

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        self._warm()
        while not self._over.is_set():
            try:
                self._follow()
            except Retryable as fault:
                get_logger().info("scorecard_waits", fault=str(fault))
                self._over.wait(_AWAY_S)
            except MarketPulseError as fault:  # the page goes on without
                SCORECARD_ERRORS.inc()
                get_logger().warning("scorecard_failed", fault=str(fault), again_in_s=_FAILED_S)
                self._over.wait(_FAILED_S)

    def _warm(self) -> None:
        """A thread that compiles would hold up the page: another process does it, where it was not done before."""
        while not warm.load("wire") and not self._over.is_set():
            subprocess.run([sys.executable, "-m", "marketpulse.app.warm", "wire"], check=False)
            self._over.wait(_AWAY_S)

    def _follow(self) -> None:
        """Hear the log until it is over, or the topics are others. What was heard stays until the log is heard anew."""
        share = self._settings.scorecard.cpu_percent / 100
        hearing = Hearing(self._settings, self._settings.scorecard.hours, self._clock)
        try:
            with self._lock:
                self._hearing = hearing
            while not self._over.is_set() and not hearing.follower.moved():
                began = time.thread_time()
                for told in hearing.follower.take(0.0):
                    with self._lock:
                        hearing.hear([told])
                SCORECARD_BEHIND_SECONDS.set(self._behind_ns() / 1e9)
                worked = time.thread_time() - began
                self._over.wait(max(_TURN_S if self._caught_up() else 0.0, worked * (1 / share - 1)))
        finally:
            hearing.close()

    def _caught_up(self) -> bool:
        return self._behind_ns() <= _CAUGHT_UP_NS

    def _behind_ns(self) -> int:
        """How far the newest record that was heard lies behind this machine's clock."""
        return 0 if self._hearing is None else max(0, self._clock.now_ns() - self._hearing.keeper.now_ns)
