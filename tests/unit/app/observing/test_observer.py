"""The observer looks by itself and tells what it saw."""

import os
import time
from pathlib import Path

from marketpulse.app.observing import Observer
from marketpulse.clock import SystemClock
from marketpulse.telemetry import Health, TelemetryServer
from process_readings import write_run_file


def test_nothing_is_known_before_the_first_look(tmp_path: Path) -> None:
    observer = Observer(tmp_path, SystemClock())
    assert observer.picture(broker_reachable=True, engine_lag=0) is None
    assert observer.samples() is None
    observer.look()
    assert observer.samples() is not None
    drawn = observer.picture(broker_reachable=False, engine_lag=0)
    assert drawn is not None
    assert [finding["severity"] for finding in drawn["findings"]] == ["bad"]


def test_it_looks_again_while_somebody_watches_and_ends_when_told(tmp_path: Path) -> None:
    health = Health()
    health.set_ready()
    server = TelemetryServer(health)
    write_run_file(tmp_path / "run", "serve", os.getpid(), server.port)
    observer = Observer(tmp_path, SystemClock())
    observer.start()
    times: set[int] = set()
    try:
        deadline = time.monotonic() + 30
        while len(times) < 3 and time.monotonic() < deadline:
            if drawn := observer.picture(broker_reachable=True, engine_lag=0):
                times.add(drawn["now_ms"])
                assert [p["name"] for p in drawn["processes"]] == ["serve"]
            time.sleep(0.05)
    finally:
        observer.close()
        server.close()
    assert len(times) == 3
