import threading
from pathlib import Path

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.pipeline.verify import Pace
from marketpulse.clock import ManualClock
from marketpulse.telemetry import Health


class _Stop(threading.Event):
    """Waits on the test's clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.sleep(timeout or 0)
        return self.is_set()


def test_work_takes_no_more_than_its_share_of_the_time() -> None:
    clock = ManualClock()
    life = Lifecycle("verify", _Stop(clock), Health(), Path("run.json"), 0)
    pace = Pace(0.05, life, clock)
    pace.begin()
    worked = 0.0
    for _ in range(10):
        clock.sleep(0.2)
        worked += 0.2
        assert pace.rest()
    assert abs(worked / clock.monotonic() - 0.05) < 1e-6


def test_a_stop_ends_the_rest() -> None:
    clock = ManualClock()
    life = Lifecycle("verify", _Stop(clock), Health(), Path("run.json"), 0)
    life.stop.set()
    pace = Pace(0.01, life, clock)
    pace.begin()
    clock.sleep(5)
    assert not pace.rest()
    assert clock.monotonic() < 10
