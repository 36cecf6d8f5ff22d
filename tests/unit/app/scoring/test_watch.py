"""A watch that has heard nothing yet, and one without a broker."""

import time
from pathlib import Path

import pytest

from marketpulse.app.scoring import watch as watching
from marketpulse.app.scoring.watch import ScoreWatch
from marketpulse.clock import SystemClock
from marketpulse.settings import Settings
from marketpulse.telemetry import SCORECARD_ERRORS


def test_nothing_is_known_before_the_log_was_read(tmp_path: Path) -> None:
    watch = ScoreWatch(Settings(data_dir=tmp_path), SystemClock(), lambda: None)
    assert watch.sources() is None
    assert watch.symbols("feed", 5) is None
    watch.close()


def test_without_a_broker_it_counts_the_fault_goes_on_and_ends_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketpulse.app.warm.load", lambda *_: True)
    monkeypatch.setattr(watching, "_FAILED_S", 0.05)
    before = SCORECARD_ERRORS._value.get()
    watch = ScoreWatch(Settings(data_dir=tmp_path), SystemClock(), lambda: None)
    watch.start()
    deadline = time.monotonic() + 30
    while SCORECARD_ERRORS._value.get() < before + 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert watch.sources() is None
    watch.close()
    assert not watch._thread.is_alive()
