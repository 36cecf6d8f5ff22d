"""The pipeline's figures: events a second, latency, lag, what is set aside, whether the log is there."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from marketpulse.clock import Clock
from marketpulse.ports import LogView, PipelineStats

RATE_WINDOW_S = 5.0
LATENCY_WINDOW_S = 10
_SMALLEST_MS = 0.1
_RATIO = 1.1  # a percentile is right to 5 %
_LOG_RATIO = math.log(_RATIO)
_BUCKETS = 150  # up to 150 s


class LatencyWindow:
    """Latencies of the last `LATENCY_WINDOW_S` seconds, as one histogram per second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, list[int]]] = deque()

    def add(self, latencies_ms: Iterable[float], at_s: float) -> None:
        second = int(at_s)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, [0] * _BUCKETS))
            self._forget(second)
        counts = self._seconds[-1][1]
        for latency_ms in latencies_ms:
            place = int(math.log(max(latency_ms, _SMALLEST_MS) / _SMALLEST_MS) / _LOG_RATIO)
            counts[min(place, _BUCKETS - 1)] += 1

    def percentiles_ms(self, shares: tuple[float, ...], at_s: float) -> list[float | None]:
        """The latency that each share of the rows stayed under; None without rows."""
        self._forget(int(at_s))
        counts = [sum(column) for column in zip(*(h for _, h in self._seconds), strict=True)]
        total = sum(counts)
        return [_at_share(counts, share * total) if total else None for share in shares]

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - LATENCY_WINDOW_S:
            self._seconds.popleft()


def _at_share(counts: list[int], wanted: float) -> float:
    reached = 0
    for place, count in enumerate(counts):
        reached += count
        if count and reached >= wanted:
            return float(_SMALLEST_MS * _RATIO ** (place + 0.5))
    return float(_SMALLEST_MS * _RATIO**_BUCKETS)


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    stats: PipelineStats


class Figures:
    """Turns the log's counts and the rows' times into what the pipeline strip shows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[_Sample] = deque()
        self._latencies = LatencyWindow()
        self._newest_append_ms = 0

    def take_stats(self, stats: PipelineStats) -> None:
        """Counts as of now. A count that went back (topics were made anew) starts the rates afresh."""
        if self._samples and stats.broker_reachable:
            before = self._samples[-1].stats
            if stats.market_records < before.market_records or stats.bars < before.bars:
                self._samples.clear()
        if not stats.broker_reachable and self._samples:
            stats = replace(self._samples[-1].stats, broker_reachable=False)
        now = self._clock.monotonic()
        self._samples.append(_Sample(now, stats))
        while len(self._samples) > 2 and self._samples[1].at_s <= now - RATE_WINDOW_S:
            self._samples.popleft()

    def take_latencies(self, ingest_times_ns: Sequence[int]) -> None:
        """Rows that began at these times are on the page now."""
        if not ingest_times_ns:
            return
        now_ns = self._clock.now_ns()
        self._latencies.add([(now_ns - began) / 1e6 for began in ingest_times_ns], self._clock.monotonic())

    def take_append_time(self, append_time_ms: int) -> None:
        self._newest_append_ms = max(self._newest_append_ms, append_time_ms)

    def log(self) -> LogView:
        now_ms = self._clock.now_ns() // 1_000_000
        return LogView(now_ms, self._samples[-1].stats if self._samples else None, self._newest_append_ms or None)

    def shown(self) -> dict[str, Any]:
        """Rates a second over 5 s, latencies in ms over 10 s, times in ms; None: not known yet (before the first stats)."""
        p50, p99 = self._latencies.percentiles_ms((0.5, 0.99), self._clock.monotonic())
        newest = self._samples[-1].stats if self._samples else None
        return {
            "events_per_s": self._rate("market_records"),
            "bars_per_s": self._rate("bars"),
            "latency_p50_ms": p50,
            "latency_p99_ms": p99,
            "lag_records": newest.engine_lag_records if newest else None,
            "dead_letters": newest.dead_letters if newest else None,
            "broker_reachable": newest.broker_reachable if newest else None,
            "newest_row_ms": self._newest_append_ms or None,
            "now_ms": self._clock.now_ns() // 1_000_000,
        }

    def _rate(self, count: str) -> float | None:
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        passed = last.at_s - first.at_s
        if passed <= 0:
            return None
        return float((getattr(last.stats, count) - getattr(first.stats, count)) / passed)
