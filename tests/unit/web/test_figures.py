import pytest

from marketpulse.clock import ManualClock
from marketpulse.ports import PipelineStats
from marketpulse.web.figures import Figures, LatencyWindow


def stats(records: int, bars: int = 0, *, lag: int = 0, reachable: bool = True) -> PipelineStats:
    return PipelineStats(records, lag, 7, bars, reachable)


def test_a_rate_is_what_came_within_five_seconds() -> None:
    clock = ManualClock(10**18)
    figures = Figures(clock)
    for records in (0, 100, 200, 300, 400, 500, 600, 1_600):
        figures.take_stats(stats(records, records // 10))
        clock.sleep(1)
    shown = figures.shown()
    assert shown["events_per_s"] == (1_600 - 200) / 5
    assert shown["bars_per_s"] == (160 - 20) / 5


def test_one_sample_is_no_rate() -> None:
    figures = Figures(ManualClock(10**18))
    assert figures.shown()["events_per_s"] is None
    figures.take_stats(stats(5))
    assert figures.shown()["events_per_s"] is None
    assert figures.shown()["dead_letters"] == 7


def test_topics_made_anew_give_no_negative_rate() -> None:
    clock = ManualClock(10**18)
    figures = Figures(clock)
    for records in (1_000, 2_000, 10, 30):
        figures.take_stats(stats(records))
        clock.sleep(1)
    assert figures.shown()["events_per_s"] == 20


def test_a_log_that_is_away_keeps_its_last_counts_and_no_events() -> None:
    clock = ManualClock(10**18)
    figures = Figures(clock)
    for records in (0, 100):
        figures.take_stats(stats(records, lag=3))
        clock.sleep(1)
    for _ in range(8):
        figures.take_stats(stats(0, reachable=False))
        clock.sleep(1)
    shown = figures.shown()
    assert (shown["broker_reachable"], shown["events_per_s"], shown["lag_records"]) == (False, 0, 3)


def test_percentiles_are_right_to_five_percent() -> None:
    window = LatencyWindow()
    for latency_ms in range(1, 1_001):
        window.add([float(latency_ms)], 0.5)
    p50, p99 = window.percentiles_ms((0.5, 0.99), 0.5)
    assert p50 == pytest.approx(500, rel=0.05)
    assert p99 == pytest.approx(990, rel=0.05)


def test_latencies_are_forgotten_after_ten_seconds() -> None:
    window = LatencyWindow()
    window.add([1_000.0], 0.0)
    window.add([1.0], 9.0)
    assert window.percentiles_ms((0.99,), 9.0)[0] == pytest.approx(1_000, rel=0.06)
    assert window.percentiles_ms((0.99,), 10.0)[0] == pytest.approx(1, rel=0.06)
    assert window.percentiles_ms((0.99,), 19.0) == [None]


@pytest.mark.parametrize("latency_ms", [0.0, 1e9])
def test_latencies_beyond_the_scale_are_counted_at_its_ends(latency_ms: float) -> None:
    window = LatencyWindow()
    window.add([latency_ms], 0.0)
    assert window.percentiles_ms((0.5,), 0.0)[0] is not None


def test_a_row_from_the_future_has_no_latency_below_zero() -> None:
    clock = ManualClock(10**18)
    figures = Figures(clock)
    figures.take_latencies([10**18 + 5 * 10**9])
    assert figures.shown()["latency_p50_ms"] == pytest.approx(0.1, rel=0.06)
