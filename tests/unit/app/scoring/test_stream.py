"""Delays by percentile, and counts of what comes seldom."""

import numpy as np
import pytest

from marketpulse.app.scoring.stream import BUCKETS, SLOT_NS, RareCounts, Stream, lag_at


def test_nobody_knows_a_delay_without_rows() -> None:
    assert lag_at(np.zeros(BUCKETS, np.int64), 0.5) is None


@pytest.mark.parametrize("lag_ms", [1.5, 40.0, 900.0, 60_000.0, 3_600_000.0])
def test_a_delay_is_told_to_a_twentieth(lag_ms: float) -> None:
    stream, now = Stream(7), 1_000 * SLOT_NS
    stream.take(np.zeros(3, np.int64), np.full(3, now - int(lag_ms * 1e6)), np.full(3, now))
    assert lag_at(stream.lags.between(0, 2_000), 0.99) == pytest.approx(lag_ms, rel=0.05)


def test_a_clock_that_runs_ahead_has_no_delay_below_a_millisecond() -> None:
    stream, now = Stream(7), 1_000 * SLOT_NS
    stream.take(np.zeros(1, np.int64), np.array([now + 5 * 10**9]), np.array([now]))
    assert lag_at(stream.lags.between(0, 2_000), 0.5) == pytest.approx(1.05, rel=0.05)


def test_what_came_seldom_is_forgotten_with_its_slot() -> None:
    counts = RareCounts(2)
    for name, slot in (("stale", 5), ("stale", 6), ("split", 6)):
        counts.add(name, slot * SLOT_NS + 1)
    assert counts.since(0) == {"stale": 2, "split": 1}
    counts.add("stale", 7 * SLOT_NS)
    assert counts.since(0) == {"stale": 2, "split": 1}
    assert counts.since(7) == {"stale": 1}
